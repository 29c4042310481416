# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Files of results: what is in them, who reads them, and that they are whole or not there."""

import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perceived import CAMERA, a_body, a_perception, an_image
from small_bags import START_NS, images_of, write_bag

from thfm_ros.bags.bag import Bag
from thfm_ros.config import Config
from thfm_ros.contract import Body, Perception, PerceptionError, Task
from thfm_ros.media.video import VideoFrame
from thfm_ros.model.card import ModelCard
from thfm_ros.offline.outputs import FORMATS, Outputs, formats_from, topics_to_keep
from thfm_ros.offline.results.writer import ResultWriter
from thfm_ros.skeleton import JOINT_NAMES

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")
pytest.importorskip("mcap", reason="mcap is not installed: pip install '.[archive]'")


class StillSource:
    """What the writers ask of a source."""

    width, height, length, fps, one_clip = CAMERA.width, CAMERA.height, 3, 10.0, True


def outputs(folder: Path, card: ModelCard, keep: tuple[str, ...] = ()) -> Outputs:
    source = StillSource()
    return Outputs(folder, source, frozenset(Task), card, Config(), "a.mcap", keep)  # type: ignore[arg-type]


def three_frames() -> list[tuple[VideoFrame, Perception]]:
    """Two people, then one, then none; 100 ms apart."""
    bodies = ((a_body("aaaaa"), a_body("bbbbb", seed=1)), (a_body("aaaaa"),), ())
    found = []
    for number, people in enumerate(bodies):
        stamp = START_NS + number * 100_000_000
        perception = replace(a_perception(*people), stamp_ns=stamp)
        frame = VideoFrame(an_image(), 10 + number, stamp, "f", received_ns=stamp + 5)
        found.append((frame, perception))
    return found


def write(writers: list[ResultWriter]) -> None:
    for writer in writers:
        for frame, perception in three_frames():
            writer.add(frame, perception)
        writer.close()


@pytest.fixture(scope="module")
def card() -> ModelCard:
    from thfm_ros.engine.checkpoint import find_checkpoint

    return find_checkpoint("nano").card


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, card: ModelCard) -> Path:
    """Results of three frames, in the formats that are the same in every run."""
    path = tmp_path_factory.mktemp("results")
    write(outputs(path, card).writers(["npz", "mcap", "parquet"]))
    return path


