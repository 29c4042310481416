# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Films that were cut or damaged where the decoder itself shows what it does not have."""

import logging
from pathlib import Path

import numpy as np
import pytest
from tiny_films import grey_levels, packets_of, write_film, write_packets

from thfm_ros.media.errors import VideoError
from thfm_ros.media.video import Video


@pytest.mark.parametrize(("codec", "container"), [("mpeg4", "avi"), ("libx264", "mkv")])
@pytest.mark.parametrize("damage", ["key frame missing", "key frame half zero"])
@pytest.mark.fault("file", "a film that begins without its first key frame")
def test_a_film_begins_with_its_first_whole_key_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str, container: str, damage: str
) -> None:
    """MPEG-4 shows what refers to a missing key frame as grey; so does H.264 if it is damaged."""
    caplog.set_level(logging.INFO)
    noise = np.random.default_rng(0).integers(0, 100, (48, 64, 3), np.uint8)
    frames = [np.asarray(noise + 10 * number, np.uint8) for number in range(12)]
    film = write_film(tmp_path / f"f.{container}", frames, codec, options={"g": "6", "bf": "0"})
    whole = {frame.index: frame.rgb for frame in Video(film)}
    packets = packets_of(film)
    if damage == "key frame missing":
        del packets[0]
    else:
        packets[0] = packets[0][: len(packets[0]) // 2] + bytes(len(packets[0]) // 2)
    damaged = write_packets(tmp_path / f"g.{container}", packets, film)
    shown = list(Video(damaged))
    assert len(shown) == 6
    for frame, number in zip(shown, range(6, 12), strict=True):
        np.testing.assert_array_equal(frame.rgb, whole[number])
    if codec == "mpeg4":
        left_out = 5 if damage == "key frame missing" else 6
        assert f"the first {left_out} frames cannot be decoded and are left out" in caplog.text
        assert shown[0].index == left_out


def test_frames_that_refer_to_a_damaged_one_are_named_in_the_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = write_film(tmp_path / "f.avi", grey_levels(9), "mpeg4")
    packets = packets_of(film)
    packets[4] = packets[4][:1]
    assert len(list(Video(write_packets(tmp_path / "g.avi", packets, film)))) == 8
    assert "up to the next key frame, may be smeared" in caplog.text


@pytest.mark.parametrize(
    ("share", "reason"), [(0.0, r"is empty \(0 bytes\)"), (0.6, "lacks the index at its end")]
)
def test_a_film_that_is_empty_or_has_no_index_is_named_with_the_reason(
    tmp_path: Path, share: float, reason: str
) -> None:
    """What a recorder leaves that was switched off: an MP4 without its index, or nothing."""
    noise = list(np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8))
    film = write_film(tmp_path / "f.mp4", noise)
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * share)])
    with pytest.raises(VideoError, match=rf"f\.mp4.*{reason}"):
        Video(film)
