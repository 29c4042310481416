# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Reading a scenario file; it is checked as a whole before a network runs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from thfm_ros.bags.opening import is_bag
from thfm_ros.evaluation.scenario.contents import (
    Condition,
    KeyBox,
    Kind,
    Person,
    Scenario,
    ScenarioError,
)
from thfm_ros.evaluation.scenario.yaml_fields import Fields, load_yaml, nearest, number, shortened
from thfm_ros.user_folders import expanded

SHIPPED = Path(__file__).resolve().parents[2] / "scenarios"
_MAX_PIXEL = 100_000.0
_MAX_SECONDS = 86_400.0
_MAX_METRES = 1_000.0
_SCENARIO = (
    *("film", "topic", "description", "fps", "until_s", "hfov_deg", "parameters"),
    *("people", "zones", "conditions"),
)
_PARAMETERS = ("window.", "regions.", "decode.", "track.")
_MOMENT, _SPAN, _OUT = ("at_s", "box"), ("from_s", "until_s", "box"), ("at_s", "out_of_view")
_OF_ALL = ("name", "known_failure")
_TIMES = ("from_s", "until_s")
_OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    Kind.FOUND: ("pass_rate", "min_iou", *_TIMES),
    Kind.DISTANCE: ("pass_rate", "min_iou", "tolerance", *_TIMES),
    Kind.OCCUPIED: ("pass_rate", "at_least", *_TIMES),
    Kind.EMPTY: ("pass_rate", *_TIMES),
    Kind.MAX_IDS: _TIMES,
    Kind.MAX_ID_CHANGES: ("people", "min_iou", *_TIMES),
}
"""Further keys of a condition, by kind."""


def shipped_scenarios() -> list[Path]:
    """The scenario files that come with the package."""
    return sorted(SHIPPED.glob("*.yaml"))


def find_scenario(text: str) -> Path:
    """The file of this path, or the shipped one of this name.

    Raises:
        ScenarioError: there is neither.
    """
    names = [path.stem for path in shipped_scenarios()]
    path = SHIPPED / f"{text}.yaml" if text in names else Path(text)
    if path.is_dir():
        raise ScenarioError(f"{text} is a folder; name its scenario files (.yaml).")
    if not path.is_file():
        raise ScenarioError(
            f"There is no scenario file {text}{nearest(text, names)} "
            "`thfm scenario --list` shows those that ship with the package."
        )
    return path


def read_scenario(path: Path) -> Scenario:
    """Read and check a scenario file.

    Raises:
        ScenarioError: it is no scenario; the text names the place and what is valid there.
    """
    try:
        return _scenario(path, Fields("", load_yaml(path), _SCENARIO))
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def _scenario(path: Path, file: Fields) -> Scenario:
    film = _film(path.parent, file)
    fps, topic = file.number("fps", 0.01, 1000, 0.0), file.line("topic")
    is_folder = film.is_dir() and not is_bag(film)
    if is_folder and not fps:
        raise ScenarioError("fps: is missing; a folder of images needs its images per second.")
    if fps and not is_folder:
        raise ScenarioError("fps: a video or a bag has its own times; leave it out.")
    if topic and not is_bag(film):
        raise ScenarioError("topic: only a bag has topics; leave it out.")
    people = {name: _person(name, value) for name, value in _named(file, "people").items()}
    zones = {name: _polygon(name, value) for name, value in _named(file, "zones").items()}
    scenario = Scenario(
        name=path.stem,
        film=film,
        conditions=(),
        people=people,
        zones=zones,
        description=file.line("description"),
        fps=fps,
        topic=topic,
        until_s=file.number("until_s", 0.001, _MAX_SECONDS, math.inf),
        hfov_deg=file.number("hfov_deg", 1, 170, 0.0) or None,
        parameters=_parameters(file),
    )
    return _with_conditions(scenario, file.required("conditions"))


def _film(folder: Path, file: Fields) -> Path:
    file.required("film")
    text = file.text("film")
    try:
        film = folder / expanded(text)
    except RuntimeError as error:  # the home of an unknown user
        raise ScenarioError(f"film: {shortened(text)}: {error}") from error
    if not film.exists():
        raise ScenarioError(f"film: there is no file or folder {str(film)!r}.")
    return film


