# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The bone hierarchy: look-up by name and rotation of whole subtrees."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.primitives.rotation import normalized, orthonormal_frame


@dataclass(frozen=True, eq=False)
class Rig:
    """Bone names, parents and rest positions of the average body."""

    body: BodyAssets

    @cached_property
    def names(self) -> list[str]:
        """Bone names in index order."""
        return [str(name) for name in self.body.bone_names]

    @cached_property
    def index(self) -> dict[str, int]:
        """Index of each bone."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def _subtrees(self) -> dict[str, np.ndarray]:
        return {}

    def subtree(self, bone: str) -> np.ndarray:
        """Indices of a bone and of all its descendants."""
        if bone not in self._subtrees:
            found = {self.index[bone]}
            for number, parent in enumerate(self.body.parents):
                if int(parent) in found:
                    found.add(number)
            self._subtrees[bone] = np.array(sorted(found))
        return self._subtrees[bone]

    def head(self, bone: str) -> Float[np.ndarray, "3"]:
        """Head of the bone at rest, metres."""
        out: np.ndarray = self.body.heads[self.index[bone]].astype(float)
        return out

    def direction(self, near: str, far: str) -> Float[np.ndarray, "3"]:
        """Unit vector from the head of one bone to that of another, at rest."""
        return normalized(self.head(far) - self.head(near))

    def rotate_subtree(
        self, rotations: Float[np.ndarray, "t b 3 3"], bone: str, by: Float[np.ndarray, "*t 3 3"]
    ) -> None:
        """Rotate a bone and its descendants by ``by`` (world axes), in place."""
        rotations[:, self.subtree(bone)] = (
            np.broadcast_to(by, (len(rotations), 3, 3))[:, None] @ rotations[:, self.subtree(bone)]
        )

    def set_subtree(
        self, rotations: Float[np.ndarray, "t b 3 3"], bone: str, to: Float[np.ndarray, "*t 3 3"]
    ) -> None:
        """Set the rotation of a bone and all its descendants (world axes), in place."""
        rotations[:, self.subtree(bone)] = np.broadcast_to(to, (len(rotations), 3, 3))[:, None]


def hinge_rotation(
    rest: Float[np.ndarray, "3"],
    rest_hinge: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "*t 3"],
    hinge: Float[np.ndarray, "*t 3"],
) -> Float[np.ndarray, "*t 3 3"]:
    """The rotation that takes a bone's direction and hinge axis at rest to the given ones."""
    out: np.ndarray = orthonormal_frame(direction, hinge) @ orthonormal_frame(rest, rest_hinge).T
    return out
