# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What the demo logs to Rerun, which is replaced by a mock."""

import sys
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from demo_frames import a_body, a_frame

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.demo.rerun_viewer import RerunViewer
from thfm_ros.skeleton import BONES

pytestmark = pytest.mark.ros


@pytest.fixture
def rerun(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A mock of Rerun, on a machine without a display."""
    module = MagicMock(name="rerun")
    module.serve_grpc.return_value = "rerun+http://127.0.0.1:9876/proxy"
    monkeypatch.setitem(sys.modules, "rerun", module)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return module


def logged(rerun: MagicMock) -> dict[str, Any]:
    """The last logged value of each entity path."""
    return {call.args[0]: call.args[1] for call in rerun.log.call_args_list}


def test_without_a_display_the_address_of_the_page_is_logged(
    rerun: MagicMock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    RerunViewer()
    rerun.spawn.assert_not_called()
    # An unquoted "+" would be decoded as a space.
    assert "localhost:9090/?url=rerun%2Bhttp%3A%2F%2F127.0.0.1%3A9876%2Fproxy" in caplog.text


def test_with_a_display_a_window_is_opened(
    rerun: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    RerunViewer()
    rerun.spawn.assert_called_once()
    rerun.serve_web_viewer.assert_not_called()


def test_image_mask_depth_and_known_bones_are_logged_at_the_stamp_of_the_image(
    rerun: MagicMock,
) -> None:
    viewer = RerunViewer()
    body = a_body()
    body.keypoints[list(BONES[3]), :2] = ((10, 20), (30, 20))  # the only known bone
    frame = a_frame(30, (body,))
    viewer.show(frame)
    rerun.set_time.assert_called_with("image", timestamp=3.0)
    entities = logged(rerun)
    assert {"camera/image", "camera/mask", "depth", "camera/image/people/abcde"} <= set(entities)
    (lines,), _ = rerun.LineStrips2D.call_args
    assert [line.tolist() for line in lines] == [[[10, 20], [30, 20]]]
    assert "people/abcde" not in entities, "the 3D positions are unknown"
    with_positions = replace(body, positions_m=np.full_like(body.positions_m, 2.0))
    viewer.show(a_frame(31, (with_positions,)))
    assert "people/abcde" in logged(rerun)


def test_a_missing_rerun_package_is_reported_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(PerceptionError, match=r"pip install 'rerun-sdk"):
        RerunViewer()
