# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The tables of `thfm evaluate --fusion`: several cameras beside one, and beside their mean."""

from collections.abc import Mapping, Sequence

import numpy as np

from thfm_ros.contract import Perception
from thfm_ros.evaluation.fusion_metrics import FusionScores, camera_sets, scene_scores
from thfm_ros.evaluation.fusion_scenes import RigScene
from thfm_ros.evaluation.markdown_report import group_table, number
from thfm_ros.fusion.settings import FusionSettings


def fusion_scores(
    scenes: Sequence[RigScene],
    views: Mapping[str, Mapping[str, Sequence[Perception]]],
    settings: FusionSettings,
) -> dict[str, FusionScores]:
    """The scores of each kind of set of cameras over all scenes.

    Args:
        scenes: all with the same cameras.
        views: what each camera perceived, by scene and camera.
        settings: of the fusion.
    """
    result: dict[str, FusionScores] = {}
    for kind, sets in camera_sets(scenes[0].cameras).items():
        total = result[kind] = FusionScores()
        for scene in scenes:
            for cameras in sets:
                total.add(scene_scores(scene, views[scene.name], cameras, settings))
    return result


def fusion_tables(scores: Mapping[str, FusionScores]) -> str:
    """Positions, then ids and totals."""
    positions = group_table(
        (
            "cameras",
            "pelvis error: better single camera, m",
            "mean of the cameras, m",
            "fused, m",
            "fused / better",
            "joint error: better single camera, m",
            "fused, m",
        ),
        [(kind, *_positions(each)) for kind, each in scores.items()],
    )
    totals = group_table(
        (
            "cameras",
            "people in view",
            "with a body",
            "counted twice",
            "twice without fusion",
            "two people as one",
            "id switches / steps",
        ),
        [(kind, *_numbers(each)) for kind, each in scores.items()],
    )
    return f"{positions}\n\n{totals}"


def _positions(scores: FusionScores) -> list[str]:
    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else float("nan")

    better, fused = mean(scores.better_m), mean(scores.fused_m)
    return [
        number(better, 3),
        number(mean(scores.mean_m), 3),
        number(fused, 3),
        number(fused / better, 2),
        number(mean(scores.joints_single_m), 3),
        number(mean(scores.joints_fused_m), 3),
    ]


def _numbers(scores: FusionScores) -> list[str]:
    totals = (scores.people, scores.found, scores.twice, scores.union, scores.mixed)
    return [*map(str, totals), f"{scores.switches} / {scores.steps}"]
