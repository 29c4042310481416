# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The parameters of fusion, with their limits and descriptions; validated on construction.

The parameters of the fusion node, config/fusion.yaml and the table of docs/fusion.md are generated
from them.
"""

from dataclasses import dataclass

from thfm_ros.config_option import Validated, option


@dataclass(frozen=True, kw_only=True)
class FusionSettings(Validated):
    """How the people of several cameras become one set of people."""

    max_delay_s: float = option(
        0.5,
        "messages may arrive this much later than the newest stamp of all cameras, in any order; "
        "later ones are counted and not used",
        unit="s",
        min=0.0,
        max=10.0,
    )
    max_age_s: float = option(
        0.3,
        "a camera whose newest bodies are older than this contributes nothing: it is slow or gone",
        unit="s",
        min=0.01,
        max=5.0,
    )
    future_tolerance_s: float = option(
        0.1,
        "bodies with stamps further ahead of the node's clock than this are refused",
        unit="s",
        min=0.0,
        max=10.0,
    )
    lost_for_s: float = option(
        1.0, "time after which a person whom no camera sees is deleted", unit="s", min=0.0, max=60.0
    )
    sigma_factor: float = option(
        2.5,
        "factor on the standard deviations that the cameras report, which leave out errors that "
        "are the same in all images",
        min=0.1,
        max=20.0,
    )
    size_sigma: float = option(
        0.2,
        "relative standard deviation of a person's size, about which all cameras are wrong in the "
        "same way",
        min=0.001,
        max=1.0,
    )
    view_size_sigma: float = option(
        0.06,
        "relative standard deviation of a person's size in the view of one camera beside that",
        min=0.0,
        max=1.0,
    )
    position_sigma_m: float = option(
        0.05,
        "standard deviation of the position of a camera in the target frame",
        unit="m",
        min=0.0,
        max=1.0,
    )
    direction_sigma_deg: float = option(
        0.7,
        "standard deviation of the direction of a camera in the target frame",
        unit="degrees",
        min=0.0,
        max=20.0,
    )
    speed_sigma_m_s: float = option(
        0.6,
        "standard deviation of the velocity with which positions are predicted between stamps",
        unit="m/s",
        min=0.0,
        max=10.0,
    )
    evidence_time_s: float = option(
        0.4,
        "time constant over which the evidence that two cameras see one person is averaged",
        unit="s",
        min=0.01,
        max=10.0,
    )
    hysteresis: float = option(
        4.0,
        "evidence (logarithm of a likelihood ratio) that is needed to separate people who were "
        "one person before",
        min=0.0,
        max=50.0,
    )
    offset_warn_m: float = option(
        0.25,
        "diagnostics warn if the people of two cameras are displaced by more than this",
        unit="m",
        min=0.01,
        max=10.0,
    )
    offset_warn_deg: float = option(
        4.0,
        "diagnostics warn if the people of two cameras are rotated by more than this",
        unit="degrees",
        min=0.1,
        max=180.0,
    )


@dataclass(frozen=True, kw_only=True)
class FusionNodeSettings(Validated):
    """What the fusion node subscribes to and publishes."""

    autostart: bool = option(
        True, "configure and activate the node when it starts; cannot be changed while it runs"
    )
    inputs: tuple[str, ...] = option(
        ("",), "topics of the cameras' bodies, such as /left/thfm/bodies; at least one"
    )
    target_frame: str = option(
        "map", "tf frame of all positions, the world; its z axis points upwards"
    )
    camera_poses: tuple[str, ...] = option(
        ("",),
        "poses of cameras for which tf is not asked: 'FRAME_ID X Y Z ROLL PITCH YAW' of the "
        "optical frame in target_frame, metres and radians, as for static_transform_publisher",
    )
    transform_timeout_s: float = option(
        0.1, "maximum wait for the transform into target_frame", unit="s", min=0.0, max=1.0
    )
    wait_s: float = option(
        0.05,
        "maximum wait for the bodies of all other cameras of about the newest stamp (20 ms); 0: "
        "none",
        unit="s",
        min=0.0,
        max=1.0,
    )
    max_rate_hz: float = option(
        30.0, "people are published at most so often, by their stamps", unit="Hz", min=0.1, max=1000
    )
    min_keypoint_confidence: float = option(
        0.32, "markers leave out keypoints of lower confidence", min=0.0, max=1.0
    )
    publish_tf: bool = option(True, "broadcast a tf frame for each body")
    body_frame_prefix: str = option(
        "person_", "prefix of the tf frames of bodies; the body id follows it"
    )
    humans_namespace: str = option(
        "/humans", "namespace of the REP-155 topics; empty: they are not published"
    )
    diagnostics_period_s: float = option(
        1.0, "time between two diagnostics messages", unit="s", min=0.1, max=60.0
    )
