# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The health of the node's input: which images arrive, and why others do not. No ROS here."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from thfm_ros.ros.component_status import ComponentStatus, Level, NodeSnapshot
from thfm_ros.ros.recent_values import SPAN_S, RecentValues
from thfm_ros.ros.silence import Silence

CLOCK_LIMIT_S = 30.0  # stamps farther than this from the node's clock are from another clock
LOST = "lost in transport"
"""Cause of dropped images that the middleware lost."""
MIN_LOST = 10  # fewer lost images within SPAN_S are not reported

_NO_STAMP = (
    "images have no stamp (0): results cannot be assigned to a time, and tf and rviz ignore them. "
    "The camera driver must set header.stamp."
)
_NO_FRAME_ID = (
    "images have an empty frame_id: tf2 and rviz drop all results. The camera driver must set "
    "header.frame_id to the optical frame of the camera."
)


class InputHealth:
    """Collects events about images. Not thread-safe: `Health` holds its lock.

    Args:
        clock: monotonic seconds, for rates.
        node_clock: the node's clock in seconds, for silence.
    """

    def __init__(self, clock: Callable[[], float], node_clock: Callable[[], float]) -> None:
        self._clock, self._node_clock = clock, node_clock
        self._images, self._lost = RecentValues(), RecentValues()
        self.drops: Counter[str] = Counter()
        self._rejection: tuple[str, str] | None = None
        self._lost_since_image = 0
        self.stamp_problem = ""
        self._has_frame_id = True
        self._image_format = ""
        self._last_image: float | None = None
        self._last_accepted = clock()
        self._begun = clock()
        self._silence = Silence(node_clock)
        self.without_usable = Silence(node_clock)

    @property
    def has_images(self) -> bool:
        """Whether any image has arrived."""
        return self._last_image is not None

    @property
    def _last_image_or_begin(self) -> float:
        return self._begun if self._last_image is None else self._last_image

    def received(
        self, age_s: float, image_format: str, *, has_stamp: bool, has_frame_id: bool
    ) -> None:
        """An image arrived, usable or not, ``age_s`` after its stamp."""
        self._last_image = self._clock()
        self._silence.end()
        self._lost_since_image = 0
        self._images.add(self._last_image, age_s)
        self._image_format = image_format
        self._has_frame_id = has_frame_id
        self.stamp_problem = ""
        if not has_stamp:
            self.stamp_problem = _NO_STAMP
        elif abs(age_s) > CLOCK_LIMIT_S:
            self.stamp_problem = (
                f"image stamps differ from this node's clock by {age_s:.0f} s. For a bag: "
                "use_sim_time:=true here and `ros2 bag play --clock`; else synchronise clocks."
            )

    def rejected(self, cause: str, message: str) -> None:
        """The image cannot be used."""
        self._rejection = (cause, message)
        self.drops[f"bad {cause}"] += 1

    def accepted(self) -> None:
        """The image was added to the window."""
        self._rejection = None
        self._last_accepted = self._clock()
        self.without_usable.end()

    def dropped(self, cause: str, count: int) -> None:
        """Images for which no result will be published."""
        self.drops[cause] += count
        if cause == LOST:
            self._lost.add(self._clock(), count)
            self._lost_since_image += count

    def evaluate(self, node: NodeSnapshot, timeout_s: float) -> ComponentStatus:
        """The state of the component "input" of an active node.

        Args:
            node: the node as it is now.
            timeout_s: time without images after which they are missed.
        """
        now = self._clock()
        ages = self._images.values(now)
        values = {
            "rate (Hz)": f"{self._images.rate_hz(now):.1f}",
            "image": self._image_format or "none yet",
            "age on arrival p50 (ms)": f"{np.median(ages) * 1e3:.1f}" if ages else "",
            "source": node.image_source,
            **{f"dropped: {cause}": str(n) for cause, n in sorted(self.drops.items())},
        }
        level, key, message = self._state(now, node, timeout_s, len(ages))
        if key == "good":
            message = f"{values['rate (Hz)']} Hz, {self._image_format}"
        return ComponentStatus("input", level, key, message, values)

    def _state(
        self, now: float, node: NodeSnapshot, timeout_s: float, arrived: int
    ) -> tuple[Level, str, str]:
        """Level, key and message; the most serious problem decides."""
        if not node.enabled:
            return Level.OK, "off", "disabled by ~/enable"
        if self._silence.seconds > timeout_s:
            return self._silent(node, timeout_s)
        if self._rejection is not None:
            cause, message = self._rejection
            return Level.ERROR, f"rejected {cause}", message
        if self.stamp_problem:
            key = "clock" if "clock" in self.stamp_problem else "stamp"
            return Level.WARN, key, self.stamp_problem
        if now - self._last_image_or_begin > timeout_s:
            return self._stopped_clock(now)
        if self._last_image is None:
            return Level.OK, "waiting", "waiting for the first image"
        if self._last_image - self._last_accepted > max(timeout_s, 1.0):
            message = "all images have one stamp: the camera repeats a frame or does not set stamps"
            return Level.WARN, "frozen", message
        if node.mixed_images:
            return Level.WARN, "mixed", node.mixed_images
        if not self._has_frame_id:
            return Level.WARN, "frame_id", _NO_FRAME_ID
        lost = round(sum(self._lost.values(now)))
        if lost >= MIN_LOST and lost > arrived:
            message = (
                f"in {SPAN_S:.0f} s {lost} images were lost in transport and {arrived} arrived. "
                f"{node.transport_advice}"
            )
            return Level.WARN, "lost", message
        return Level.OK, "good", ""

    def _silent(self, node: NodeSnapshot, timeout_s: float) -> tuple[Level, str, str]:
        silent_s = self._silence.seconds
        level = Level.ERROR if silent_s > 5 * timeout_s else Level.WARN
        missing = "no image any more" if self.has_images else "no image yet"
        message = f"{missing}, for {silent_s:.0f} s. {node.image_source}"
        if not self._lost_since_image:
            return level, f"no images {level}", message
        message += (
            f" {self._lost_since_image} images were lost in transport meanwhile. "
            f"{node.transport_advice}"
        )
        return level, f"lost {level}", message

    def _stopped_clock(self, now: float) -> tuple[Level, str, str]:
        """No image has arrived for some time, but by the node's clock no time has passed."""
        silent_s = now - self._last_image_or_begin
        message = f"no image for {silent_s:.0f} s, in which the node's clock "
        if self._node_clock() == 0:
            message += "has not begun: use_sim_time is set, but nothing is published on /clock"
            return Level.WARN, "no clock", message
        message += f"went on by {self._silence.seconds:.1f} s: simulated time is paused or slow"
        return Level.OK, "paused", message
