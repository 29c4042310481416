"""What the demo shows in Rerun: a stand-in for that large package is told."""

import sys
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from demo_moments import a_body, a_moment

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.demo.rerun_viewer import Viewer
from thfm_ros.skeleton import BONES

pytestmark = pytest.mark.ros


@pytest.fixture
def rerun(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Rerun on a machine without a screen."""
    module = MagicMock(name="rerun")
    module.serve_grpc.return_value = "rerun+http://127.0.0.1:9876/proxy"
    monkeypatch.setitem(sys.modules, "rerun", module)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return module


def logged(rerun: MagicMock) -> dict[str, Any]:
    """The newest of what was logged, by its place."""
    return {call.args[0]: call.args[1] for call in rerun.log.call_args_list}


def test_without_a_screen_the_page_s_address_can_be_clicked(
    rerun: MagicMock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    Viewer()
    rerun.spawn.assert_not_called()
    # A bare "+" would reach the page as a space.
    assert "localhost:9090/?url=rerun%2Bhttp%3A%2F%2F127.0.0.1%3A9876%2Fproxy" in caplog.text


def test_with_a_screen_a_window_is_opened(
    rerun: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    Viewer()
    rerun.spawn.assert_called_once()
    rerun.serve_web_viewer.assert_not_called()


def test_image_mask_depth_and_known_limbs_are_at_the_image_s_time(rerun: MagicMock) -> None:
    viewer = Viewer()
    body = a_body()
    body.keypoints[list(BONES[3]), :2] = ((10, 20), (30, 20))  # one bone is seen
    moment = a_moment(30, (body,))
    viewer.show(moment)
    rerun.set_time.assert_called_with("image", timestamp=3.0)
    places = logged(rerun)
    assert {"camera/image", "camera/mask", "depth", "camera/image/people/abcde"} <= set(places)
    (lines,), _ = rerun.LineStrips2D.call_args
    assert [line.tolist() for line in lines] == [[[10, 20], [30, 20]]]
    assert "people/abcde" not in places, "nothing is known about the third dimension"
    placed = replace(body, positions_m=np.full_like(body.positions_m, 2.0))
    viewer.show(a_moment(31, (placed,)))
    assert "people/abcde" in logged(rerun)


def test_rerun_that_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(PerceptionError, match=r"pip install 'rerun-sdk"):
        Viewer()
