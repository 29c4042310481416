# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Two people pass each other, and one hides the other for a moment."""

import pytest
from fake_engine import FakeEngine, Person, box_of, camera, frame

from thfm_ros.config import config_from
from thfm_ros.contract import Perception, Task, TrackState
from thfm_ros.geometry import intersection_over_min_area
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
STEP_S = 0.05


class Crossing:
    """``behind`` walks to the right and ``front`` to the left; who is hidden is not seen at all.

    The crop of a hidden person then shows the one in front, as that of a network does.
    """

    def __init__(self, tasks: frozenset[Task], older: str) -> None:
        config = config_from({"track.seed": 1, "regions.tiles": False})
        self.engine = FakeEngine(K, lambda: list(self.visible().values()))
        self.pipeline = PerceptionPipeline(self.engine, config)
        self.window, self.tasks = FrameWindow(config.window), tasks
        self.number, self.older = 0, older

    def visible(self) -> dict[str, Person]:
        """Everyone in view; at first only the ``older`` one."""
        x = -1.2 + 0.06 * self.number
        people = {"behind": Person(x, 0, 4.2), "front": Person(-x, 0, 3.2)}
        if self.number < 3:
            return {self.older: people[self.older]}
        boxes = [box_of(people[name], K) for name in ("behind", "front")]
        if intersection_over_min_area(*boxes) > 0.6:
            del people["behind"]
        return people

    def step(self) -> tuple[dict[str, Person], Perception]:
        """The people in view in the next frame, and what is perceived of it."""
        clip = self.window.push(frame(K, 1 + STEP_S * self.number))
        assert clip is not None
        visible, perception = self.visible(), self.pipeline.step(clip, self.tasks)
        self.number += 1
        return visible, perception

    def ids(self) -> dict[str, str]:
        """The id at the place of each person in the next frame."""
        visible, perception = self.step()
        found = [each for each in perception.bodies if each.state is not TrackState.LOST]
        return {
            name: min(found, key=lambda each: abs(float(each.root_m[0]) - person.x)).id
            for name, person in visible.items()
        }


BODIES = frozenset({Task.BODIES})


@pytest.mark.parametrize(
    ("tasks", "older"), [(frozenset(Task), "behind"), (BODIES, "behind"), (BODIES, "front")]
)
def test_two_people_who_pass_each_other_keep_their_ids(tasks: frozenset[Task], older: str) -> None:
    crossing = Crossing(tasks, older)
    for _ in range(6):
        before = crossing.ids()
    assert len(set(before.values())) == 2
    was_hidden = False
    while crossing.number < 32:
        seen = crossing.ids()
        was_hidden |= "behind" not in seen
    assert was_hidden and seen == before


def test_a_hidden_person_is_lost_and_their_own_crop_finds_them_again() -> None:
    crossing = Crossing(BODIES, "behind")
    for _ in range(6):
        names = crossing.ids()
    while "behind" in crossing.visible():
        crossing.step()
    _, perception = crossing.step()
    states = {each.id: each.state for each in perception.bodies}
    assert states == {names["front"]: TrackState.TRACKED, names["behind"]: TrackState.LOST}
    while "behind" not in crossing.visible():
        crossing.step()
    passes = crossing.engine.steps.count((320, 240))
    _, perception = crossing.step()
    assert crossing.engine.steps.count((320, 240)) <= passes + 1
    assert {each.id for each in perception.bodies if each.state is TrackState.TRACKED} == {
        *names.values()
    }
