# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""When the next image of a recording is due."""

import numpy as np
import pytest

from thfm_ros.ros.replay.pacing import Pacing


@pytest.mark.parametrize("delays_s", [[0, 0, 0, 0], [0, 0.3, 0, 0], [0.001] * 4])
def test_gaps_of_a_recording_become_longer_under_load_but_never_shorter(
    delays_s: list[float],
) -> None:
    """By a clock of the test: images are published when due, or later by a delay."""
    times_ms = [0, 97, 199, 1306, 1413]
    pacing, now_s, published = Pacing(10.0, own_times=True), 100.0, [100.0]
    pacing.published(0, now_s)
    for time_ms, delay_s in zip(times_ms[1:], delays_s, strict=True):
        now_s += pacing.wait_s(time_ms * 1_000_000, now_s) + delay_s
        pacing.published(time_ms * 1_000_000, now_s)
        published.append(now_s)
    gaps = np.diff(published)
    assert (gaps >= np.diff(times_ms) / 1000 - 0.002).all()
    assert published[-1] - 100 == pytest.approx(1.413 + max(delays_s), abs=0.002)


def test_a_given_rate_replaces_the_times_and_a_repetition_follows_after_a_period() -> None:
    fixed = Pacing(20.0, own_times=False)
    fixed.published(0, 5.0)
    assert fixed.wait_s(3_000_000_000, 5.0) == pytest.approx(0.05)
    own = Pacing(20.0, own_times=True)
    own.published(3_000_000_000, 5.0)
    own.begin_again()
    assert own.wait_s(0, 5.01) == pytest.approx(0.04)
