"""Whole frames and real pictures through the real pipeline, with an engine that knows the truth."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, picture, pixels_of

from thfm_ros import cli, pipeline
from thfm_ros.config import Config
from thfm_ros.evaluation import lines
from thfm_ros.evaluation.frames import held_out_clips, judged_clips
from thfm_ros.evaluation.people import Judged, match, relief_of
from thfm_ros.evaluation.people import Person as Truth
from thfm_ros.evaluation.whole import scores_of
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import Joint
from thfm_ros.synth.dataset import write_shard

K = camera(320, 240, 250.0)
LEFT, RIGHT = Person(-0.8, 0.1, 3), Person(0.7, 0.0, 3.5)


def rectangle(person: Person) -> tuple[slice, slice]:
    x0, y0, x1, y1 = np.round(box_of(person, K)).astype(int)
    return slice(max(y0, 0), y1), slice(max(x0, 0), x1)


def write_frames(folder: Path, people: list[Person], frames: int = 3) -> None:
    """One clip of a still scene."""
    folder.mkdir(parents=True)
    shape = (K.height, K.width)
    instances, depth = np.zeros(shape, np.uint8), np.zeros(shape, np.float16)
    joints = np.full((4, len(Joint), 3), np.nan, np.float32)
    pixels = np.full((4, len(Joint), 2), np.nan, np.float32)
    for number, person in enumerate(people):
        instances[rectangle(person)], depth[rectangle(person)] = number + 1, person.z
        joints[number] = person.joints_m()
        pixels[number] = pixels_of(person.joints_m(), K)
    visibility = np.where(np.isfinite(pixels).all(-1), 2, 0).astype(np.uint8)
    one = {
        "rgb": picture(K), "instances": instances, "depth_m": depth, "keypoints2d": pixels,
        "keypoints3d": joints, "visibility": visibility,
        "intrinsics": np.array([K.fx, K.fy, K.cx, K.cy], np.float32),
    }  # fmt: skip
    arrays = {name: np.stack([value] * frames) for name, value in one.items()}
    arrays["frame_index"] = np.arange(frames, dtype=np.int16)
    write_shard(folder / "shard.npz", arrays, {}, store="plain")


def judged(folder: Path, there: list[Person], seen: list[Person]) -> list[Judged]:
    write_frames(folder, there)
    engine = FakeEngine(K, lambda: seen)
    return judged_clips(PerceptionPipeline(engine, Config()), held_out_clips(folder), 9)


def test_a_perfect_engine_gets_everything_right(tmp_path: Path) -> None:
    verdicts = judged(tmp_path / "frames", [LEFT, RIGHT], [LEFT, RIGHT])
    assert [len(verdict.hits) for verdict in verdicts] == [2, 2, 2]
    scores = scores_of(verdicts)
    for key in ("right_number", "recall", "precision", "pck10", "pck10_all", "oks_ap50"):
        assert scores[key] == pytest.approx(1.0), key
    assert scores["mask_iou"] > 0.9 and scores["depth_near"] == 1.0
    assert scores["root_z"] < 0.02 and scores["depth_metric_abs_rel"] < 0.02
    assert scores["followed"] == 4 and scores["switches"] == 0
    assert scores["swapped_pairs"] == 0
    assert scores["right_number_one"] == 0.0
    assert "| recall of people, IoU >= 0.5 | 1.000 |" in lines.whole_tables(scores, lines.FRAMES)


def test_who_is_overlooked_costs_recall_and_who_is_invented_precision(tmp_path: Path) -> None:
    blind = scores_of(judged(tmp_path / "a", [LEFT, RIGHT], [LEFT]))
    assert (blind["recall"], blind["precision"], blind["right_number"]) == (0.5, 1.0, 0.0)
    assert blind["pck10"] == 1.0 and blind["pck10_all"] == 0.5
    dreaming = scores_of(judged(tmp_path / "b", [LEFT], [LEFT, RIGHT]))
    assert (dreaming["recall"], dreaming["precision"]) == (1.0, 0.5)


def test_somebody_found_in_an_empty_room_is_counted(tmp_path: Path) -> None:
    scores = scores_of(judged(tmp_path / "frames", [], [LEFT]))
    assert scores["false_per_empty"] == 1.0 and scores["empty"] == 3
    assert np.isnan(scores["recall"]) and np.isnan(scores["mask_iou"])
    assert "not measured" in lines.whole_tables(scores, lines.FRAMES)


def truth(box: list[float], counts: bool = True) -> Truth:
    joints = np.zeros((len(Joint), 2))
    return Truth(1, np.array(box, float), 100.0, joints, np.zeros(len(Joint), bool), counts)


def test_each_box_is_one_persons_and_a_crowd_excuses_what_lies_on_it() -> None:
    people = [truth([0, 0, 10, 20]), truth([100, 0, 200, 100], counts=False)]
    boxes = [[1, 0, 11, 20], [0, 0, 10, 19], [120, 20, 130, 40], [300, 0, 310, 20]]
    pairs, wrong = match(people, [np.array(box, float) for box in boxes])
    assert pairs == ((0, 1),)
    assert wrong == (0, 3)  # a second box on the same person is wrong too


def test_depth_that_is_off_by_one_factor_is_right_once_aligned() -> None:
    depth = np.linspace(2, 3, 100)
    relief = relief_of(1.3 * depth, depth, metric=True)
    assert relief is not None
    assert relief.abs_rel == pytest.approx(0, abs=1e-9) and relief.near == 1.0
    assert relief.metric_abs_rel == pytest.approx(0.3)
    # A flat person at 2.5: mean |2.5 - z| / z over 2..3.
    assert relief.flat_abs_rel == pytest.approx(float((np.abs(2.5 - depth) / depth).mean()))
    assert relief_of(depth[:20], depth[:20], metric=True) is None


# Real pictures


Evaluate = Callable[..., int]


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """`thfm evaluate` with an engine that sees LEFT and RIGHT in every picture."""

    def load(config: Config) -> PerceptionPipeline:
        return PerceptionPipeline(FakeEngine(K, lambda: [LEFT, RIGHT]), config)

    monkeypatch.setattr(pipeline, "load_pipeline", load)
    return lambda *words: cli.main(["evaluate", *map(str, words)])


def annotation(number: int, person: Person) -> dict[str, Any]:
    joints = pixels_of(person.joints_m(), K)[:17]
    x0, y0, x1, y1 = (float(value) for value in box_of(person, K))
    return {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "keypoints": np.column_stack([joints, np.full(17, 2)]).ravel().tolist(),
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
    }


def runs(person: Person) -> dict[str, Any]:
    """The outline as uncompressed runs, counted column by column."""
    mask = np.zeros((K.height, K.width), bool)
    mask[rectangle(person)] = True
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": [K.height, K.width], "counts": counts}


def write_pictures(folder: Path, *people: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / "a.png"), picture(K)[..., ::-1])
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": list(people)}
    (folder / "people.json").write_text(json.dumps(content))
    return content


def test_a_folder_of_pictures_is_measured_and_written_into_the_page(
    tmp_path: Path, evaluated: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, page = tmp_path / "real", tmp_path / "page.md"
    write_pictures(
        folder, annotation(1, LEFT), annotation(2, RIGHT) | {"segmentation": runs(RIGHT)}
    )
    page.write_text("<!-- pictures: begin -->\n<!-- pictures: end -->\n")
    assert evaluated("--pictures", folder, "--page", page) == 0
    printed, written = capsys.readouterr().out, page.read_text()
    for line in ("| recall of people, IoU >= 0.5 | 1.000 |", "| OKS-AP at 0.5 | 1.000 |"):
        assert line in printed and line in written
    assert "1 pictures, 2 people, 0 pictures without anybody, 1 with every outline" in written
    assert "SHA-256" in written and "`thfm evaluate --pictures real" in written
    assert str(tmp_path) not in written
    iou = float(written.partition("| mask IoU of the whole picture | ")[2][:5])
    assert iou > 0.9


def test_without_outlines_the_mask_is_not_measured(
    tmp_path: Path, evaluated: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = annotation(1, LEFT)
    del bare["segmentation"]
    write_pictures(tmp_path, bare, annotation(2, RIGHT))
    assert evaluated("--pictures", tmp_path) == 0
    assert "| mask IoU of the whole picture | not measured |" in capsys.readouterr().out


def test_pictures_of_one_video_are_followed(
    tmp_path: Path, evaluated: Evaluate, capsys: pytest.CaptureFixture[str]
) -> None:
    content = write_pictures(tmp_path, annotation(1, LEFT), annotation(2, RIGHT))
    assert cv2.imwrite(str(tmp_path / "b.png"), picture(K)[..., ::-1])
    content["images"].append({"id": 2, "file_name": "b.png"})
    content["annotations"] += [each | {"image_id": 2} for each in content["annotations"]]
    (tmp_path / "people.json").write_text(json.dumps(content))
    assert evaluated("--pictures", tmp_path, "--fps", 25) == 0
    assert "2 pictures, 4 people" in capsys.readouterr().out
    assert evaluated("--pictures", tmp_path, "--fps", 0) == 2


def broken(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = write_pictures(folder, annotation(1, LEFT))
        change(content)
        (folder / "people.json").write_text(json.dumps(content))

    return write


def without_file(folder: Path) -> None:
    write_pictures(folder)
    (folder / "people.json").unlink()


def cut_off(folder: Path) -> None:
    write_pictures(folder)
    (folder / "people.json").write_text('{"images": [')


def two_files(folder: Path) -> None:
    write_pictures(folder)
    (folder / "more.json").write_text("{}")


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "no file": (without_file, "one annotation file"),
    "two files": (two_files, "more.json, people.json"),
    "no JSON": (cut_off, "no readable JSON"),
    "no list": (broken(lambda c: c.pop("images")), "no list images"),
    "no images": (broken(lambda c: c["images"].clear()), "lists no images"),
    "no picture": (broken(lambda c: c["images"][0].update(file_name="b.png")), "b.png"),
    "no file name": (broken(lambda c: c["images"][0].pop("file_name")), "lacks id or file_name"),
    "lost": (broken(lambda c: c["annotations"][0].update(image_id=7)), "unknown images: 7"),
    "no image id": (broken(lambda c: c["annotations"][0].pop("image_id")), "no image_id"),
    "short": (broken(lambda c: c["annotations"][0]["keypoints"].pop()), "51 numbers"),
    "box": (broken(lambda c: c["annotations"][0].update(bbox=[1, 2])), "x, y, width, height"),
    "nothing": (
        broken(lambda c: [c["annotations"][0].pop(key) for key in ("bbox", "keypoints")]),
        "neither bbox nor",
    ),
    "polygon": (
        broken(lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]])), "3 points"
    ),
    "compressed": (
        broken(lambda c: c["annotations"][0].update(segmentation={"size": [1, 1], "counts": "x"})),
        "compressed RLE",
    ),
    "runs": (
        broken(lambda c: c["annotations"][0].update(segmentation={"size": [1, 1], "counts": [1]})),
        "240 rows and 320 columns",
    ),
    "category": (broken(lambda c: c.update(categories=[{"id": 1, "name": "dog"}])), "only: dog"),
    "order": (
        broken(lambda c: c.update(categories=[{"id": 1, "name": "person", "keypoints": ["a"]}])),
        "COCO's order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_with_an_annotation_file_is_said(
    name: str, tmp_path: Path, evaluated: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, complaint = SPOILT[name]
    spoil(tmp_path)
    assert evaluated("--pictures", tmp_path) == 2
    assert complaint in caplog.text


def test_a_missing_folder_is_named(
    tmp_path: Path, evaluated: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    assert evaluated("--pictures", tmp_path / "none") == 2
    assert evaluated("--pictures", tmp_path, "--annotations", tmp_path / "none.json") == 2
    assert evaluated("--data", tmp_path, "--crops", 0, "--clips", 0) == 2
    assert "no folder" in caplog.text and "no annotation file" in caplog.text
    assert "no held-out whole frames" in caplog.text
