# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The log of components' states: changes once, and not in floods."""

import pytest
from settable_time import Time

from thfm_ros.ros.component_status import Level
from thfm_ros.ros.diagnostics import REPEAT_S, StateLogger


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def state_logger(lines: list[str], time: Time) -> StateLogger:
    return StateLogger(lambda level, text: lines.append(f"{level.name} {text}"), clock=time)


def test_a_state_is_logged_once_when_it_changes(
    state_logger: StateLogger, lines: list[str], time: Time
) -> None:
    for _ in range(100):
        state_logger.update("input", Level.ERROR, "refused step", "too small")
        time.now_s += 1
    state_logger.update("input", Level.OK, "good", "30 Hz")
    state_logger.update("input", Level.OK, "good", "29 Hz")
    assert lines == ["ERROR input: too small", "OK input: 30 Hz"]


def test_a_change_between_ok_states_is_not_logged(
    state_logger: StateLogger, lines: list[str]
) -> None:
    state_logger.update("input", Level.OK, "waiting", "waiting")
    state_logger.update("input", Level.OK, "good", "30 Hz")
    assert lines == []


def test_an_alternating_state_is_logged_at_most_every_ten_seconds(
    state_logger: StateLogger, lines: list[str], time: Time
) -> None:
    for _ in range(1000):
        state_logger.update("input", Level.ERROR, "refused", "bad")
        state_logger.update("input", Level.OK, "good", "fine")
        time.now_s += 0.03
    assert lines.count("ERROR input: bad") <= 30 / REPEAT_S + 1


def test_components_are_logged_independently(state_logger: StateLogger, lines: list[str]) -> None:
    state_logger.update("input", Level.ERROR, "x", "one")
    state_logger.update("engine", Level.ERROR, "x", "two")
    assert len(lines) == 2


def test_old_log_times_are_discarded(
    state_logger: StateLogger, lines: list[str], time: Time
) -> None:
    for number in range(500):
        state_logger.update("engine", Level.ERROR, f"failing: {number}", f"{number}")
        time.now_s += 1
    assert len(lines) == 500
    assert len(vars(state_logger)["_logged_at"]) <= REPEAT_S + 1
