# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Damaged messages of foxglove_msgs/CompressedVideo."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_films import packets_of, write_film

from thfm_ros.bags.compressed_video import CompressedVideoDecoder
from thfm_ros.camera.bad_input import BadInputError


@pytest.fixture
def messages(tmp_path: Path) -> list[bytes]:
    """Twelve frames of H.264, two of them key frames."""
    noise = np.random.default_rng(0).integers(0, 100, (48, 64, 3), np.uint8)
    frames = [np.asarray(noise + 10 * number, np.uint8) for number in range(12)]
    options = {"g": "6", "bf": "0"}
    return packets_of(write_film(tmp_path / "f.h264", frames, options=options, container="h264"))


def decoded(messages: list[bytes]) -> dict[int, np.ndarray]:
    """The frames of the messages that are not refused."""
    decoder: CompressedVideoDecoder[int] = CompressedVideoDecoder()
    frames: dict[int, np.ndarray] = {}
    for number, data in enumerate(messages):
        try:
            frames |= dict(decoder.decode(SimpleNamespace(format="h264", data=data), number))
        except BadInputError as error:
            assert error.cause == "data"
    return frames


def half_zero(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


@pytest.mark.fault("file", "damaged messages of CompressedVideo")
def test_a_damaged_frame_of_compressed_video_is_refused(messages: list[bytes]) -> None:
    whole = decoded(messages)
    assert list(whole) == list(range(12))
    damaged = decoded([*messages[:6], half_zero(messages[6]), *messages[7:]])
    assert 6 not in damaged and set(range(6)) <= set(damaged)
    assert all(np.array_equal(damaged[number], whole[number]) for number in range(6))


def test_compressed_video_begins_with_its_first_whole_key_frame(messages: list[bytes]) -> None:
    """What refers to a damaged key frame would be grey for the most part."""
    whole = decoded(messages)
    frames = decoded([half_zero(messages[0]), *messages[1:]])
    assert list(frames) == list(range(6, 12))
    assert all(np.array_equal(frames[number], whole[number]) for number in frames)
