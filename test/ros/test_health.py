# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Component states: each becomes WARN or ERROR when it should, and OK again afterwards."""

from collections.abc import Callable

import pytest
from settable_time import Time

from thfm_ros.ros.component_status import ComponentStatus, Level, NodeSnapshot
from thfm_ros.ros.health import Health
from thfm_ros.ros.input_health import LOST
from thfm_ros.ros.silence import Silence

SOURCE = "/image has no publisher"


@pytest.fixture
def health(time: Time) -> Health:
    return Health(image_timeout_s=2.0, clock=time)


def status_of(health: Health, component: str, **changes: object) -> ComponentStatus:
    """The component's state while the node is active, with ``changes`` to its snapshot."""
    fields = {"image_source": SOURCE, "requested": ("bodies",), "engine_description": "fake engine"}
    node = NodeSnapshot(**{**fields, **changes})  # type: ignore[arg-type]
    return next(each for each in health.evaluate(node) if each.component == component)


def frames(
    health: Health,
    time: Time,
    seconds: float,
    *,
    age_s: float = 0.03,
    each: Callable[[], None] | None = None,
) -> None:
    """Receive images at 20 Hz. Each gives a result, unless ``each`` is called instead."""
    for _ in range(round(seconds * 20)):
        time.now_s += 0.05
        health.image_received(age_s, "640x480 rgb8")
        if each is not None:
            each()
            continue
        health.image_accepted(began_stream=False)
        health.clip_queued()
        health.results_published(age_s, step_ms=20.0)


def test_a_regular_stream_is_ok_and_its_values_are_reported(health: Health, time: Time) -> None:
    frames(health, time, 15.0)
    node = NodeSnapshot(requested=("bodies",))
    assert all(each.level is Level.OK for each in health.evaluate(node))
    source = status_of(health, "input")
    assert source.values["rate (Hz)"] == "20.0"
    assert "640x480 rgb8" in source.message
    latency = status_of(health, "latency").values
    assert (latency["results (Hz)"], latency["latency p50 (ms)"]) == ("20.0", "30.0")
    assert latency["step p50 (ms)"] == "20.0"


def test_missing_images_are_first_ok_then_a_warning_then_an_error(
    health: Health, time: Time
) -> None:
    assert status_of(health, "input").level is Level.OK
    time.now_s += 3
    assert status_of(health, "input").level is Level.WARN
    assert SOURCE in status_of(health, "input").message
    time.now_s += 8
    assert status_of(health, "input").level is Level.ERROR
    frames(health, time, 1.0)
    assert status_of(health, "input").level is Level.OK
    time.now_s += 3
    assert "any more" in status_of(health, "input").message


def test_rejected_images_are_an_error_with_the_reason(health: Health, time: Time) -> None:
    frames(
        health, time, 1.0, each=lambda: health.image_rejected("encoding", "16UC1 is not accepted")
    )
    rejected = status_of(health, "input")
    assert (rejected.level, rejected.message) == (Level.ERROR, "16UC1 is not accepted")
    assert rejected.values["dropped: bad encoding"] == "20"
    frames(health, time, 0.1)
    assert status_of(health, "input").level is Level.OK


@pytest.mark.parametrize("age_s", [3600.0, -3600.0])
@pytest.mark.fault("clock", "the clock of the camera's machine is another")
def test_stamps_of_another_clock_are_a_warning(health: Health, time: Time, age_s: float) -> None:
    frames(health, time, 1.0, age_s=age_s)
    assert status_of(health, "input").level is Level.WARN
    assert "use_sim_time" in status_of(health, "input").message
    assert status_of(health, "latency").level is Level.OK  # reported once, as input


def test_an_empty_frame_id_is_a_warning_until_there_is_one(health: Health) -> None:
    health.image_received(0.03, "640x480 rgb8", has_frame_id=False)
    health.image_accepted(began_stream=True)
    nameless = status_of(health, "input")
    assert (nameless.level, nameless.key) == (Level.WARN, "frame_id")
    assert "header.frame_id" in nameless.message
    health.image_received(0.03, "640x480 rgb8")
    assert status_of(health, "input").level is Level.OK


def test_repeated_stamps_are_a_warning(health: Health, time: Time) -> None:
    frames(health, time, 1.0)
    frames(health, time, 3.0, each=lambda: health.images_dropped("repeated stamp"))
    assert status_of(health, "input").level is Level.WARN
    assert status_of(health, "input").values["dropped: repeated stamp"] == "60"


def test_missing_results_are_a_warning_then_an_error(health: Health, time: Time) -> None:
    frames(health, time, 1.0)

    def queue() -> None:
        health.image_accepted(began_stream=False)
        health.clip_queued()

    frames(health, time, 0.5, each=queue)
    assert status_of(health, "latency").level is Level.OK
    frames(health, time, 1.0, each=queue)
    assert status_of(health, "latency").level is Level.WARN
    frames(health, time, 5.0, each=queue)
    assert status_of(health, "latency").level is Level.ERROR
    frames(health, time, 0.1)
    assert status_of(health, "latency").level is Level.OK


