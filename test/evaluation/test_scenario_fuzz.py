# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any scenario file is read with values within their limits, or refused with a reason.

Half of the inputs are a valid scenario with a few changes. With THFM_FUZZ_EXAMPLES=20000 that many
new ones are tried per test.
"""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from json_values import VALUES, changed_documents, in_yaml
from mutated_bytes import mutated, refused_or
from property_tests import FUZZ_EXAMPLES, fuzz

from thfm_ros.evaluation.scenario.contents import ScenarioError
from thfm_ros.evaluation.scenario.reader import read_scenario

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)

TEXT = """\
film: film.mp4
hfov_deg: 60
until_s: 4
parameters: {decode.min_score: 0.5}
people:
  near:
    - {at_s: 0, box: [94, 92, 168, 334], distance_m: 3.07}
    - {at_s: 0.5, box: [92, 93, 168, 334], distance_m: 3.07}
    - {at_s: 2, out_of_view: true}
  far:
    - {from_s: 1, until_s: 3, box: [310, 107, 353, 218], distance_m: 7.4}
zones: {railing: [1, 2, 30, 40], lawn: [[0, 0], [9, 0], [9, 9]]}
conditions:
  - {found: near, pass_rate: 0.9, min_iou: 0.4}
  - {distance: [near, far], tolerance: 0.25, from_s: 1, until_s: 2}
  - {occupied: lawn, at_least: 2}
  - {empty: railing, known_failure: why}
  - max_ids: 2
  - {max_id_changes: 0, people: all, name: changes}
"""
BOMB = b"film: film.mp4\na: &a [x, x]\n" + b"".join(
    b"%c: &%c [*%c, *%c]\n" % (c, c, c - 1, c - 1) for c in range(ord("b"), ord("z"))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenario")
    (folder / "film.mp4").touch()
    return folder / "scenario.yaml"


@given(
    data=mutated([TEXT.encode()])
    | changed_documents(yaml.safe_load(TEXT)).map(in_yaml)
    | VALUES.map(in_yaml)
    | st.binary(max_size=100)
    | st.just(BOMB)
)
@fuzz(examples=150)
def test_any_scenario_is_read_within_its_limits_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    scenario = refused_or(lambda: read_scenario(path), ScenarioError)
    if scenario is None:
        return
    assert scenario.film.parent == path.parent and scenario.film.exists()
    assert scenario.conditions and scenario.until_s > 0
    assert scenario.hfov_deg is None or 1 <= scenario.hfov_deg <= 170
    for condition in scenario.conditions:
        assert 0 < condition.pass_rate <= 1 and 0 < condition.min_iou <= 1
        assert 0 <= condition.from_s < condition.until_s and condition.limit >= 0
        assert set(condition.people) <= set(scenario.people)
        assert not condition.zone or condition.zone in scenario.zones
    for person in scenario.people.values():
        for span in person.spans:
            times = [key.at_s for key in span]
            assert len(span) >= 2 and times == sorted(set(times)) and math.isfinite(times[-1])


def test_the_unchanged_scenario_is_read(path: Path) -> None:
    path.write_text(TEXT)
    assert len(read_scenario(path).conditions) == 6