def _parameters(file: Fields) -> dict[str, Any]:
    """Parameters of the pipeline. Others name files, which are up to the command line."""
    values = file.values.get("parameters", {})
    if not isinstance(values, dict):
        raise ScenarioError("parameters: must be a mapping such as {decode.min_score: 0.5}.")
    for name in values:
        if not str(name).startswith(_PARAMETERS):
            raise ScenarioError(
                f"parameters: {shortened(name)} is none of {'*, '.join(_PARAMETERS)}*; give "
                "others on the command line with --set."
            )
    return values


def _named(file: Fields, key: str) -> dict[str, Any]:
    """People or zones by name."""
    values = file.values.get(key, {})
    if not isinstance(values, dict):
        raise ScenarioError(f"{key}: must be a mapping from names, not {shortened(values)}.")
    for name in values:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ScenarioError(f"{key}: {shortened(name)} is no name.")
    return values


def _person(name: str, entries: Any) -> Person:
    where = f"people.{name}"
    if not isinstance(entries, list) or not entries:
        raise ScenarioError(f"{where}: must be a list of times and boxes.")
    spans: list[list[KeyBox]] = [[]]
    latest = -1.0
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        keys = (*_MOMENT, "until_s", "from_s", "distance_m", "out_of_view")
        fields = Fields(place, entry, keys)
        added = _entry(fields)
        first = added[0].at_s if added else fields.number("at_s", 0, _MAX_SECONDS, 0.0)
        if first <= latest:
            raise ScenarioError(f"{place}: {first:g} s is not after {latest:g} s before it.")
        latest = added[-1].at_s if added else first
        if len(added) != 1:  # a span of its own, or out of view
            spans += [added, []]
        else:
            spans[-1] += added
    lonely = [span[0].at_s for span in spans if len(span) == 1]
    if lonely:
        raise ScenarioError(
            f"{where}: the box at {lonely[0]:g} s has no neighbour to move to; give a second "
            "at_s, or from_s and until_s."
        )
    return Person(name, tuple(tuple(span) for span in spans if span))


def _entry(fields: Fields) -> list[KeyBox]:
    """The keys of one entry: one of a moment, two of a span, none of a person out of view."""
    given = set(fields.values) - {"distance_m"}
    if given not in (set(_MOMENT), set(_SPAN), set(_OUT)):
        raise ScenarioError(
            f"{fields.place()}give at_s and box, or from_s, until_s and box, or at_s and "
            f"out_of_view: true; there are {', '.join(sorted(given)) or 'none of them'}."
        )
    if "out_of_view" in fields:
        if fields.values["out_of_view"] is not True:
            raise ScenarioError(f"{fields.place('out_of_view')}must be true, or left out.")
        return []
    box = _box(fields.required("box"), fields.place("box"))
    distance_m = fields.number("distance_m", 0.01, _MAX_METRES, math.nan)
    names = ("at_s",) if "at_s" in fields else ("from_s", "until_s")
    times = [fields.number(name, 0, _MAX_SECONDS, 0.0) for name in names]
    if times != sorted(set(times)):
        raise ScenarioError(f"{fields.place()}until_s must be after from_s.")
    return [KeyBox(time, box, distance_m) for time in times]


def _box(value: Any, place: str) -> Float[np.ndarray, "4"]:
    if not isinstance(value, list) or len(value) != 4:
        raise ScenarioError(f"{place}{shortened(value)} must be [x_min, y_min, x_max, y_max].")
    x0, y0, x1, y1 = (number(each, -_MAX_PIXEL, _MAX_PIXEL, place) for each in value)
    if x1 <= x0 or y1 <= y0:
        raise ScenarioError(f"{place}{value} is empty; give [x_min, y_min, x_max, y_max].")
    return np.array([x0, y0, x1, y1])


