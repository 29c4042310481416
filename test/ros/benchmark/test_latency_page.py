# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""docs/latency.md shows the measurements of docs/latency.json."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from thfm_ros.ros.benchmark.measurement import Measurement, Scenario
from thfm_ros.ros.benchmark.report import Report, replace_measured_section
from thfm_ros.ros.benchmark.stage_timings import StageTimings
from thfm_ros.ros.benchmark.statistics import Latency

pytestmark = pytest.mark.ros


@pytest.fixture
def published(root: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((root / "docs" / "latency.json").read_text())
    return values


def report_from(values: dict[str, Any]) -> Report:
    """The inverse of `Report.as_json`."""
    return Report(
        machine=values["machine"],
        when=values["when"],
        stages=[StageTimings(**stage) for stage in values["stages"]],
        measurements=[measurement_from(row) for row in values["measurements"]],
        engines=values["engines"],
        demo=values["demo"],
    )


def measurement_from(row: dict[str, Any]) -> Measurement:
    fields = {name: value for name, value in row.items() if name != "valid"}
    for name in ("measured_p50_ms", "measured_p95_ms", "measured_p99_ms"):
        fields[name] = math.nan if fields[name] is None else fields[name]
    fields["scenario"] = Scenario(**fields["scenario"])
    for name in ("skeleton", "complete"):
        numbers: dict[str, Any] = {
            key: math.nan if x is None else x for key, x in fields[name].items()
        }
        fields[name] = Latency(**numbers)
    return Measurement(**fields)


def test_the_page_shows_the_measurements_of_the_json_file(
    root: Path, published: dict[str, Any]
) -> None:
    page = (root / "docs" / "latency.md").read_text()
    assert replace_measured_section(page, report_from(published).markdown()) == page


def test_the_json_file_has_the_fields_of_the_report(published: dict[str, Any]) -> None:
    assert report_from(published).as_json() == published
