# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Service requests of `thfm benchmark endurance` whose response is lost."""

import os
import time
from collections.abc import Callable, Iterator

import pytest
from lifecycle_msgs.srv import GetState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from thfm_ros.ros.endurance import participants
from thfm_ros.ros.endurance.participants import NODE, Participant

pytestmark = pytest.mark.ros


class ForgetfulNode(Participant):
    """A node that answers only from the second request on; spun by whoever waits for it."""

    def __init__(self) -> None:
        super().__init__("forgetful", int(os.environ["ROS_DOMAIN_ID"]))
        self.requests = 0
        self.node.create_service(
            GetState,
            f"{NODE}/get_state",
            self._answer,
            callback_group=ReentrantCallbackGroup(),  # for requests beside the one that waits
        )

    async def _answer(self, _: GetState.Request, response: GetState.Response) -> GetState.Response:
        self.requests += 1
        if self.requests == 1:
            await Future()
        response.current_state.label = "active"
        return response


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForgetfulNode]:
    monkeypatch.setattr(participants, "REQUEST_AGAIN_S", 0.2)
    node = ForgetfulNode()
    yield node
    node.close()


@pytest.fixture
def caller() -> Iterator[Participant]:
    participant = Participant("caller", int(os.environ["ROS_DOMAIN_ID"]))
    yield participant
    participant.close()


def call(
    caller: Participant, forgetful: ForgetfulNode, otherwise: GetState.Response | None
) -> GetState.Response:
    def wait(until: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + 300
        while not until():
            assert time.monotonic() < end_s, what
            caller.spin(0.01)
            forgetful.spin(0.01)

    response = caller.call(GetState, "get_state", GetState.Request(), lambda: otherwise, wait)
    assert isinstance(response, GetState.Response)
    return response


@pytest.mark.fault("transport", "the response of a service is lost")
def test_a_request_without_a_response_is_sent_again(
    caller: Participant, forgetful: ForgetfulNode
) -> None:
    assert call(caller, forgetful, None).current_state.label == "active"
    assert forgetful.requests >= 2


def test_a_request_that_was_carried_out_is_not_sent_again(
    caller: Participant, forgetful: ForgetfulNode
) -> None:
    done = GetState.Response()
    assert call(caller, forgetful, done) is done
    assert forgetful.requests <= 1
