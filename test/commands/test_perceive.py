# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm perceive` with an engine that knows the scene."""

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import Person, camera, image, pixels_of

from thfm_ros.contract import Intrinsics, PerceptionError
from thfm_ros.media.errors import VideoError
from thfm_ros.media.video import Video
from thfm_ros.offline import sources
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import JOINT_NAMES

K = camera(160, 120, 150.0)
PERSON = Person(0.1, 0.05, 3)

Thfm = Callable[..., int]


def write_video(path: Path, frames: list[np.ndarray], fps: float = 10.0) -> Path:
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), fps, size)
    assert writer.isOpened()
    for rgb in frames:
        writer.write(rgb[..., ::-1].copy())
    writer.release()
    return path


def write_image(path: Path, rgb: np.ndarray) -> None:
    assert cv2.imwrite(str(path), rgb[..., ::-1])


def test_a_video_becomes_arrays_of_the_documented_shapes_and_types(
    tmp_path: Path, thfm: Thfm
) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 5)
    assert thfm(video, "--out", tmp_path / "out", "--fx", 150, "--set", "track.seed=1") == 0
    with np.load(tmp_path / "out" / "perception.npz") as archive:
        arrays = {name: archive[name] for name in archive}
    n, h, w, p, k = 5, 120, 160, 1, 35
    assert {name: (each.shape, each.dtype.name) for name, each in arrays.items()} == {
        "frames": ((n,), "int64"),
        "stamps": ((n,), "int64"),
        "mask": ((n, h, w), "float16"),
        "depth_m": ((n, h, w), "float32"),
        "normals": ((n, h, w, 3), "float16"),
        "parts": ((n, h, w), "uint8"),
        "dense_pose": ((n, h, w, 3), "float16"),
        "keypoints2d": ((n, p, k, 3), "float32"),
        "keypoints3d": ((n, p, k, 3), "float32"),
        "ids": ((n, p), arrays["ids"].dtype.name),
        "boxes": ((n, p, 4), "float32"),
        "velocity": ((n, p, 3), "float32"),
        "measurement_age": ((n, p), "float32"),
        "joint_names": ((k,), arrays["joint_names"].dtype.name),
    }
    assert arrays["ids"].dtype.kind == arrays["joint_names"].dtype.kind == "U"
    assert arrays["frames"].tolist() == [0, 1, 2, 3, 4]
    assert tuple(arrays["joint_names"]) == JOINT_NAMES
    assert len(set(arrays["ids"][:, 0])) == 1 and len(arrays["ids"][0, 0]) == 5
    assert np.isnan(arrays["velocity"][0, 0]).all()
    np.testing.assert_allclose(arrays["velocity"][1:, 0], 0, atol=0.05)  # a still scene
    assert (arrays["measurement_age"][:, 0] == 0).all()
    assert arrays["mask"].min() >= 0 and 0.9 < arrays["mask"].max() <= 1


def test_the_arrays_agree_with_the_scene(tmp_path: Path, thfm: Thfm) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 3)
    # The scene's principal point is not at the centre: depth is right, x and y are shifted.
    assert thfm(video, "--out", tmp_path, "--fx", 150) == 0
    arrays = np.load(tmp_path / "perception.npz")
    truth = pixels_of(PERSON.joints_m(), K)
    np.testing.assert_allclose(arrays["keypoints2d"][-1, 0, :, :2], truth, atol=0.7)
    assert np.nanmedian(arrays["depth_m"][-1]) == pytest.approx(3, abs=0.05)
    depths = PERSON.joints_m()[:, 2]
    np.testing.assert_allclose(arrays["keypoints3d"][-1, 0, :, 2], depths, atol=0.1)
    here = np.isfinite(arrays["depth_m"])
    np.testing.assert_array_equal(here, arrays["parts"] > 0)
    np.testing.assert_array_equal(here, np.isfinite(arrays["normals"]).all(-1))
    np.testing.assert_array_equal(here, arrays["mask"] > 0.5)


def test_without_a_focal_length_the_log_names_what_is_missing_and_the_option(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 2)
    assert thfm(video, "--out", tmp_path) == 0
    assert "--hfov" in caplog.text and "NaN" in caplog.text
    arrays = np.load(tmp_path / "perception.npz")
    assert np.isnan(arrays["depth_m"]).all() and np.isnan(arrays["keypoints3d"]).all()
    assert np.isfinite(arrays["depth_relative"]).any(), (
        "relative depth is known without a focal length"
    )
    assert np.isfinite(arrays["keypoints2d"]).any()
    caplog.clear()
    assert thfm(video, "--out", tmp_path, "--hfov", 56) == 0
    assert "--hfov" not in caplog.text
    metric = np.load(tmp_path / "perception.npz")
    assert np.isfinite(metric["depth_m"]).any() and "depth_relative" not in metric