def _polygon(name: str, value: Any) -> Float[np.ndarray, "n 2"]:
    """A zone: a box, or three and more corners [x, y]."""
    place = f"zones.{name}: "
    if isinstance(value, list) and value and all(isinstance(each, list) for each in value):
        if not 3 <= len(value) <= 1000 or any(len(corner) != 2 for corner in value):
            raise ScenarioError(f"{place}give at least three corners [x, y].")
        corners = [[number(v, -_MAX_PIXEL, _MAX_PIXEL, place) for v in each] for each in value]
        return np.array(corners)
    x0, y0, x1, y1 = _box(value, place)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _with_conditions(scenario: Scenario, values: Any) -> Scenario:
    if not isinstance(values, list) or not values:
        raise ScenarioError("conditions: must be a list of at least one condition.")
    conditions = [_condition(f"conditions[{n}]", each, scenario) for n, each in enumerate(values)]
    return Scenario(**{**vars(scenario), "conditions": tuple(conditions)})


def _condition(where: str, value: Any, scenario: Scenario) -> Condition:
    kinds = [kind for kind in Kind if isinstance(value, dict) and kind.value in value]
    names = [kind.value for kind in Kind]
    if len(kinds) != 1:
        all_keys = (*names, *_OF_ALL, *(key for keys in _OPTIONS.values() for key in keys))
        Fields(where, value, tuple(dict.fromkeys(all_keys)))  # a misspelt kind is named
        raise ScenarioError(f"{where}: give exactly one of {', '.join(names)}.")
    (kind,) = kinds
    fields = Fields(where, value, (kind.value, *_OPTIONS[kind], *_OF_ALL))
    people: tuple[str, ...] = ()
    zone, limit = "", 0
    if kind in (Kind.FOUND, Kind.DISTANCE):
        people = _people_of(fields, kind.value, scenario)
    elif kind in (Kind.OCCUPIED, Kind.EMPTY):
        zone = _known(value[kind.value], scenario.zones, "zone", fields.place(kind.value))
    else:
        limit = fields.count(kind.value, 0, 0)
    if kind is Kind.MAX_ID_CHANGES:
        people = _people_of(fields, "people", scenario)
    if kind is Kind.DISTANCE:
        _check_distances(fields, people, scenario)
    from_s = fields.number("from_s", 0, _MAX_SECONDS, 0.0)
    until_s = fields.number("until_s", 0, _MAX_SECONDS, math.inf)
    if until_s <= from_s:
        raise ScenarioError(f"{where}: until_s must be after from_s.")
    return Condition(
        kind=kind,
        name=fields.line("name") or " ".join(filter(None, (kind.value, zone, *people))),
        people=people,
        zone=zone,
        pass_rate=fields.number("pass_rate", 0.01, 1, 1.0),
        min_iou=fields.number("min_iou", 0.05, 1, 0.5),
        tolerance=fields.number("tolerance", 0.001, 10, 0.2),
        at_least=fields.count("at_least", 1, 1),
        limit=limit,
        from_s=from_s,
        until_s=until_s,
        known_failure=fields.line("known_failure"),
    )


def _people_of(fields: Fields, key: str, scenario: Scenario) -> tuple[str, ...]:
    """The people that a condition names: one, a list, or all."""
    value = fields.values.get(key, "all")
    if value == "all" and scenario.people:
        return tuple(scenario.people)
    names = value if isinstance(value, list) and value else [value]
    return tuple(_known(name, scenario.people, "person", fields.place(key)) for name in names)


def _known(name: Any, names: Mapping[str, Any], what: str, place: str) -> str:
    if not isinstance(name, str) or name not in names:
        known = ", ".join(names) or "none"
        suggestion = nearest(name, list(names))
        raise ScenarioError(
            f"{place}there is no {what} {shortened(name)}{suggestion} The file has: {known}."
        )
    return name


def _check_distances(fields: Fields, people: tuple[str, ...], scenario: Scenario) -> None:
    if scenario.hfov_deg is None and not is_bag(scenario.film):  # a bag may have a CameraInfo
        raise ScenarioError(f"{fields.place('distance')}needs hfov_deg of the camera.")
    for name in people:
        if any(math.isnan(key.distance_m) for span in scenario.people[name].spans for key in span):
            raise ScenarioError(f"people.{name}: a box has no distance_m, which distance needs.")
