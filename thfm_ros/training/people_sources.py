# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where people who are pasted into images come from: renders, and photographs."""

from pathlib import Path

import cv2
import numpy as np

from thfm_ros.contract import PerceptionError
from thfm_ros.training.cutouts import Cutout, cutout_of_photograph, flipped, read_cutout
from thfm_ros.training.shard_store import Store

PHOTO_CUTOUTS = "people"
"""Folder with images of single people, below that of the photographs; optional."""

CUT_OFF_SUFFIX = "_cut"
"""At the end of such an image's name: the person is cut off by an edge of the photograph."""


class PeopleSource:
    """People who were cut out of renders, and some who were cut out of photographs.

    Args:
        renders: crops with one target each.
        photo_cutouts: folder of RGBA images, as `thfm_ros.evaluation.photo_cutouts` writes them;
            None: only rendered people.
        photo_share: share of the people who are from photographs.

    Raises:
        PerceptionError: the folder has no image.
    """

    def __init__(
        self, renders: Store, photo_cutouts: Path | None = None, photo_share: float = 0.0
    ) -> None:
        self._renders = renders
        self._photos = [] if photo_cutouts is None else sorted(photo_cutouts.glob("*.png"))
        self._photo_share = photo_share if self._photos else 0.0
        if photo_cutouts is not None and not self._photos:
            raise PerceptionError(f"There is no PNG image in {photo_cutouts}.")

    def draw(self, rng: np.random.Generator) -> Cutout | None:
        """A random person, mirrored or not; None: too little of the person is visible."""
        mirrored = bool(rng.random() < 0.5)
        if self._photo_share and rng.random() < self._photo_share:
            person = _read_photo(self._photos[rng.integers(len(self._photos))])
            return flipped(person) if mirrored else person
        return read_cutout(self._renders, self._renders.pick(rng), mirrored)


def _read_photo(path: Path) -> Cutout:
    bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4:
        raise PerceptionError(f"{path} cannot be read as an image with an alpha channel.")
    rgb = np.ascontiguousarray(bgra[..., 2::-1], np.uint8)
    mask = (bgra[..., 3] > 127).astype(np.uint8)
    return cutout_of_photograph(rgb, mask, whole=not path.stem.endswith(CUT_OFF_SUFFIX))
