# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Reading of bags: every storage and compression gives the same messages, damage is one error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated_bytes import CHANGES, changed, refused_or
from property_tests import fuzz
from small_bags import (
    MCAP,
    SQLITE,
    START_NS,
    Message,
    a_camera_info,
    images_of,
    write_bag,
    write_ros1_bag,
)

from thfm_ros.bags.bag import Bag
from thfm_ros.bags.camera_stream import CameraStream
from thfm_ros.bags.opening import BagError, is_bag

FRAMES = [np.full((6, 8, 3), 20 * number, np.uint8) for number in range(4)]
TOPIC = "/camera/image_raw"


def a_recording(*, ros1: bool = False) -> list[Message]:
    info = a_camera_info(8, 6, 10.0, ros1=ros1)
    return [("/camera/camera_info", START_NS, info), *images_of(FRAMES, ros1=ros1)]


def mcap_file(folder: Path) -> Path:
    (path,) = write_bag(folder, a_recording()).glob("*.mcap")
    return path


def db3_file(folder: Path) -> Path:
    (path,) = write_bag(folder, a_recording(), SQLITE).glob("*.db3")
    return path


def folder_without_metadata(folder: Path) -> Path:
    (write_bag(folder, a_recording()) / "metadata.yaml").unlink()
    return folder


