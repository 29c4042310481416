# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any calibration file of the replay node gives a CameraInfo with its own values, or is refused.

Half of the inputs are a valid file with a few changes. With THFM_FUZZ_EXAMPLES=20000 that many
new ones are tried.
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

from thfm_ros.camera.calibration import CalibrationError
from thfm_ros.ros.replay.calibration import calibration_from_file

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)]

TEXT = """\
image_width: 640
image_height: 480
camera_name: camera
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320.5, 0, 501, 240.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [500, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibration") / "ost.yaml"


@given(
    data=mutated([TEXT.encode()])
    | changed_documents(yaml.safe_load(TEXT)).map(in_yaml)
    | VALUES.map(in_yaml)
    | st.binary(max_size=50)
)
@fuzz(examples=150)
def test_any_calibration_file_gives_its_own_values_or_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    info = refused_or(lambda: calibration_from_file(path), CalibrationError)
    if info is None:
        return
    values = yaml.safe_load(data)
    assert (info.width, info.height) == (values["image_width"], values["image_height"])
    assert info.width > 0 and info.height > 0
    assert list(info.k) == [float(each) for each in values["camera_matrix"]["data"]]
    assert all(math.isfinite(each) for each in [*info.k, *info.d, *info.r, *info.p])
