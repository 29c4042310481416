"""Everything that can be set, with its reason, unit and limits; checked when it is built.

The ROS parameters, the options of the command line, docs/parameters.md and config/thfm.yaml are
all read off these dataclasses (`parameters`), so a field added here is everywhere at once. A ROS
parameter is named ``group.field``; those of the node itself have no group.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from thfm_ros.contract import PerceptionError, Task

Value: TypeAlias = bool | int | float | str | tuple[str, ...]


class ConfigError(PerceptionError):
    """A value that no parameter can take; the text names it and what it could be."""


def option(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field that knows what it is for and what it accepts."""
    about = {"doc": doc, "unit": unit, "min": min, "max": max, "choices": choices}
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class _Checked:
    def __post_init__(self) -> None:
        """Refuse, by name, what a field cannot be."""
        for each in fields(self):
            value = _checked(each.name, each.default, getattr(self, each.name), each.metadata)
            object.__setattr__(self, each.name, value)


def _checked(name: str, default: Any, value: Any, about: Mapping[str, Any]) -> Any:
    wanted = type(default)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not wanted:
        raise ConfigError(f"{name} is {value!r}; it must be of type {wanted.__name__}.")
    choices = about["choices"]
    if choices is not None:
        for item in value if wanted is tuple else (value,):
            if item not in choices:
                raise ConfigError(f"{name} is {item!r}; choose from {', '.join(choices)}.")
    low, high = about["min"], about["max"]
    if wanted is float and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; it must be a finite number.")
    if (low is not None and value < low) or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} is {value}; it must be {limits}.")
    return value


@dataclass(frozen=True, kw_only=True)
class WindowConfig(_Checked):
    """How many frames are kept, and what breaks a stream."""

    length: int = option(4, "newest frames that are kept", unit="frames", min=1, max=256)
    max_gap_s: float = option(0.5, "a longer hole starts the window anew", unit="s", min=0.001)


@dataclass(frozen=True, kw_only=True)
class RegionConfig(_Checked):
    """Where the network looks: the whole frame now and then, and a crop round each person."""

    max_people: int = option(8, "people that get a crop of their own, best first", min=1, max=20)
    frame_pass_every: int = option(
        5, "frames from one look at the whole image to the next, at least", unit="frames", min=1
    )
    frame_pass_period_s: float = option(
        0.3, "the node: the same in seconds, so that a fast camera costs no more", unit="s", min=0.0
    )
    beside: bool = option(
        True, "the node: search the whole image, and share several people, in a second thread"
    )
    parts: bool = option(True, "every third look is at a part of a large image, for small people")
    margin: float = option(
        1.25, "side of the crop / longer side of the person's box", min=1.0, max=3.0
    )
    max_shift: float = option(
        0.08,
        "the person may leave the crop's centre by so much before it moves",
        unit="of the side",
        min=0.0,
        max=0.5,
    )
    max_resize: float = option(
        1.2, "the person may grow or shrink by this factor before the crop follows", min=1.0
    )
    min_person_px: float = option(
        16.0, "people whose longer side is shorter are not looked at", unit="px", min=4.0
    )
    rewarm: bool = option(
        False, "a crop that moved first sees the window's earlier frames again: steadier, costlier"
    )


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(_Checked):
    """When a number of the network becomes a statement."""

    mask_threshold: float = option(
        0.5, "probability above which a pixel is a person", min=0.05, max=0.95
    )
    candidate_threshold: float = option(
        0.2,
        "the same where the whole image is searched for people; a crop then decides",
        min=0.05,
        max=0.95,
    )
    min_score: float = option(0.42, "somebody new whose score is lower is nobody", min=0.0, max=1.0)
    keep_score: float = option(
        0.3, "the same for somebody who is tracked already", min=0.0, max=1.0
    )
    min_keypoint_confidence: float = option(
        0.1, "joints whose place is believed less are unknown (NaN)", min=0.0, max=1.0
    )
    temporal_prior_weight: float = option(
        5.0, "a place where the joint has just been is believed 1 + this times as much", min=0.0
    )
    vote_radius: float = option(
        0.3, "a vote may miss the person's centre by this", unit="longer sides", min=0.05, max=1.0
    )
    width_sigma: float = option(
        0.1,
        "trust in the predicted size of people: standard deviation of its logarithm",
        min=0.01,
        max=1.0,
    )
    joint_depth_sigma_m: float = option(
        0.08, "standard deviation of a joint's depth relative to the pelvis", unit="m", min=0.001
    )


