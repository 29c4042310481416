"""Diagnostics that can fire: every finding goes to WARN or ERROR when it should, and back."""

from collections.abc import Callable

import pytest

from thfm_ros.ros.diagnostics import REPEAT_S, Announcer
from thfm_ros.ros.health import Finding, Health, Level, Situation

SOURCE = "Nobody publishes /image"


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def health(time: Time) -> Health:
    return Health(image_timeout_s=2.0, clock=time)


def finding(health: Health, part: str, **situation: object) -> Finding:
    known = {"image_source": SOURCE, "wanted": ("bodies",), "engine": {"runs on": "a fake"}}
    made = Situation(**{**known, **situation})  # type: ignore[arg-type]
    return next(each for each in health.findings(made) if each.part == part)


def frames(
    health: Health,
    time: Time,
    seconds: float,
    *,
    age_s: float = 0.03,
    each: Callable[[], None] | None = None,
) -> None:
    """Images at 20 Hz, each with a result unless ``each`` does something else with it."""
    for _ in range(round(seconds * 20)):
        time.now_s += 0.05
        health.received(age_s, "640x480 rgb8")
        if each is not None:
            each()
            continue
        health.accepted(began_stream=False)
        health.handed_over()
        health.result(age_s, step_ms=20.0)


def test_a_stream_in_good_order_is_ok_with_its_numbers(health: Health, time: Time) -> None:
    frames(health, time, 15.0)
    assert all(each.level is Level.OK for each in health.findings(Situation(wanted=("bodies",))))
    source = finding(health, "input")
    assert source.values["rate (Hz)"] == "20.0"
    assert "640x480 rgb8" in source.text
    latency = finding(health, "latency").values
    assert (latency["results (Hz)"], latency["latency p50 (ms)"]) == ("20.0", "30.0")
    assert latency["step p50 (ms)"] == "20.0"


def test_silence_is_first_awaited_then_a_warning_then_an_error(health: Health, time: Time) -> None:
    assert finding(health, "input").level is Level.OK
    time.now_s += 3
    assert finding(health, "input").level is Level.WARN
    assert SOURCE in finding(health, "input").text
    time.now_s += 8
    assert finding(health, "input").level is Level.ERROR
    frames(health, time, 1.0)
    assert finding(health, "input").level is Level.OK
    time.now_s += 3
    assert "any more" in finding(health, "input").text


def test_images_that_are_refused_are_an_error_with_the_refusals_text(
    health: Health, time: Time
) -> None:
    frames(health, time, 1.0, each=lambda: health.refused("encoding", "16UC1 is not accepted"))
    refused = finding(health, "input")
    assert (refused.level, refused.text) == (Level.ERROR, "16UC1 is not accepted")
    assert refused.values["dropped: bad encoding"] == "20"
    frames(health, time, 0.1)
    assert finding(health, "input").level is Level.OK


@pytest.mark.parametrize("age_s", [3600.0, -3600.0])
def test_stamps_of_another_clock_are_a_warning(health: Health, time: Time, age_s: float) -> None:
    frames(health, time, 1.0, age_s=age_s)
    assert finding(health, "input").level is Level.WARN
    assert "use_sim_time" in finding(health, "input").text
    assert finding(health, "latency").level is Level.OK  # one cause, one warning


def test_stamps_that_stand_still_are_a_warning(health: Health, time: Time) -> None:
    frames(health, time, 1.0)
    frames(health, time, 3.0, each=lambda: health.dropped("repeated stamp"))
    assert finding(health, "input").level is Level.WARN
    assert finding(health, "input").values["dropped: repeated stamp"] == "60"


def test_results_that_stay_away_are_stale_and_worse_with_time(health: Health, time: Time) -> None:
    frames(health, time, 1.0)

    def taken() -> None:
        health.accepted(began_stream=False)
        health.handed_over()

    frames(health, time, 0.5, each=taken)
    assert finding(health, "latency").level is Level.OK
    frames(health, time, 1.0, each=taken)
    assert finding(health, "latency").level is Level.WARN
    frames(health, time, 5.0, each=taken)
    assert finding(health, "latency").level is Level.ERROR
    frames(health, time, 0.1)
    assert finding(health, "latency").level is Level.OK


def test_without_subscribers_missing_results_are_nobodys_trouble(
    health: Health, time: Time
) -> None:
    def put_aside() -> None:
        health.accepted(began_stream=False)
        health.handed_over()
        health.idle()

    frames(health, time, 10.0, each=put_aside)
    idle = finding(health, "latency", wanted=())
    assert (idle.level, idle.key) == (Level.OK, "idle")


def test_late_results_are_a_warning(health: Health, time: Time) -> None:
    frames(health, time, 2.0, age_s=0.8)
    assert finding(health, "latency").level is Level.WARN


