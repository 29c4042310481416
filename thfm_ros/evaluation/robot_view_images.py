# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images of people as robots meet them: near, cut off, behind tables, in rows, in the dark.

They are composed of rendered people and of places without people, so that all images of a group
have that group's difficulty and, apart from it, the same kind of people and places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.geometry import mask_bounds
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.occluders import draw_counter
from thfm_ros.training.cutouts import Cutout, paste, rotated
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.placements import Placement

SIZE = (640, 480)
"""Width and height of the images."""

MIN_PIXELS = 150
"""Visible pixels of a person who must be found."""

_ATTEMPTS = 50


class View(NamedTuple):
    """One image of a group, before the light of the group."""

    places: Sequence[Placement]
    counter_top: float | None = None  # y of the edge of a table in front, pixels


@dataclass(frozen=True)
class Group:
    """What makes the people of a group hard to find."""

    title: str
    draw: Callable[[PeopleSource, np.random.Generator], View]
    light: float = 1.0  # factor of the image's values
    fog: float = 0.0  # share of white in it


def _person(source: PeopleSource, rng: np.random.Generator) -> Cutout:
    """A random person who is whole and stands.

    Raises:
        PerceptionError: the held-out crops show no such person.
    """
    for _ in range(_ATTEMPTS):
        person = source.draw(rng)
        if person is not None and person.whole:
            rows, columns = person.mask.shape
            if rows > 1.6 * columns:
                return person
    raise PerceptionError("The crops show no whole person who stands. Render more of them.")


def _placed(person: Cutout, height: float, x: float, y: float) -> Placement:
    """``x``, ``y``: the middle of the person, in widths and heights of the image; ``height`` in
    heights."""
    pixels = height * SIZE[1]
    wide = pixels * person.mask.shape[1] / person.mask.shape[0]
    return Placement(person, pixels, x * SIZE[0] - wide / 2, y * SIZE[1] - pixels / 2)


def _alone(low: float, high: float) -> Callable[[PeopleSource, np.random.Generator], View]:
    """A whole person whose height is between these shares of the image's."""

    def draw(source: PeopleSource, rng: np.random.Generator) -> View:
        height = rng.uniform(low, high)
        y = rng.uniform(height / 2, 1 - height / 2)
        return View([_placed(_person(source, rng), height, rng.uniform(0.2, 0.8), y)])

    return draw


def _cut_at_the_side(source: PeopleSource, rng: np.random.Generator) -> View:
    person, height = _person(source, rng), rng.uniform(0.5, 0.9)
    place = _placed(person, height, 0.5, rng.uniform(0.45, 0.55))
    wide = place.height * person.mask.shape[1] / person.mask.shape[0]
    outside = rng.uniform(0.3, 0.6) * wide
    left = -outside if rng.random() < 0.5 else SIZE[0] - wide + outside
    return View([place._replace(left=float(left))])


def _upper_body(source: PeopleSource, rng: np.random.Generator) -> View:
    height = rng.uniform(0.8, 1.6)
    y = 1 - height * rng.uniform(0.4, 0.6) + height / 2  # that share of the person is visible
    return View([_placed(_person(source, rng), height, rng.uniform(0.25, 0.75), y)])


def _without_a_head(source: PeopleSource, rng: np.random.Generator) -> View:
    height = rng.uniform(0.8, 1.4)
    y = height / 2 - height * rng.uniform(0.2, 0.4)
    return View([_placed(_person(source, rng), height, rng.uniform(0.25, 0.75), y)])


def _close_up(source: PeopleSource, rng: np.random.Generator) -> View:
    height = rng.uniform(2.0, 3.5)
    y = height / 2 - rng.uniform(-0.1, 0.1) * height
    return View([_placed(_person(source, rng), height, rng.uniform(0.35, 0.65), y)])


def _behind_a_table(source: PeopleSource, rng: np.random.Generator) -> View:
    height, y = rng.uniform(0.5, 1.0), rng.uniform(0.45, 0.6)
    place = _placed(_person(source, rng), height, rng.uniform(0.3, 0.7), y)
    return View([place], place.top + rng.uniform(0.4, 0.6) * place.height)


