# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Conversions compared with cv_bridge and sensor_msgs_py, where these are installed (apt)."""

import array
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from perceived import a_body, a_perception, an_image
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from thfm_ros.camera import rgb_from_image
from thfm_ros.ros.to_msg.points import PointCloudMaker

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = 16, 12
BYTES_PER_PIXEL = {
    **{"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "yuv422": 2, "yuv422_yuy2": 2},
    **{f"bayer_{pattern}8": 1 for pattern in ("rggb", "bggr", "gbrg", "grbg")},
}
"""The accepted encodings that cv_bridge has too."""


def random_image_message(encoding: str) -> Image:
    """The same bytes in every process."""
    step = WIDTH * BYTES_PER_PIXEL[encoding]
    values = np.random.default_rng(3).integers(0, 256, HEIGHT * step, np.uint8)
    msg = Image(width=WIDTH, height=HEIGHT, encoding=encoding, step=step)
    msg.data = array.array("B", values.tobytes())
    return msg


def convert_with_cv_bridge(out: Path) -> None:
    """Write the RGB array of each encoding to an .npz file."""
    from cv_bridge import CvBridge

    bridge = CvBridge()
    arrays = {
        encoding: bridge.imgmsg_to_cv2(random_image_message(encoding), "rgb8")
        for encoding in BYTES_PER_PIXEL
    }
    np.savez(out, **arrays)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """RGB arrays by encoding, from a process of its own: cv_bridge can crash its process if it
    was built with another major version of NumPy."""
    if importlib.util.find_spec("cv_bridge") is None:
        pytest.skip("cv_bridge is not installed (apt only)")
    out = tmp_path_factory.mktemp("cv_bridge") / "rgb.npz"
    command = [sys.executable, __file__, str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        pytest.skip(f"cv_bridge does not run with NumPy {np.__version__}: {result.stderr[-300:]}")
    with np.load(out) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("encoding", BYTES_PER_PIXEL)
def test_rgb_arrays_equal_those_of_cv_bridge(
    reference: dict[str, np.ndarray], encoding: str
) -> None:
    rgb = rgb_from_image(random_image_message(encoding))
    np.testing.assert_array_equal(rgb, reference[encoding])


@pytest.mark.parametrize("with_normals", [False, True])
def test_sensor_msgs_py_reads_the_point_clouds(with_normals: bool) -> None:
    point_cloud2 = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed (apt only)"
    )
    perception = a_perception(a_body())
    maker = PointCloudMaker(with_normals=with_normals)
    cloud = maker.cloud(perception, an_image(), Header(frame_id="camera"))
    points = point_cloud2.read_points(cloud)
    assert perception.depth_m is not None and perception.normals is not None
    np.testing.assert_array_equal(points["z"], perception.depth_m.ravel())
    if with_normals:
        np.testing.assert_array_equal(points["normal_y"], perception.normals[..., 1].ravel())
    fields = ["x", "y", "z", "rgb"]  # a packed colour that is NaN would lose its point
    known = point_cloud2.read_points(cloud, field_names=fields, skip_nans=True)
    assert len(known) == np.isfinite(perception.depth_m).sum()


if __name__ == "__main__":
    convert_with_cv_bridge(Path(sys.argv[1]))