def test_without_subscribers_missing_results_are_ok(health: Health, time: Time) -> None:
    def skip() -> None:
        health.image_accepted(began_stream=False)
        health.clip_queued()
        health.clip_skipped()

    frames(health, time, 10.0, each=skip)
    idle = status_of(health, "latency", requested=())
    assert (idle.level, idle.key) == (Level.OK, "idle")


def test_late_results_are_a_warning(health: Health, time: Time) -> None:
    frames(health, time, 2.0, age_s=0.8)
    assert status_of(health, "latency").level is Level.WARN


def test_a_failing_engine_is_an_error_until_the_next_result(health: Health, time: Time) -> None:
    frames(health, time, 1.0, each=lambda: health.step_failed("the GPU is gone"))
    assert status_of(health, "engine").level is Level.ERROR
    assert "the GPU is gone" in status_of(health, "engine").message
    assert status_of(health, "input").values["dropped: engine failure"] == "20"
    frames(health, time, 0.1)
    assert status_of(health, "engine").level is Level.OK


def test_a_fallback_engine_is_a_warning_with_the_reason(health: Health) -> None:
    description = "PyTorch 2.13.0, CPU (instead of tensorrt: no GPU)"
    engine = {"engine_description": description, "engine_fallback": "no GPU"}
    fallback = status_of(health, "engine", **engine)
    assert (fallback.level, fallback.message) == (Level.WARN, description)
    assert status_of(health, "engine", engine_description=description).level is Level.OK


def test_an_engine_that_cannot_be_loaded_is_an_error(health: Health) -> None:
    health.configuration_error = "broken.safetensors is truncated"
    broken = status_of(health, "engine", state="unconfigured")
    assert (broken.level, broken.message) == (Level.ERROR, "broken.safetensors is truncated")


def test_a_missing_calibration_is_a_warning_once_images_arrive(health: Health, time: Time) -> None:
    problem = "No CameraInfo on /camera_info"
    assert status_of(health, "calibration", calibration_problem=problem).level is Level.OK
    frames(health, time, 0.2)
    assert status_of(health, "calibration", calibration_problem=problem).level is Level.WARN
    assert status_of(health, "calibration", calibration_warning="another frame").level is Level.WARN
    assert status_of(health, "calibration", calibration_note="a lens model").level is Level.OK
    assert status_of(health, "calibration").message == "metric"


def test_a_stream_that_is_often_interrupted_is_a_warning_with_the_reason(
    health: Health, time: Time
) -> None:
    frames(health, time, 1.0, each=lambda: health.image_accepted(began_stream=True))
    interrupted = status_of(health, "window", stream_start="size changed")
    assert interrupted.level is Level.WARN
    assert "size changed" in interrupted.message
    frames(health, time, 20.0)
    assert status_of(health, "window").level is Level.OK


def test_bodies_that_are_not_published_are_a_warning_with_a_constant_key(health: Health) -> None:
    problems = ("no transform at 1.0", "no transform at 2.0")
    first, second = (status_of(health, "bodies", bodies_problem=each) for each in problems)
    assert first.level is Level.WARN
    assert first.key == second.key, "otherwise each new stamp would be logged"


def test_a_disabled_or_inactive_node_is_ok(health: Health, time: Time) -> None:
    time.now_s += 60
    assert status_of(health, "input", enabled=False).level is Level.OK
    assert status_of(health, "input", state="inactive").level is Level.OK


def test_a_node_disabled_with_a_queued_clip_is_not_reported_as_stale(
    health: Health, time: Time
) -> None:
    health.clip_queued()
    time.now_s += 3600
    assert status_of(health, "latency").level is Level.ERROR
    assert status_of(health, "latency", enabled=False).level is Level.OK


def test_reset_discards_all_events(health: Health, time: Time) -> None:
    frames(health, time, 1.0, each=lambda: health.image_rejected("step", "too small"))
    health.reset()
    assert status_of(health, "input").level is Level.OK
    assert "dropped: bad step" not in status_of(health, "input").values


@pytest.fixture
def simulated() -> Time:
    """The node's clock, by simulated time."""
    return Time()


@pytest.fixture
def in_simulation(time: Time, simulated: Time) -> Health:
    return Health(image_timeout_s=2.0, clock=time, node_clock=simulated)


def test_while_simulated_time_is_paused_no_image_is_missed(
    in_simulation: Health, time: Time, simulated: Time
) -> None:
    for _ in range(20):
        simulated.now_s += 0.05
        frames(in_simulation, time, 0.05)
    time.now_s += 3600
    paused = status_of(in_simulation, "input")
    assert (paused.level, paused.key) == (Level.OK, "paused") and "paused" in paused.message
    assert in_simulation.silent_s == 0.0
    simulated.now_s += 3
    assert status_of(in_simulation, "input").level is Level.WARN
    assert in_simulation.silent_s == pytest.approx(3.0)


