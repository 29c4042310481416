"""The bones by name, and how to turn a limb with everything that hangs on it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.primitives.rotation import frame_of, unit


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
    def _below(self) -> dict[str, np.ndarray]:
        return {}

    def below(self, bone: str) -> np.ndarray:
        """Indices of a bone and of everything that hangs on it."""
        if bone not in self._below:
            found = {self.index[bone]}
            for number, parent in enumerate(self.body.parents):
                if int(parent) in found:
                    found.add(number)
            self._below[bone] = np.array(sorted(found))
        return self._below[bone]

    def head(self, bone: str) -> Float[np.ndarray, "3"]:
        """Where the bone begins at rest, metres."""
        out: np.ndarray = self.body.heads[self.index[bone]].astype(float)
        return out

    def direction(self, near: str, far: str) -> Float[np.ndarray, "3"]:
        """Unit vector from one bone's beginning to another's, at rest."""
        return unit(self.head(far) - self.head(near))

    def turn_below(
        self, turns: Float[np.ndarray, "t b 3 3"], bone: str, by: Float[np.ndarray, "*t 3 3"]
    ) -> None:
        """Turn a bone and all below by ``by`` (world axes), in place."""
        turns[:, self.below(bone)] = (
            np.broadcast_to(by, (len(turns), 3, 3))[:, None] @ turns[:, self.below(bone)]
        )

    def set_below(
        self, turns: Float[np.ndarray, "t b 3 3"], bone: str, to: Float[np.ndarray, "*t 3 3"]
    ) -> None:
        """Give a bone and all below one turn (world axes), in place."""
        turns[:, self.below(bone)] = np.broadcast_to(to, (len(turns), 3, 3))[:, None]


def hinged(
    rest: Float[np.ndarray, "3"],
    rest_hinge: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "*t 3"],
    hinge: Float[np.ndarray, "*t 3"],
) -> Float[np.ndarray, "*t 3 3"]:
    """The turn that brings a bone's direction and the axis of its joint where they should be."""
    out: np.ndarray = frame_of(direction, hinge) @ frame_of(rest, rest_hinge).T
    return out
