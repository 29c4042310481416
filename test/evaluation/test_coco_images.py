# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm evaluate --images`: real images, annotated in COCO format."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, image, pixels_of

from thfm_ros import loading
from thfm_ros.commands.main import main
from thfm_ros.config import Config
from thfm_ros.media.images import read_image
from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.pipeline import PerceptionPipeline

K = camera(320, 240, 250.0)
LEFT, RIGHT = Person(-0.8, 0.1, 3), Person(0.7, 0.0, 3.5)
Evaluate = Callable[..., int]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """`thfm evaluate` with an engine that detects LEFT and RIGHT in every image."""

    def load(config: Config) -> PerceptionPipeline:
        return PerceptionPipeline(FakeEngine(K, lambda: [LEFT, RIGHT]), config)

    monkeypatch.setattr(loading, "load_pipeline", load)
    return lambda *words: main(["evaluate", *map(str, words)])


def annotation(number: int, person: Person) -> dict[str, Any]:
    keypoints = pixels_of(person.joints_m(), K)[:17]
    x0, y0, x1, y1 = (float(value) for value in box_of(person, K))
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "keypoints": np.column_stack([keypoints, np.full(17, 2)]).ravel().tolist(),
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
    }


def run_lengths(person: Person) -> dict[str, Any]:
    """The person's mask as uncompressed run-length encoding, column by column."""
    mask = np.zeros((K.height, K.width), bool)
    x0, y0, x1, y1 = np.round(box_of(person, K)).astype(int)
    mask[max(y0, 0) : y1, max(x0, 0) : x1] = True
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": [K.height, K.width], "counts": counts}


def write_images(folder: Path, *people: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / "a.png"), image(K)[..., ::-1])
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": list(people)}
    (folder / "people.json").write_text(json.dumps(content))
    return content


