# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""All parameters with description, unit and limits; values are validated on construction.

The ROS parameters, the options of the command line, docs/parameters.md and config/thfm.yaml are
all generated from these dataclasses (`parameters`), so that each parameter is defined once. A ROS
parameter is named ``group.field``; those of the node itself have no group. A description stands
alone: `ros2 param describe` prints it without its neighbours.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from thfm_ros.config_follow import FollowConfig
from thfm_ros.config_node import NodeConfig
from thfm_ros.config_option import ConfigError, Validated, option

Value: TypeAlias = bool | int | float | str | tuple[str, ...]


FOLLOW_CAMERA = -1.0
"""Value of regions.budget_ms: a step takes no longer than the camera's period."""


@dataclass(frozen=True, kw_only=True)
class WindowConfig(Validated):
    """The sliding window of frames, and what interrupts a stream."""

    length: int = option(4, "number of newest frames that are kept", unit="frames", min=1, max=256)
    max_gap_s: float = option(
        0.5, "longer gaps between two frames begin a new stream", unit="s", min=0.001
    )


@dataclass(frozen=True, kw_only=True)
class RegionConfig(Validated):
    """Detection passes over the whole image, and one crop per tracked person."""

    max_people: int = option(
        8, "maximum number of people tracked at a time; others are only counted", min=1, max=20
    )
    frame_pass_every: int = option(
        5,
        "minimum number of frames between two detection passes while people are tracked",
        unit="frames",
        min=1,
    )
    frame_pass_period_s: float = option(
        0.3,
        "live cameras: minimum time between two detection passes while people are tracked",
        unit="s",
        min=0.0,
    )
    budget_ms: float = option(
        FOLLOW_CAMERA,
        "live cameras: time of a step, beyond which tracked people are measured in turn and the "
        "others are predicted; -1: what the camera's period allows, but each person every 0.25 s "
        "if possible; 0: all people in every frame, as in recordings",
        unit="ms",
        min=FOLLOW_CAMERA,
    )
    run_async: bool = option(
        True,
        "live cameras: run detection passes and half of the crops in a second thread",
    )
    tiles: bool = option(
        True, "every third detection pass covers one tile of a large image, to find small people"
    )
    margin: float = option(
        1.18, "side of a crop divided by the longer side of the bounding box", min=1.0, max=3.0
    )
    tall_aspect: float = option(
        1.7,
        "tracked people get a tall crop if their bounding box is so many times as tall as wide; "
        "0: all crops are square",
        min=0.0,
        max=20.0,
    )
    max_shift: float = option(
        0.08,
        "a crop moves when the bounding box is farther than this from its centre",
        unit="crop sides",
        min=0.0,
        max=0.5,
    )
    max_resize: float = option(
        1.2, "a crop is resized when the bounding box grows or shrinks by more than this", min=1.0
    )
    min_person_px: float = option(
        16.0, "proposals whose longer side is shorter are ignored", unit="px", min=4.0
    )
    rewarm: bool = option(
        False, "a new crop first runs on the earlier frames of the window: less jitter, more cost"
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for the first field with an invalid value."""
        super().__post_init__()
        if FOLLOW_CAMERA < self.budget_ms < 0:
            raise ConfigError(
                f"budget_ms is {self.budget_ms}; it must be -1 (the camera's period), 0 (no limit) "
                "or more."
            )


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(Validated):
    """Thresholds and standard deviations that turn network outputs into results."""

    mask_threshold: float = option(
        0.5, "mask probability above which a pixel of a crop is a person", min=0.05, max=0.95
    )
    candidate_threshold: float = option(
        0.15,
        "score of the detector above which a proposal gets a crop",
        min=0.05,
        max=0.95,
    )
    min_score: float = option(
        0.7, "minimum probability of a person at which a new track begins", min=0.0, max=1.0
    )
    keep_score: float = option(
        0.55, "minimum score of a crop at which an existing track continues", min=0.0, max=1.0
    )
    min_keypoint_confidence: float = option(
        0.32, "keypoints of lower confidence are unknown (NaN)", min=0.0, max=1.0
    )
    temporal_prior_weight: float = option(
        5.0,
        "weight of the keypoints of the previous frame when a heatmap has several peaks; 0: none",
        min=0.0,
    )
    vote_radius: float = option(
        0.3,
        "maximum error of an instance vote for the centre of its person's bounding box",
        unit="longer sides of the box",
        min=0.05,
        max=1.0,
    )
    width_sigma: float = option(
        0.1,
        "standard deviation of the logarithm of the predicted metric width of a crop",
        min=0.01,
        max=1.0,
    )
    joint_depth_sigma_m: float = option(
        0.08, "standard deviation of a joint's root-relative depth", unit="m", min=0.001
    )


@dataclass(frozen=True, kw_only=True)
class TrackConfig(Validated):
    """Track states, matching of lost tracks, and temporal smoothing."""

    hits_to_confirm: int = option(
        2, "number of detections after which a tentative track is confirmed", min=1
    )
    lost_for_s: float = option(
        1.0, "time after which a track without detections is deleted", unit="s", min=0.0
    )
    min_iou: float = option(
        0.15,
        "minimum overlap (IoU) at which a new detection continues a lost track",
        min=0.0,
        max=1.0,
    )
    max_centre_distance: float = option(
        0.5,
        "maximum distance of box centres at which a new detection continues a lost track",
        unit="longer sides of the box",
        min=0.0,
    )
    smoothing: str = option(
        "one_euro", "temporal filter of keypoints and positions", choices=("none", "one_euro")
    )
    min_cutoff_hz: float = option(
        4.0, "one_euro filter: cut-off frequency at rest", unit="Hz", min=0.01
    )
    speed_coefficient: float = option(
        8.0,
        "one_euro filter: increase of the cut-off frequency with speed",
        unit="Hz per body length/s",
        min=0.0,
    )
    remember_for_s: float = option(
        30.0,
        "time for which the clothes of people who have left are remembered, in memory only, so "
        "that they get their id back when they return; 0: never",
        unit="s",
        min=0.0,
    )
    seed: int = option(-1, "seed of the random body ids; -1: different ids in every run", min=-1)


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Validated):
    """The checkpoint, and the runtime that executes it."""

    checkpoint: str = option("nano", "name of a shipped checkpoint, or path of a checkpoint file")
    scene_checkpoint: str = option(
        "",
        "full-size checkpoint that estimates depth, normals and masks of the whole scene, while "
        "engine.checkpoint estimates bodies; empty: none",
    )
    kind: str = option(
        "auto", "runtime that executes the network", choices=("auto", "onnx", "torch", "tensorrt")
    )
    threads: int = option(1, "number of CPU threads of the network", min=1, max=256)
    precision: str = option(
        "auto",
        "CPU: numbers of most layers of a tracked person's step: 32-bit floats (fp32), 8-bit "
        "integers (int8; fp32 with a reason where that is not faster or differs), or int8 for live "
        "cameras on processors made for it (auto)",
        choices=("auto", "fp32", "int8"),
    )
    tiny_codec: str = option(
        "", "full-size checkpoints: file of a tiny VAE that replaces the VAE; empty: the VAE"
    )
    cache_dir: str = option(
        "", "folder in which built engines are cached; empty: the user's cache folder"
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """All parameters, by group."""

    window: WindowConfig = WindowConfig()
    regions: RegionConfig = RegionConfig()
    decode: DecodeConfig = DecodeConfig()
    track: TrackConfig = TrackConfig()
    follow: FollowConfig = field(default_factory=FollowConfig)
    engine: EngineConfig = EngineConfig()
    node: NodeConfig = field(default_factory=NodeConfig)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter, as ROS, the command line and the documents show it."""

    name: str  # "window.length"; without a group for parameters of the node
    group: str  # "window"
    field: str  # "length"
    default: Value
    doc: str
    unit: str
    min: float | None
    max: float | None
    choices: tuple[str, ...] | None


def parameters() -> Iterator[Parameter]:
    """All parameters, group by group, in the order of this file."""
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
    """``base`` (the defaults if None) with other ``values``, given by parameter name.

    Raises:
        ConfigError: an unknown name, with the most similar known one, or an invalid value.
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
    """The inverse of `config_from`: the value of every parameter by its name."""
    return {p.name: getattr(getattr(config, p.group), p.field) for p in parameters()}