def test_the_same_frames_give_the_same_bytes(folder: Path, tmp_path: Path, card: ModelCard) -> None:
    write(outputs(tmp_path, card).writers(["npz", "mcap", "parquet"]))
    names = {"perception.npz", "perception.mcap", "people.parquet", "frames.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == names  # nothing temporary is left
    for name in names - {"perception.npz"}:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_parquet_files_have_every_value_of_a_body_and_a_row_per_frame(folder: Path) -> None:
    from pyarrow import parquet

    people = parquet.read_table(folder / "people.parquet")
    first = people.to_pylist()[0]
    assert first["source"] == "a.mcap" and first["frame"] == 10 and first["stamp_ns"] == START_NS
    body = a_body("aaaaa")
    np.testing.assert_array_equal(np.float32(first["keypoints2d"]), body.keypoints)
    np.testing.assert_array_equal(np.float32(first["keypoints3d"]), body.positions_m)
    assert [first["x_min"], first["y_max"]] == [body.box[0], body.box[3]]
    assert first["velocity_x"] is None  # unknown
    covered = {"id", "state", "score", "box", "keypoints", "positions_m", "covariances_m2"}
    covered |= {"root_m", "root_covariance_m2", "velocity_m_s", "velocity_covariance"}
    assert covered | {"measurement_age_s"} == {field.name for field in fields(Body)}
    assert json.loads(people.schema.metadata[b"joint_names"]) == list(JOINT_NAMES)
    assert people.schema.field("keypoints2d").type.list_size == len(JOINT_NAMES)
    chunk = parquet.ParquetFile(folder / "people.parquet").metadata.row_group(0).column(0)
    assert chunk.compression == "ZSTD"
    frames = parquet.read_table(folder / "frames.parquet").to_pylist()
    assert [row["people"] for row in frames] == [2, 1, 0] and frames[0]["metric"] is True


def test_the_mcap_file_is_read_by_its_own_definitions(folder: Path) -> None:
    highlevel = pytest.importorskip("rosbags.highlevel")
    bodies, stamps = [], []
    with highlevel.AnyReader([folder / "perception.mcap"]) as reader:
        for connection, logged_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            if connection.topic == "/thfm/bodies":
                bodies.append([body.id for body in message.bodies])
                stamp = message.header.stamp
                stamps.append((stamp.sec * 10**9 + stamp.nanosec - START_NS, logged_ns - START_NS))
            if connection.topic == "/thfm/skeleton_info":
                assert connection.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
                assert message.joint_names == list(JOINT_NAMES)
    assert bodies == [["aaaaa", "bbbbb"], ["aaaaa"], []]
    assert stamps == [(0, 5), (10**8, 10**8 + 5), (2 * 10**8, 2 * 10**8 + 5)]


@pytest.mark.ros
def test_every_message_is_the_one_of_the_node(card: ModelCard) -> None:
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Header

    from thfm_ros.offline.results.message_store import message_store, serialized
    from thfm_ros.offline.results.messages import FrameMessages
    from thfm_ros.result_messages.markers import BodyMarkers
    from thfm_ros.ros.to_msg.kinds import ros_message
    from thfm_ros.ros.to_msg.labels import label_map, skeleton_info
    from thfm_ros.ros.topics import FrameResult, result_topics

    def stored(message: Any) -> bytes:
        """A message of rclpy, serialized by it, read and serialized again: padding is arbitrary."""
        package = type(message).__module__.partition(".")[0]
        kind = f"{package}/msg/{type(message).__name__}"
        content = message_store().deserialize_cdr(serialize_message(message), kind)
        return serialized(content)

    config = Config()
    threshold, confidence = config.decode.mask_threshold, config.decode.min_keypoint_confidence
    messages = FrameMessages(frozenset(Task), card, threshold, confidence)
    topics = result_topics(config, BodyMarkers(ros_message))
    left_out = {"points", "normals/color", "dense_pose/color", "overlay"}
    for calibrated in (True, False):
        perception = a_perception(a_body(), a_body("bbbbb", seed=1), calibrated=calibrated)
        header = Header(frame_id=perception.frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(perception.stamp_ns, 10**9)
        result = FrameResult(perception, an_image(), header, config)
        made = {topic.name: topic.make(result) for topic in topics if topic.name not in left_out}
        expected = {name: stored(m) for name, m in made.items() if m is not None}
        got = {name: serialized(message) for name, message in messages.of_frame(perception)}
        assert got.keys() == expected.keys()
        assert [name for name, data in got.items() if data != expected[name]] == []
    header = Header()
    header.stamp.sec = 7
    latched = {
        "skeleton_info": skeleton_info(card, header),
        "segmentation/labels": label_map(Task.SEGMENTATION, card, threshold, header),
        "parts/labels": label_map(Task.PARTS, card, threshold, header),
    }
    for name, message in messages.latched(7 * 10**9):
        assert serialized(message) == stored(latched[name])


def test_topics_of_the_bag_are_copied_as_they_are(tmp_path: Path, card: ModelCard) -> None:
    original = images_of([np.full((6, 8, 3), 7, np.uint8)] * 2, "/rear/image")
    with Bag(write_bag(tmp_path / "bag", original)) as bag:
        made = outputs(tmp_path, card, topics_to_keep(bag, ["all"]))
        from thfm_ros.offline.results.mcap import McapResults

        (writer,) = made.writers(["mcap"])
        assert isinstance(writer, McapResults)
        writer._bag = bag
        write([writer])
        before = list(bag.raw_messages(["/rear/image"]))
        with pytest.raises(PerceptionError, match="no such topic; it has /rear/image"):
            topics_to_keep(bag, ["/front"])
    with Bag(tmp_path / "perception.mcap") as copy:
        assert list(copy.raw_messages(["/rear/image"])) == before
        assert copy.topics["/rear/image"].definition


def test_a_rerun_recording_is_written(tmp_path: Path, card: ModelCard) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install '.[archive]'")
    write(outputs(tmp_path, card).writers(["rrd"]))
    data = (tmp_path / "perception.rrd").read_bytes()
    assert data[:3] == b"RRF" and b"people" in data
    assert [path.name for path in tmp_path.iterdir()] == ["perception.rrd"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_abandoned_or_empty_leaves_no_file(
    tmp_path: Path, card: ModelCard, name: str
) -> None:
    if name == "rrd":
        pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install '.[archive]'")
    (writer,) = outputs(tmp_path, card).writers([name])
    writer.add(*three_frames()[0])
    writer.abandon()
    (writer,) = outputs(tmp_path, card).writers([name])
    writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "module"), [("parquet", "pyarrow"), ("mcap", "mcap.writer"), ("rrd", "rerun")]
)
def test_a_missing_package_is_named_with_the_command(
    tmp_path: Path, card: ModelCard, name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PerceptionError, match=r"pip install 'thfm_ros\[archive\]'"):
        outputs(tmp_path, card).writers(["npz", name])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_named_with_the_known_ones() -> None:
    assert formats_from("npz, mcap") == ("npz", "mcap")
    with pytest.raises(PerceptionError, match="'csv' is no format; known are npz, mcap, parquet"):
        formats_from("npz,csv")