FORMS: dict[str, Callable[[Path], Path]] = {
    "mcap": lambda path: write_bag(path, a_recording(), MCAP),
    "mcap, chunks by zstd": lambda path: write_bag(path, a_recording(), MCAP, "STORAGE"),
    "mcap, messages by zstd": lambda path: write_bag(path, a_recording(), MCAP, "MESSAGE"),
    "mcap, file by zstd": lambda path: write_bag(path, a_recording(), MCAP, "FILE"),
    "db3": lambda path: write_bag(path, a_recording(), SQLITE),
    "db3, messages by zstd": lambda path: write_bag(path, a_recording(), SQLITE, "MESSAGE"),
    "db3, file by zstd": lambda path: write_bag(path, a_recording(), SQLITE, "FILE"),
    "ROS 1": lambda path: write_ros1_bag(path.with_suffix(".bag"), a_recording(ros1=True)),
    "a bare .mcap": mcap_file,
    "a bare .db3": db3_file,
    "one .mcap without metadata.yaml": folder_without_metadata,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_bag_gives_the_same_images(tmp_path: Path, form: str) -> None:
    path = FORMS[form](tmp_path / "bag")
    assert is_bag(path)
    with Bag(path) as bag:
        assert bag.image_topics == [TOPIC] and bag.camera_info_topics == ["/camera/camera_info"]
        images = list(CameraStream(bag, "").images())
    assert [int(image.rgb[0, 0, 0]) for image in images] == [0, 20, 40, 60]
    assert [image.stamp_ns - START_NS for image in images] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert [image.received_ns - image.stamp_ns for image in images] == [5_000_000] * 4
    assert {image.frame_id for image in images} == {"camera"}
    assert all(image.intrinsics and image.intrinsics.fx == 10 for image in images)
    assert images[0].intrinsics and images[0].intrinsics.cx == 4  # pixels begin at their corner


@pytest.mark.parametrize("ros1", [False, True])
def test_stored_messages_are_the_same_cdr_from_both_kinds_of_bags(
    tmp_path: Path, ros1: bool
) -> None:
    form = "ROS 1" if ros1 else "mcap"
    with Bag(FORMS[form](tmp_path / "bag")) as bag, Bag(FORMS["db3"](tmp_path / "db3")) as other:
        assert list(bag.raw_messages([TOPIC])) == list(other.raw_messages([TOPIC]))


def an_empty_db3(folder: Path) -> Path:
    db3_file(folder).write_bytes(b"")
    return folder


def a_truncated_mcap(folder: Path) -> Path:
    path = mcap_file(folder)
    path.write_bytes(path.read_bytes()[:-40])
    return folder


def a_truncated_bare_mcap(folder: Path) -> Path:
    a_truncated_mcap(folder)
    return next(folder.glob("*.mcap"))


def an_empty_mcap(folder: Path) -> Path:
    path = mcap_file(folder)
    path.write_bytes(b"")
    return path


def a_truncated_bag(folder: Path) -> Path:
    path = FORMS["ROS 1"](folder)
    path.write_bytes(path.read_bytes()[:100])
    return path


def two_files_without_metadata(folder: Path) -> Path:
    folder_without_metadata(folder)
    (folder / "second.mcap").write_bytes(b"")
    return folder


def several_bags(folder: Path) -> Path:
    mcap_file(folder / "one")
    mcap_file(folder / "two").rename(folder / "bare.mcap")
    return folder


def a_compressed_file(folder: Path) -> Path:
    write_bag(folder, a_recording(), MCAP, "FILE")
    return next(folder.glob("*.zstd"))


def a_missing_file(folder: Path) -> Path:
    mcap_file(folder).unlink()
    return folder


DAMAGES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zero bytes of db3": (an_empty_db3, "ros2 bag reindex"),
    "truncated mcap": (a_truncated_mcap, "mcap recover"),
    "truncated bare mcap": (a_truncated_bare_mcap, "mcap recover bag.mcap"),
    "zero bytes of mcap": (an_empty_mcap, "empty (0 bytes)"),
    "truncated ROS 1": (a_truncated_bag, "rosbag reindex"),
    "no metadata": (two_files_without_metadata, "ros2 bag reindex"),
    "several bags in a folder": (several_bags, "bare.mcap, one"),
    "several bags, what to do": (several_bags, "thfm archive bag --out"),
    "only a compressed file": (a_compressed_file, "zstd -d"),
    "a file is missing": (a_missing_file, "missing"),
    "no such path": (lambda path: path / "none.mcap", "There is no"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bag_is_one_error_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    make, cure = DAMAGES[damage]
    path = make(tmp_path / "bag")
    with pytest.raises(BagError) as caught:
        Bag(path)
    assert cure in str(caught.value) and "bag" in str(caught.value)


def test_a_folder_of_bags_is_no_folder_of_images_unless_it_has_images(tmp_path: Path) -> None:
    mcap_file(tmp_path / "bags" / "one")
    assert is_bag(tmp_path / "bags")  # and cannot be opened as one, which is said
    (tmp_path / "bags" / "photo.jpg").touch()
    assert not is_bag(tmp_path / "bags")


def test_the_topics_to_choose_from_are_listed(tmp_path: Path) -> None:
    recording = [*a_recording(), *images_of(FRAMES[:2], "/rear/image_raw")]
    with Bag(write_bag(tmp_path / "bag", recording)) as bag:
        assert bag.image_topic("/rear/image_raw") == "/rear/image_raw"
        for wanted, text in (("", "--topic"), ("/none", "no topic /none")):
            with pytest.raises(BagError) as caught:
                bag.image_topic(wanted)
            assert text in str(caught.value)
            assert "/camera/image_raw (Image, 4 messages)" in str(caught.value)
            assert "/rear/image_raw (Image, 2 messages)" in str(caught.value)
        with pytest.raises(BagError, match="CameraInfo, no images"):
            bag.image_topic("/camera/camera_info")
    none = write_bag(tmp_path / "none", a_recording()[:1])
    with Bag(none) as bag, pytest.raises(BagError, match=r"holds no images.*camera_info"):
        bag.image_topic("")


def test_an_unusual_definition_of_another_topic_does_not_matter(tmp_path: Path) -> None:
    path = mcap_file(tmp_path / "bag")
    definition = b"builtin_interfaces/Time stamp"
    data = path.read_bytes()
    assert definition in data
    path.write_bytes(data.replace(definition, b"builtin_interfaces/Nope stamp"))
    with Bag(path) as bag:
        assert len(list(CameraStream(bag, "").images())) == 4


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A good file of each suffix."""
    folder = tmp_path_factory.mktemp("good")
    makers = {".mcap": mcap_file, ".db3": db3_file, ".bag": FORMS["ROS 1"]}
    return {suffix: make(folder / suffix[1:]).read_bytes() for suffix, make in makers.items()}


@fuzz(60)
@given(changes=CHANGES, suffix=st.sampled_from([".mcap", ".db3", ".bag"]))
def test_damaged_bytes_give_images_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory,
    good_files: dict[str, bytes],
    changes: list[tuple[str, int, bytes]],
    suffix: str,
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / f"bag{suffix}"
    path.write_bytes(changed(good_files[suffix], changes))

    def read() -> int:
        with Bag(path) as bag:
            return len(list(CameraStream(bag, TOPIC).images()))

    assert (refused_or(read, BagError) or 0) <= 8
