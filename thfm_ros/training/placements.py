# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where the people of a composed image stand: alone, in groups, or so near that it cuts them."""

from typing import NamedTuple

import numpy as np

from thfm_ros.training.cutouts import Cutout, rotated
from thfm_ros.training.people_sources import PeopleSource

CROWD = (0.12, 0.26, 0.2, 0.14, 0.1, 0.08, 0.06, 0.04)
"""Probabilities of 0, 1, 2 ... people in a composed image."""

GROUP_SHARE = 0.5
"""Share of the composed images whose people stand in a row or a cluster, about equally tall."""

LYING_SHARE = 0.1
"""Share of pasted people who are rotated by quarters."""

CLOSE_UP_SHARE = 0.15
"""Share of the composed images with people who are larger than the image."""

CLOSE_UP_HEIGHT = (1.1, 3.0)
"""Of such a person, in heights of the image."""


class Placement(NamedTuple):
    """Where a person is pasted; pixels of the image."""

    person: Cutout
    height: float
    left: float
    top: float


def draw_people(
    source: PeopleSource, rng: np.random.Generator, size: tuple[int, int]
) -> list[Placement]:
    """The people of a composed image of ``size`` (width, height), farthest first."""
    width, height = size
    count = int(rng.choice(len(CROWD), p=CROWD))
    typical = float(np.exp(rng.uniform(np.log(0.06), np.log(1.2)))) * height
    group = bool(rng.random() < GROUP_SHARE)
    deviation = 0.08 if group else 0.35
    ground = rng.uniform(0.35, 1.15) * height
    x = rng.uniform(0.1, 0.6) * width
    people = []
    for pixels in np.sort(typical * np.exp(rng.normal(0, deviation, count))):
        person = source.draw(rng)
        if person is None:
            continue
        if person.whole and rng.random() < LYING_SHARE:
            person = rotated(person, int(rng.integers(1, 4)))
        rows, columns = person.mask.shape
        if not person.whole:  # cut off at waist or knees: only the image's lower edge explains it
            if pixels < 0.3 * height:
                continue
            top = height - pixels * rng.uniform(0.85, 0.99)
        elif group:
            top = ground - pixels + rng.normal(0, 0.03) * pixels
        else:
            top = rng.uniform(-0.1, 1.05) * height - 0.5 * pixels
        wide = pixels * columns / rows
        if group:
            x += rng.uniform(0.25, 1.1) * wide * (1 if x < 0.9 * width else -2)
            left = x - wide / 2
        else:
            # Sorted: of a person wider than five images the right limit lies left of the other.
            left = rng.uniform(*sorted((-0.4 * wide, width - 0.6 * wide)))
        people.append(Placement(person, float(pixels), float(left), float(top)))
    return people


def draw_close_ups(
    source: PeopleSource, rng: np.random.Generator, size: tuple[int, int]
) -> list[Placement]:
    """One or two people of whom an image of ``size`` (width, height) shows any part: a trunk, legs,
    a face.
    """
    width, height = size
    people = []
    for _ in range(1 + int(rng.random() < 0.3)):
        if (person := source.draw(rng)) is None:
            continue
        rows, columns = person.mask.shape
        pixels = height * float(np.exp(rng.uniform(*np.log(CLOSE_UP_HEIGHT))))
        wide = pixels * columns / rows
        shown = rng.uniform([0.1, 0.05], [0.9, 0.9]) * [wide, pixels]  # the point of the person
        left, top = rng.uniform([0.15, 0.2], [0.85, 0.8]) * [width, height] - shown
        if not person.whole:  # cut off at waist or knees: only the image's lower edge explains it
            top = max(top, height - 0.99 * pixels)
        people.append(Placement(person, pixels, float(left), float(top)))
    return people