@dataclass(frozen=True, kw_only=True)
class TrackConfig(_Checked):
    """Who is who from frame to frame."""

    hits_to_confirm: int = option(
        2, "frames in which somebody must be seen before being reported as tracked", min=1
    )
    lost_for_s: float = option(1.0, "somebody unseen is remembered for so long", unit="s", min=0.0)
    min_iou: float = option(
        0.15,
        "boxes that overlap less are different people, unless their centres are near",
        min=0.0,
        max=1.0,
    )
    max_centre_distance: float = option(
        0.5, "centres farther apart are different people", unit="of the longer side", min=0.0
    )
    smoothing: str = option(
        "one_euro", "filter over time of joints and positions", choices=("none", "one_euro")
    )
    min_cutoff_hz: float = option(
        4.0, "one_euro: cut-off for somebody who stands still", unit="Hz", min=0.01
    )
    speed_coefficient: float = option(
        8.0, "one_euro: how fast the cut-off rises with speed in body lengths per second", min=0.0
    )
    seed: int = option(-1, "ids are drawn from this seed; -1: other ids in every run", min=-1)


@dataclass(frozen=True, kw_only=True)
class EngineConfig(_Checked):
    """Which weights run, and on what."""

    checkpoint: str = option("nano", "a name of a shipped checkpoint, or the path of a file")
    kind: str = option(
        "auto", "what runs the network", choices=("auto", "onnx", "torch", "tensorrt")
    )
    threads: int = option(1, "processor threads of the network", min=1, max=256)
    tiny_codec: str = option(
        "", "full-size checkpoints: file of a small codec in the place of the VAE; empty: the VAE"
    )
    cache_dir: str = option("", "where built engines are kept; empty: the user's cache folder")


_TASKS = tuple(task.value for task in Task)


@dataclass(frozen=True, kw_only=True)
class NodeConfig(_Checked):
    """The ROS node."""

    autostart: bool = option(True, "configure and activate without being asked")
    tasks: tuple[str, ...] = option(
        _TASKS, "tasks that may be estimated; only those with a subscriber are", choices=_TASKS
    )
    image_transport: str = option(
        "raw", "how images arrive: Image or CompressedImage", choices=("raw", "compressed")
    )
    target_frame: str = option(
        "", "tf frame of bodies, markers and humans; empty: the camera's optical frame"
    )
    transform_timeout_s: float = option(
        0.05, "how long to wait for the transform into target_frame", unit="s", min=0.0, max=1.0
    )
    publish_tf: bool = option(True, "broadcast a frame per body")
    body_frame_prefix: str = option("body_", "tf frame of a body: this and its id")
    humans_namespace: str = option(
        "/humans", "root of the REP-155 topics; empty: they are not published"
    )
    depth_encoding: str = option(
        "32FC1", "metres or millimetres of depth/image", choices=("32FC1", "16UC1")
    )
    points_with_normals: bool = option(False, "add normals to points")
    diagnostics_period_s: float = option(
        1.0, "from one diagnostic message to the next", unit="s", min=0.1, max=60.0
    )
    image_timeout_s: float = option(
        2.0, "without an image for so long the diagnostics warn", unit="s", min=0.1
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of it."""

    window: WindowConfig = WindowConfig()
    regions: RegionConfig = RegionConfig()
    decode: DecodeConfig = DecodeConfig()
    track: TrackConfig = TrackConfig()
    engine: EngineConfig = EngineConfig()
    node: NodeConfig = NodeConfig()


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One thing that can be set, as ROS, the command line and the documents see it."""

    name: str  # "window.length"; without a group for the node's own
    group: str  # "window"
    field: str  # "length"
    default: Value
    doc: str
    unit: str
    min: float | None
    max: float | None
    choices: tuple[str, ...] | None


def parameters() -> Iterator[Parameter]:
    """Every parameter, grouped, in the order of this file."""
    for group in fields(Config):
        prefix = "" if group.name == "node" else f"{group.name}."
        defaults = getattr(Config(), group.name)
        for each in fields(defaults):
            yield Parameter(
                name=prefix + each.name,
                group=group.name,
                field=each.name,
                default=getattr(defaults, each.name),
                **each.metadata,
            )


def config_from(values: Mapping[str, Any], base: Config | None = None) -> Config:
    """``base`` (the defaults if None) with ``values`` by parameter name.

    Raises:
        ConfigError: a name that does not exist, with the nearest that does; or a bad value.
    """
    base = Config() if base is None else base
    known = {parameter.name: parameter for parameter in parameters()}
    changes: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else " docs/parameters.md lists them all."
            raise ConfigError(f"There is no parameter {name!r}.{hint}")
        changes.setdefault(known[name].group, {})[known[name].field] = value
    groups: dict[str, Any] = {}
    for group, change in changes.items():
        try:
            groups[group] = dataclasses.replace(getattr(base, group), **change)
        except ConfigError as error:
            raise ConfigError(f"In {group}: {error}") from error
    return dataclasses.replace(base, **groups)


def values_of(config: Config) -> dict[str, Value]:
    """The opposite of `config_from`: every parameter's value by its name."""
    return {p.name: getattr(getattr(config, p.group), p.field) for p in parameters()}
