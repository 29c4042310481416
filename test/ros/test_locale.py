# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Numbers and times where the environment asks for decimal commas and a time zone of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros

CALIBRATION = """
image_width: 640
image_height: 480
camera_matrix: {rows: 3, cols: 3, data: [500.5, 0, 320.25, 0, 500.5, 240.75, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.25, 0.0625, 0, 0, 0]}
"""

PROGRAM = """
import json, locale, sys
from pathlib import Path
import cv2, onnxruntime, rclpy
from thfm_ros.config_text import as_markdown, as_yaml
from thfm_ros.camera.calibration import Calibration
from thfm_ros.ros.params import declare_parameters
from thfm_ros.ros.replay.calibration import calibration_from_file

rclpy.init(args=["--ros-args", "-p", "window.max_gap_s:=0.25"])
parameter = declare_parameters(rclpy.create_node("thfm")).window.max_gap_s
before = locale.localeconv()["decimal_point"]
locale.setlocale(locale.LC_ALL, "")  # as a program may do that imports this package
info = calibration_from_file(Path(sys.argv[1]))
calibration = Calibration("/camera/image_raw", str)
calibration.receive(info)
k = calibration.intrinsics_for("camera", 640, 480)
info.k[0] = 1e-3
calibration.receive(info)
broken = Calibration("/camera/image_raw", str)
broken.receive(info)
broken.intrinsics_for("camera", 640, 480)
print(json.dumps({
    "decimal points": [before, locale.localeconv()["decimal_point"]],
    "parameter": parameter,
    "intrinsics": [k.fx, k.cx, *k.distortion.coefficients[:2]],
    "problem": broken.problem,
    "texts": as_yaml() + as_markdown(),
}))
"""


LOCALE = """
escape_char /
comment_char %
LC_CTYPE
copy "POSIX"
END LC_CTYPE
LC_NUMERIC
decimal_point ","
thousands_sep "."
grouping 3;3
END LC_NUMERIC
"""


@pytest.fixture
def decimal_commas(tmp_path: Path) -> dict[str, str]:
    """An environment with decimal commas, of a locale that is compiled for this test."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed, so no locale with decimal commas can be made")
    source, compiled = tmp_path / "comma.txt", tmp_path / "comma"
    source.write_text(LOCALE)
    command = ["localedef", "-c", "-i", str(source), "-f", "UTF-8", str(compiled)]
    subprocess.run(command, capture_output=True, check=False)  # it warns, and compiles
    if not (compiled / "LC_NUMERIC").exists():
        pytest.skip("localedef cannot compile a locale: install the package locales")
    return {"LOCPATH": str(tmp_path), "LC_ALL": "comma", "TZ": "Asia/Kathmandu"}


def test_a_locale_with_decimal_commas_changes_no_number(
    decimal_commas: dict[str, str], tmp_path: Path, root: Path
) -> None:
    """No library that the node loads switches LC_NUMERIC, which ROS's parser would follow."""
    calibration = tmp_path / "ost.yaml"
    calibration.write_text(CALIBRATION)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(calibration)],
        env={**os.environ, **decimal_commas},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["decimal points"] == [".", ","]
    assert found["parameter"] == 0.25
    assert found["intrinsics"] == [500.5, 320.75, -0.25, 0.0625]
    assert "fx=0.001, fy=500.5" in found["problem"]
    files = (root / "config" / "thfm.yaml", root / "docs" / "parameters.md")
    assert found["texts"] == "".join(path.read_text() for path in files)