def _row(source: PeopleSource, rng: np.random.Generator) -> View:
    height, x, places = rng.uniform(0.4, 0.8), rng.uniform(0.25, 0.4), []
    for _ in range(3):
        place = _placed(_person(source, rng), height * rng.uniform(0.92, 1.08), x, 0.5)
        places.append(place)
        wide = place.height * place.person.mask.shape[1] / place.person.mask.shape[0]
        x += rng.uniform(0.5, 0.8) * wide / SIZE[0]
    return View(places)


def _half_hidden(source: PeopleSource, rng: np.random.Generator) -> View:
    height, x = rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.7)
    behind = _placed(_person(source, rng), height, x, 0.5)
    wide = behind.height * behind.person.mask.shape[1] / behind.person.mask.shape[0]
    side = rng.choice([-1, 1]) * rng.uniform(0.3, 0.5) * wide / SIZE[0]
    return View([behind, _placed(_person(source, rng), height * 1.05, x + side, 0.52)])


def _lying(source: PeopleSource, rng: np.random.Generator) -> View:
    person = rotated(_person(source, rng), int(rng.choice([1, 3])))
    length = rng.uniform(0.4, 0.8) * SIZE[0]
    height = length * person.mask.shape[0] / person.mask.shape[1] / SIZE[1]
    return View([_placed(person, height, rng.uniform(0.45, 0.55), rng.uniform(0.6, 0.8))])


def _no_person(source: PeopleSource, rng: np.random.Generator) -> View:
    return View([])


GROUPS = (
    Group("whole, in plain view", _alone(0.5, 0.9)),
    Group("whole, a quarter to a half of the image's height", _alone(0.25, 0.5)),
    Group("whole, 24 to 64 pixels tall", _alone(0.05, 0.133)),
    Group("cut by the left or right edge, 30 to 60 %", _cut_at_the_side),
    Group("cut by the lower edge: an upper body", _upper_body),
    Group("cut by the upper edge: no head", _without_a_head),
    Group("2 to 3.5 times as tall as the image", _close_up),
    Group("behind a table or a counter", _behind_a_table),
    Group("a row of three who overlap", _row),
    Group("one in front of another", _half_hidden),
    Group("lying", _lying),
    Group("dark: a tenth of the light", _alone(0.5, 0.9), light=0.1),
    Group("fog: 0.6 of white", _alone(0.5, 0.9), fog=0.6),
    Group("no person", _no_person),
)


class Composed(NamedTuple):
    """An image, and the boxes of the visible parts of its people."""

    rgb: UInt8[np.ndarray, "h w 3"]
    people: Float[np.ndarray, "n 4"]


def compose(
    group: Group, source: PeopleSource, backgrounds: Backgrounds, rng: np.random.Generator
) -> Composed:
    """One image of a group."""
    width, height = SIZE
    image = backgrounds.draw_plain(rng, width, height)
    instances = np.zeros((height, width), np.uint8)
    view = group.draw(source, rng)
    for count, place in enumerate(view.places, start=1):
        pasted = paste(place.person, place.height, place.left, place.top, SIZE)
        alpha = pasted.alpha[..., None]
        image = image * (1 - alpha) + pasted.rgb * alpha
        instances[pasted.mask] = count
    if view.counter_top is not None:
        for thing in draw_counter(rng, width, view.counter_top, backgrounds):
            mask = thing.mask(width, 0)[:height]
            fill = thing.fill if thing.fill.ndim == 1 else thing.fill[:height]
            image = np.where(mask[..., None] > 0, fill, image)
            instances[mask > 0] = 0
    image = image * group.light * (1 - group.fog) + 255 * group.fog
    image = image + rng.normal(0, 2, image.shape)  # of a camera's sensor
    masks = [instances == each for each in range(1, len(view.places) + 1)]
    boxes = [mask_bounds(mask) for mask in masks if mask.sum() >= MIN_PIXELS]
    return Composed(image.clip(0, 255).astype(np.uint8), np.array(boxes, np.float64).reshape(-1, 4))