def test_a_failing_engine_is_an_error_until_the_next_result(health: Health, time: Time) -> None:
    frames(health, time, 1.0, each=lambda: health.failed("the GPU is gone"))
    assert finding(health, "engine").level is Level.ERROR
    assert "the GPU is gone" in finding(health, "engine").text
    assert finding(health, "input").values["dropped: engine failure"] == "20"
    frames(health, time, 0.1)
    assert finding(health, "engine").level is Level.OK


def test_an_engine_that_another_had_to_replace_is_a_warning_with_the_reason(health: Health) -> None:
    engine = {"runs on": "PyTorch 2.13.0, CPU (instead of tensorrt: no GPU)"}
    replaced = finding(health, "engine", engine=engine)
    assert (replaced.level, replaced.text) == (Level.WARN, engine["runs on"])


def test_an_engine_that_could_not_be_loaded_is_an_error_while_unconfigured(health: Health) -> None:
    health.engine_trouble = "broken.safetensors is truncated"
    broken = finding(health, "engine", state="unconfigured", engine={})
    assert (broken.level, broken.text) == (Level.ERROR, "broken.safetensors is truncated")


def test_a_missing_calibration_is_a_warning_once_images_come(health: Health, time: Time) -> None:
    trouble = "No CameraInfo on /camera_info"
    assert finding(health, "calibration", calibration_trouble=trouble).level is Level.OK
    frames(health, time, 0.2)
    assert finding(health, "calibration", calibration_trouble=trouble).level is Level.WARN
    assert finding(health, "calibration").text == "metric"


def test_a_stream_that_keeps_breaking_is_a_warning_with_the_reason(
    health: Health, time: Time
) -> None:
    frames(health, time, 1.0, each=lambda: health.accepted(began_stream=True))
    broken = finding(health, "window", window={"began": "size changed"})
    assert broken.level is Level.WARN
    assert "size changed" in broken.text
    frames(health, time, 20.0)
    assert finding(health, "window").level is Level.OK


def test_bodies_that_are_held_back_are_a_warning(health: Health) -> None:
    found = [finding(health, "bodies", bodies_trouble=f"no transform at {t}") for t in (1, 2)]
    assert found[0].level is Level.WARN
    assert found[0].key == found[1].key, "a text with a stamp in it is not news each second"


def test_what_is_switched_off_or_inactive_is_no_trouble(health: Health, time: Time) -> None:
    time.now_s += 60
    assert finding(health, "input", enabled=False).level is Level.OK
    assert finding(health, "input", state="inactive").level is Level.OK


def test_who_is_switched_off_with_a_clip_in_hand_does_not_hang(health: Health, time: Time) -> None:
    health.handed_over()
    time.now_s += 3600
    assert finding(health, "latency").level is Level.ERROR
    assert finding(health, "latency", enabled=False).level is Level.OK


def test_activating_again_counts_anew(health: Health, time: Time) -> None:
    frames(health, time, 1.0, each=lambda: health.refused("step", "too small"))
    health.begin()
    assert finding(health, "input").level is Level.OK
    assert "dropped: bad step" not in finding(health, "input").values


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def announcer(said: list[str], time: Time) -> Announcer:
    return Announcer(lambda level, text: said.append(f"{level.name} {text}"), clock=time)


def test_a_state_is_told_when_it_changes_and_never_twice(
    announcer: Announcer, said: list[str], time: Time
) -> None:
    for _ in range(100):
        announcer.say("input", Level.ERROR, "refused step", "too small")
        time.now_s += 1
    announcer.say("input", Level.OK, "good", "30 Hz")
    announcer.say("input", Level.OK, "good", "29 Hz")
    assert said == ["ERROR input: too small", "OK input: 30 Hz"]


def test_good_news_without_bad_before_is_not_told(announcer: Announcer, said: list[str]) -> None:
    announcer.say("input", Level.OK, "waiting", "waiting")
    announcer.say("input", Level.OK, "good", "30 Hz")
    assert said == []


def test_a_state_that_comes_and_goes_is_told_at_most_every_ten_seconds(
    announcer: Announcer, said: list[str], time: Time
) -> None:
    for _ in range(1000):
        announcer.say("input", Level.ERROR, "refused", "bad")
        announcer.say("input", Level.OK, "good", "fine")
        time.now_s += 0.03
    assert said.count("ERROR input: bad") <= 30 / REPEAT_S + 1


def test_parts_do_not_silence_each_other(announcer: Announcer, said: list[str]) -> None:
    announcer.say("input", Level.ERROR, "x", "one")
    announcer.say("engine", Level.ERROR, "x", "two")
    assert len(said) == 2


def test_what_was_said_is_not_remembered_for_ever(
    announcer: Announcer, said: list[str], time: Time
) -> None:
    for number in range(500):
        announcer.say("engine", Level.ERROR, f"failing: {number}", f"{number}")
        time.now_s += 1
    assert len(said) == 500
    assert len(vars(announcer)["_said"]) <= REPEAT_S + 1