def test_every_image_of_a_folder_is_a_clip_of_its_own(tmp_path: Path, thfm: Thfm) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("b.png", "a.png", "c.png"):
        write_image(folder / name, image(K))
    (folder / "notes.txt").write_text("not an image")
    assert thfm(folder, "--out", tmp_path) == 0
    arrays = np.load(tmp_path / "perception.npz")
    assert arrays["frames"].tolist() == [0, 1, 2]
    assert len(set(arrays["ids"].ravel())) == 3  # no track goes from image to image


def test_smaller_images_lie_in_the_corner_and_the_rest_is_unknown(
    tmp_path: Path, thfm: Thfm
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write_image(folder / "large.png", np.pad(image(K), ((0, 20), (0, 30), (0, 0))))
    write_image(folder / "small.png", image(K))
    assert thfm(folder, "--out", tmp_path) == 0
    arrays = np.load(tmp_path / "perception.npz")
    assert arrays["mask"].shape == (2, 140, 190)
    assert np.isfinite(arrays["mask"][0]).all()
    assert np.isfinite(arrays["mask"][1, :120, :160]).all()
    assert np.isnan(arrays["mask"][1, 120:]).all() and np.isnan(arrays["mask"][1, :, 160:]).all()


def test_unreadable_images_are_logged_and_left_out(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    write_image(folder / "a.png", image(K))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    write_image(folder / "c.png", image(K))
    assert thfm(folder, "--out", tmp_path) == 0
    assert "broken.jpg" in caplog.text
    assert np.load(tmp_path / "perception.npz")["frames"].tolist() == [0, 2]


def test_people_keep_their_column_and_new_ones_take_free_columns(
    tmp_path: Path, thfm: Thfm, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Person(-0.9, 0, 4), Person(0.9, 0, 4)
    scenes = [[one], [one], [one, two], [one, two], [two], [two], [two, one]]
    remaining = iter(scenes)
    original = PerceptionPipeline.step

    def step(self: PerceptionPipeline, *arguments: object) -> object:
        people[:] = next(remaining)
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PerceptionPipeline, "step", step)
    video = write_video(tmp_path / "walk.avi", [image(K)] * len(scenes))
    settings = ["regions.frame_pass_every=1", "track.lost_for_s=0"]
    options = [each for setting in settings for each in ("--set", setting)]
    assert thfm(video, "--out", tmp_path, *options) == 0
    ids = np.load(tmp_path / "perception.npz")["ids"]
    a, b, c = ids[0, 0], ids[2, 1], ids[6, 0]
    assert ids.tolist() == [
        [a, ""],
        [a, ""],
        [a, b],
        [a, b],
        ["", b],
        ["", b],
        [c, b],
    ]
    assert len({a, b, c, ""}) == 4


@pytest.mark.parametrize("tasks", ["bodies", "depth, bodies"])
def test_maps_of_other_tasks_are_left_out(tmp_path: Path, thfm: Thfm, tasks: str) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 2)
    assert thfm(video, "--out", tmp_path, "--tasks", tasks) == 0
    names = set(np.load(tmp_path / "perception.npz"))
    assert ("depth_m" in names) == ("depth" in tasks)
    assert "mask" not in names and "keypoints2d" in names


def test_a_video_without_people_is_a_valid_result(
    tmp_path: Path, thfm: Thfm, people: list[Person]
) -> None:
    people.clear()
    video = write_video(tmp_path / "empty.avi", [image(K)] * 3)
    assert thfm(video, "--out", tmp_path, "--overlay") == 0
    arrays = np.load(tmp_path / "perception.npz")
    assert arrays["ids"].shape == (3, 0) and arrays["keypoints3d"].shape == (3, 0, 35, 3)
    assert not arrays["mask"].any()


def test_the_overlay_has_every_frame(tmp_path: Path, thfm: Thfm) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 4, fps=12.0)
    assert thfm(video, "--out", tmp_path / "out", "--overlay", "--fx", 150) == 0
    overlay = Video(tmp_path / "out" / "overlay.mp4")
    frames = [np.asarray(each.rgb, int) for each in overlay]
    assert len(frames) == 4 and overlay.fps == pytest.approx(12, rel=0.01)
    assert frames[0].shape == (240, 480, 3)  # two rows of three panels
    x, y = (int(v) for v in pixels_of(PERSON.joints_m(), K).mean(0))
    inside = abs(
        frames[-1][y - 8 : y + 8, x - 8 : x + 8] - frames[-1][y - 8 : y + 8, x + 152 : x + 168]
    )
    outside = abs(frames[-1][2:12, 2:12] - frames[-1][2:12, 162:172])
    assert inside.mean() > 5 * outside.mean()  # only the person is painted over


def test_at_most_max_frames_are_perceived(tmp_path: Path, thfm: Thfm) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 6)
    assert thfm(video, "--out", tmp_path, "--max-frames", 2) == 0
    assert np.load(tmp_path / "perception.npz")["frames"].tolist() == [0, 1]