def test_the_tables_of_a_folder_are_printed_and_written_into_the_page(
    tmp_path: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, page = tmp_path / "real", tmp_path / "page.md"
    write_images(
        folder, annotation(1, LEFT), annotation(2, RIGHT) | {"segmentation": run_lengths(RIGHT)}
    )
    page.write_text("<!-- images of real: begin -->\n<!-- images of real: end -->\n")
    assert evaluate("--images", folder, "--page", page) == 0
    printed, written = capsys.readouterr().out, page.read_text()
    for line in ("| recall of people, IoU >= 0.5 | 1.000 |", "| OKS-AP at 0.5 | 1.000 |"):
        assert line in printed and line in written
    assert "1 images, 2 people, 0 negative images, 1 with the masks of all people" in written
    assert "SHA-256" in written and "`thfm evaluate --images real" in written
    assert str(tmp_path) not in written
    iou = float(written.partition("| mask IoU of the whole image | ")[2][:5])
    assert iou > 0.9


def test_without_masks_the_mask_iou_is_not_measured(
    tmp_path: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    without_mask = annotation(1, LEFT)
    del without_mask["segmentation"]
    write_images(tmp_path, without_mask, annotation(2, RIGHT))
    assert evaluate("--images", tmp_path) == 0
    assert "| mask IoU of the whole image | not measured |" in capsys.readouterr().out


def test_images_of_one_video_are_one_clip(
    tmp_path: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write_images(tmp_path, annotation(1, LEFT), annotation(2, RIGHT))
    assert cv2.imwrite(str(tmp_path / "b.png"), image(K)[..., ::-1])
    content["images"].append({"id": 2, "file_name": "b.png"})
    content["annotations"] += [each | {"image_id": 2} for each in content["annotations"]]
    (tmp_path / "people.json").write_text(json.dumps(content))
    assert evaluate("--images", tmp_path, "--fps", 25) == 0
    assert "2 images, 4 people" in capsys.readouterr().out
    assert evaluate("--images", tmp_path, "--fps", 0) == 2


def test_a_video_becomes_images_named_by_their_frames(tmp_path: Path, root: Path) -> None:
    video, script = tmp_path / "a.mp4", root / "examples" / "video_images.py"
    with VideoWriter(video, 10.0) as writer:
        for grey in (0, 60, 120, 180, 240):
            writer.write(np.full((48, 96, 3), grey, np.uint8))

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(script), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(video, tmp_path / "out", "--every", 2, "--side", 64)
    assert done.returncode == 0 and "3 images" in done.stdout, done.stderr
    for number, grey in ((0, 0), (2, 120), (4, 240)):
        rgb = read_image(tmp_path / "out" / f"{number:05d}.png")
        assert rgb is not None and rgb.shape == (32, 64, 3)
        assert abs(float(rgb.mean()) - grey) < 8
    missing = run(tmp_path / "none.mp4", tmp_path / "out")
    assert missing.returncode == 2 and "There is no file" in missing.stderr


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = write_images(folder, annotation(1, LEFT))
        change(content)
        (folder / "people.json").write_text(json.dumps(content))

    return write


def without_file(folder: Path) -> None:
    write_images(folder)
    (folder / "people.json").unlink()


def truncated(folder: Path) -> None:
    write_images(folder)
    (folder / "people.json").write_text('{"images": [')


def two_files(folder: Path) -> None:
    write_images(folder)
    (folder / "more.json").write_text("{}")


INVALID: dict[str, tuple[Callable[[Path], None], str]] = {
    "no file": (without_file, "one annotation file"),
    "two files": (two_files, "more.json, people.json"),
    "no JSON": (truncated, "no readable JSON"),
    "no list": (changed(lambda c: c.pop("images")), "no list images"),
    "no images": (changed(lambda c: c["images"].clear()), "lists no images"),
    "no image": (changed(lambda c: c["images"][0].update(file_name="b.png")), "b.png"),
    "no file name": (changed(lambda c: c["images"][0].pop("file_name")), "lacks id or file_name"),
    "unknown image": (changed(lambda c: c["annotations"][0].update(image_id=7)), "images: 7"),
    "no image id": (changed(lambda c: c["annotations"][0].pop("image_id")), "no image_id"),
    "too few keypoints": (changed(lambda c: c["annotations"][0]["keypoints"].pop()), "51 numbers"),
    "box": (changed(lambda c: c["annotations"][0].update(bbox=[1, 2])), "x, y, width, height"),
    "neither box nor keypoints": (
        changed(lambda c: [c["annotations"][0].pop(key) for key in ("bbox", "keypoints")]),
        "neither bbox nor",
    ),
    "polygon": (
        changed(lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]])), "3 points"
    ),
    "compressed": (
        changed(lambda c: c["annotations"][0].update(segmentation={"size": [1, 1], "counts": "x"})),
        "compressed RLE",
    ),
    "run lengths": (
        changed(lambda c: c["annotations"][0].update(segmentation={"size": [1, 1], "counts": [1]})),
        "240 rows and 320 columns",
    ),
    "category": (changed(lambda c: c.update(categories=[{"id": 1, "name": "dog"}])), "only: dog"),
    "order": (
        changed(lambda c: c.update(categories=[{"id": 1, "name": "person", "keypoints": ["a"]}])),
        "COCO's order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_annotation_file_is_refused_with_the_reason(
    name: str, tmp_path: Path, evaluate: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    make_invalid, message = INVALID[name]
    make_invalid(tmp_path)
    assert evaluate("--images", tmp_path) == 2
    assert message in caplog.text


def test_the_former_spelling_of_images_is_still_accepted(
    tmp_path: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, annotation(1, LEFT))
    assert evaluate("--pictures", tmp_path) == 0
    assert f"`thfm evaluate --images {tmp_path.name}`" in capsys.readouterr().out


def test_a_missing_folder_or_file_is_named(
    tmp_path: Path, evaluate: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluate("--images", tmp_path / "none") == 2
    assert evaluate("--images", tmp_path, "--annotations", tmp_path / "none.json") == 2
    assert evaluate("--data", tmp_path, "--crops", 0, "--clips", 0) == 2
    assert "no folder" in caplog.text and "no annotation file" in caplog.text
    assert "no whole frames" in caplog.text and "--split val" in caplog.text
    assert evaluate("--data", tmp_path) == 2
    assert "no held-out crops" in caplog.text


def test_a_detected_crowd_is_ignored(
    tmp_path: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = annotation(2, RIGHT) | {"iscrowd": 1, "segmentation": run_lengths(RIGHT)}
    write_images(tmp_path, annotation(1, LEFT), crowd)
    assert evaluate("--images", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "1 images, 1 people" in printed
    assert "| precision of people | 1.000 |" in printed
    assert "| images with the correct number of people | 1.000 |" in printed
    iou = float(printed.partition("| mask IoU of the whole image | ")[2][:5])
    assert iou > 0.9  # the crowd's pixels are in the predicted mask, and ignored
