# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where ids of the annotated street are lost: at crossings, behind the sign, or elsewhere."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from thfm_ros.evaluation.identity_metrics import IdentityEvent, Outcome
from thfm_ros.evaluation.markdown_report import group_table
from thfm_ros.evaluation.matching import GroundTruthPerson
from thfm_ros.geometry import iou

SIGN = np.array([413.0, 200.0, 446.0, 245.0])
"""The sign at the lamp post of vtest.avi, pixels."""

ABSENT, BEHIND_SIGN = "not in the image, or not annotated", "behind the sign"
OVERLAP, ALONE = "overlapped another person", "nothing of this"
_KINDS = {
    "switch": (Outcome.SWITCH,),
    "refused": (Outcome.REFUSED,),
    "false": (Outcome.FALSE_RETURN, Outcome.FALSE_ARRIVAL),
}


def cause_of(event: IdentityEvent, people: Mapping[int, Sequence[GroundTruthPerson]]) -> str:
    """What happened to the person of an event since they were last matched.

    Args:
        event: a person with another id than before.
        people: all annotated people by the number of the frame.
    """
    frames = [
        {each.track_id: each.box for each in people[number]}
        for number in sorted(people)
        if event.since <= number <= event.frame
    ]
    if any(event.person not in frame for frame in frames):
        return ABSENT
    if any(iou(frame[event.person], SIGN) > 0 for frame in frames):
        return BEHIND_SIGN
    for frame in frames:
        own = frame.pop(event.person)
        if any(iou(own, box) > 0 for box in frame.values()):
            return OVERLAP
    return ALONE


def cause_table(
    events: Sequence[IdentityEvent], people: Mapping[int, Sequence[GroundTruthPerson]]
) -> str:
    """Number of changed ids by their cause and kind, as Markdown."""
    changed = [each for each in events if each.track_id != each.before]
    numbers = Counter((cause_of(each, people), each.outcome) for each in changed)
    rows = [
        [cause, *(str(sum(numbers[cause, each] for each in kinds)) for kinds in _KINDS.values())]
        for cause in (OVERLAP, BEHIND_SIGN, ABSENT, ALONE)
    ]
    return group_table(["since they were last matched", *_KINDS], rows)