def test_people_left_out_by_the_limit_are_named(
    tmp_path: Path, thfm: Thfm, people: list[Person], caplog: pytest.LogCaptureFixture
) -> None:
    people[:] = [Person(x, 0, 4) for x in (-1, 0, 1)]
    video = write_video(tmp_path / "walk.avi", [image(K)])
    assert thfm(video, "--out", tmp_path, "--set", "regions.max_people=1") == 0
    assert "up to 2 people per frame are left out: see regions.max_people" in caplog.text


@pytest.mark.fault("process", "SIGINT while a film is perceived")
def test_frames_before_an_interrupt_are_kept(
    tmp_path: Path, thfm: Thfm, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, count = PerceptionPipeline.step, iter(range(10))

    def step(self: PerceptionPipeline, *arguments: object) -> object:
        if next(count) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PerceptionPipeline, "step", step)
    video = write_video(tmp_path / "walk.avi", [image(K)] * 5)
    assert thfm(video, "--out", tmp_path / "out") == 130
    assert len(np.load(tmp_path / "out" / "perception.npz")["frames"]) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["perception.npz"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no file"),
        (lambda path: path.write_bytes(b"not a video at all"), "cannot open"),
        (lambda path: path.mkdir(), "holds no images"),
    ],
)
def test_unreadable_input_is_one_line_and_no_result(
    tmp_path: Path,
    thfm: Thfm,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], object],
    message: str,
) -> None:
    source = tmp_path / "source.mp4"
    make(source)
    with caplog.at_level(logging.ERROR):
        assert thfm(source, "--out", tmp_path / "out") == 2
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert message in record.message and "source.mp4" in record.message
    assert not (tmp_path / "out").exists()


def test_a_folder_of_unreadable_images_is_an_error(tmp_path: Path, thfm: Thfm) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(VideoError, match="can be read"):
        sources.ImageFolder(tmp_path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--tasks", "depth,gaze"), "gaze"),
        (("--set", "window.lenght=3"), "Did you mean window.length"),
        (("--set", "window.length=three"), "not of type int"),
        (("--hfov", "200"), "degrees"),
        (("--fx", "-3"), "focal length"),
        (("--fx", "inf"), "focal length"),
    ],
)
def test_invalid_options_are_refused_before_any_work(
    tmp_path: Path,
    thfm: Thfm,
    caplog: pytest.LogCaptureFixture,
    option: tuple[str, str],
    message: str,
) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)])
    assert thfm(video, "--out", tmp_path / "out", *option) == 2
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


def test_intrinsics_follow_from_a_focal_length_or_a_field_of_view() -> None:
    assert sources.FocalLength().intrinsics(640, 480) is None
    assert sources.FocalLength(fx=500).intrinsics(640, 480) == Intrinsics(
        500, 500, 320, 240, 640, 480
    )
    wide = sources.FocalLength(hfov_deg=90).intrinsics(640, 480)
    assert wide is not None and wide.fx == pytest.approx(320)


@pytest.mark.parametrize(("fx", "degrees"), [(24, "171"), (1e6, "0.0367")])
def test_a_focal_length_that_no_camera_has_is_refused_with_its_field_of_view(
    fx: float, degrees: str
) -> None:
    """Millimetres instead of pixels would put everyone at a tenth of their distance."""
    with pytest.raises(PerceptionError, match=rf"{degrees} degrees\. Give pixels.*not millimetres"):
        sources.FocalLength(fx=fx).intrinsics(640, 480)
    with pytest.raises(PerceptionError, match="images 1280 pixels wide"):
        sources.FocalLength(fx=35).intrinsics(640, 480, scale=0.5)


def test_the_overlay_of_the_last_frame_can_be_written_as_an_image(
    tmp_path: Path, thfm: Thfm
) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 3)
    still = tmp_path / "images" / "walk.png"
    assert thfm(video, "--out", tmp_path / "out", "--max-frames", 2, "--still", still) == 0
    panels = cv2.imread(str(still))
    assert panels is not None
    assert panels.shape == (240, 480, 3)  # two rows of three panels
    np.testing.assert_array_equal(panels[:120, :160, ::-1], image(K))
    assert not (tmp_path / "out" / "overlay.mp4").exists()
    assert thfm(video, "--out", tmp_path / "out", "--still", tmp_path / "walk.odd") == 2


def test_a_video_is_not_overwritten_by_its_own_overlay(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)] * 3).rename(tmp_path / "overlay.mp4")
    before = video.read_bytes()
    assert thfm(video, "--out", tmp_path, "--overlay") == 2
    assert "would be overwritten" in caplog.text and video.read_bytes() == before


def test_in_a_time_lapse_video_people_keep_their_ids(tmp_path: Path, thfm: Thfm) -> None:
    video = write_video(tmp_path / "lapse.avi", [image(K)] * 5, fps=1.0)
    assert thfm(video, "--out", tmp_path, "--fx", 150) == 0
    assert len(set(np.load(tmp_path / "perception.npz")["ids"].ravel())) == 1


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    video = write_video(tmp_path / "walk.avi", [image(K)])
    (tmp_path / "file").touch()
    assert thfm(video, "--out", tmp_path / "file" / "out") == 2
    assert "Not a directory" in caplog.text and "Traceback" not in caplog.text