@pytest.mark.fault("clock", "use_sim_time without a /clock")
def test_simulated_time_that_has_not_begun_is_a_warning(
    in_simulation: Health, time: Time, simulated: Time
) -> None:
    simulated.now_s = 0.0
    in_simulation.reset()
    time.now_s += 3
    status = status_of(in_simulation, "input")
    assert status.level is Level.WARN and "/clock" in status.message


def test_when_simulated_time_goes_back_the_silence_begins_anew() -> None:
    clock = Time()
    silence = Silence(clock)
    clock.now_s += 5
    assert silence.seconds == 5
    clock.now_s = 10.0  # a bag began again
    assert silence.seconds == 0
    clock.now_s += 2
    assert silence.seconds == 2
    silence.end()
    assert silence.seconds == 0


def test_no_image_is_missed_within_the_longest_gap_of_a_stream(health: Health, time: Time) -> None:
    """A camera of 0.4 Hz with window.max_gap_s: 3, longer than image_timeout_s."""
    for _ in range(10):
        for _ in range(25):
            time.now_s += 0.1
            assert status_of(health, "input", max_gap_s=3.0).level is Level.OK
        health.image_received(0.03, "640x480 rgb8")
        health.image_accepted(began_stream=False)
    time.now_s += 3.1
    assert status_of(health, "input", max_gap_s=3.0).level is Level.WARN


def test_unusable_images_do_not_end_the_silence_of_usable_ones(health: Health, time: Time) -> None:
    frames(health, time, 1.0)
    assert health.silent_s == 0.0
    frames(health, time, 2.0, each=lambda: health.images_dropped("repeated stamp"))
    assert health.silent_s == pytest.approx(2.0)


ADVICE = "docker run --shm-size=512m"


@pytest.mark.fault("transport", "all images are lost")
def test_images_that_are_all_lost_in_transport_are_named_with_the_cure(
    health: Health, time: Time
) -> None:
    health.images_dropped(LOST, 78)
    time.now_s += 3
    lost = status_of(health, "input", transport_advice=ADVICE)
    assert lost.level is Level.WARN
    assert "78 images were lost in transport" in lost.message and ADVICE in lost.message
    time.now_s += 8
    assert status_of(health, "input", transport_advice=ADVICE).level is Level.ERROR
    frames(health, time, 11.0)
    assert status_of(health, "input").level is Level.OK
    time.now_s += 3  # lost before the last image, so this silence has another cause
    assert "lost" not in status_of(health, "input").message


def test_more_lost_images_than_received_ones_are_a_warning(health: Health, time: Time) -> None:
    def lose(count: int) -> None:
        health.image_accepted(began_stream=False)
        health.images_dropped(LOST, count)

    frames(health, time, 5.0, each=lambda: lose(1))
    assert status_of(health, "input").level is Level.OK
    frames(health, time, 5.0, each=lambda: lose(3))
    lost = status_of(health, "input", transport_advice=ADVICE)
    assert (lost.level, lost.key) == (Level.WARN, "lost") and ADVICE in lost.message


def test_a_few_lost_images_are_ok(health: Health, time: Time) -> None:
    health.images_dropped(LOST, 9)
    frames(health, time, 0.2)
    assert status_of(health, "input").level is Level.OK


def test_before_the_first_image_the_wanted_tasks_are_known(health: Health) -> None:
    wanted = status_of(health, "latency", requested=("bodies", "depth"))
    assert wanted.values["estimated tasks"] == "bodies, depth"
    assert wanted.key != "idle" and "no image yet" in wanted.message


def test_people_left_out_are_a_warning_with_their_number_and_the_limit(health: Health) -> None:
    crowd = status_of(health, "bodies", left_out=28, max_people=8)
    assert (crowd.level, crowd.values["people left out"]) == (Level.WARN, "28")
    assert "28 more people" in crowd.message and "regions.max_people" in crowd.message
    assert status_of(health, "bodies", left_out=27, max_people=8).key == crowd.key
    everyone = status_of(health, "bodies")
    assert (everyone.level, everyone.values["people left out"]) == (Level.OK, "0")


def test_several_publishers_of_the_images_are_a_warning(health: Health, time: Time) -> None:
    frames(health, time, 1.0)
    status = status_of(health, "input", mixed_images="/image has 2 publishers")
    assert (status.level, status.message) == (Level.WARN, "/image has 2 publishers")
    assert status_of(health, "input").level is Level.OK


def test_a_name_that_another_node_has_is_a_warning_in_every_state(health: Health) -> None:
    text = "2 nodes are called /thfm"
    for state in ("unconfigured", "inactive", "active"):
        status = status_of(health, "name", state=state, same_name=text)
        assert (status.level, status.message) == (Level.WARN, text)
    assert status_of(health, "name").level is Level.OK


def test_predicted_people_and_the_oldest_measurement_are_reported(health: Health) -> None:
    bodies = status_of(health, "bodies", predicted=5, oldest_measurement_s=0.1334)
    assert bodies.level is Level.OK  # the budget is the user's choice
    assert bodies.values["people predicted"] == "5"
    assert bodies.values["oldest measurement"] == "0.133 s"
