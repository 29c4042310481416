# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Receives the messages of a few subscriptions in a thread of its own.

rclpy's executor builds a wait set of all subscriptions, services, timers and events of the node
before each message. For a node with twenty of them that costs more processor time than receiving
an image. Here the wait set has only the subscriptions that messages keep coming from.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

_JOIN_TIMEOUT_S = 2.0  # for the callback that runs
_FOREVER_NS = -1

_LOG = logging.getLogger(__name__)


class OwnThreadGroup(CallbackGroup):
    """The callback group of subscriptions that a `MessageReceiver` serves, not the executor."""

    def can_execute(self, entity: Any) -> bool:
        """Called by the executor before it waits. Also False for events of a subscription: they
        share its condition in the middleware, so that each message would wake the executor."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Called by the executor before a callback."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Called by the executor after a callback."""


@dataclass(slots=True)
class _Source:
    """A subscription, and when its next message may be taken."""

    subscription: Any
    callback: Callable[[Any], None]
    min_period_s: float
    next_s: float = 0.0  # by the receiver's clock


class MessageReceiver:
    """Calls callbacks with the messages of subscriptions, in one thread, from `start` to `stop`.

    Args:
        node: of the subscriptions, which are in an `OwnThreadGroup`. An exception of a callback is
            raised in the thread that spins this node, as if its executor had called it.
        clock: monotonic seconds, for limited rates.
    """

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._node, self._clock = node, clock
        self._sources: tuple[_Source, ...] = ()  # replaced, never changed: read by the thread
        self._error: BaseException | None = None
        self._failed = node.create_guard_condition(self._raise)
        self._wake = GuardCondition(None, None, context=node.context)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    def add(
        self, subscription: Any, callback: Callable[[Any], None], min_period_s: float = 0.0
    ) -> None:
        """Serve a subscription and its events, at most one message per ``min_period_s`` seconds.

        Of messages that arrive together, those with a limited rate come first: a calibration
        belongs to the image that was published with it.
        """
        sources = [*self._sources, _Source(subscription, callback, min_period_s)]
        self._sources = tuple(sorted(sources, key=lambda source: source.min_period_s == 0))
        self._wake.trigger()

    def start(self) -> None:
        """Start the thread; may be called once."""
        self._thread.start()

    def stop(self) -> bool:
        """End the thread; False if a callback does not return. The subscriptions remain."""
        self._ending.set()
        self._wake.trigger()
        if self._thread.is_alive():
            self._thread.join(_JOIN_TIMEOUT_S)
        self._node.destroy_guard_condition(self._failed)
        return not self._thread.is_alive()

    def _run(self) -> None:
        context = self._node.context
        try:
            while not self._ending.is_set() and context.ok():
                self._serve(self._sources)
        except InvalidHandle:
            _LOG.debug("the node was destroyed before its receiver was stopped")
        except BaseException as error:
            if not self._ending.is_set() and context.ok():
                self._error = error
                self._failed.trigger()

    def _serve(self, sources: tuple[_Source, ...]) -> None:
        """Serve these sources until others are added, or the receiver is stopped."""
        events = sum(len(source.subscription.event_handlers) for source in sources)
        sizes = (len(sources), 1, 0, 0, 0, events)
        wait_set = rclpy_implementation.WaitSet(*sizes, self._node.context.handle)
        while sources is self._sources and not self._ending.is_set() and self._node.context.ok():
            now_s = self._clock()
            due = [source for source in sources if source.next_s <= now_s]
            waits = [source.next_s - now_s for source in sources if source.next_s > now_s]
            wait_set.clear_entities()
            wait_set.add_guard_condition(self._wake.handle)
            for source in due:
                wait_set.add_subscription(source.subscription.handle)
                # Only of these: a message that is not taken yet would wake the events of its
                # subscription again and again.
                for event in source.subscription.event_handlers:
                    event.add_to_wait_set(wait_set)
            wait_set.wait(round(min(waits) * 1e9) if waits else _FOREVER_NS)
            ready = wait_set.get_ready_entities("subscription")
            for source in due:
                for event in source.subscription.event_handlers:
                    if event.is_ready(wait_set):
                        event.callback(event.take_data())
                if source.subscription.handle.pointer in ready and not self._ending.is_set():
                    self._take(source)

    def _take(self, source: _Source) -> None:
        subscription = source.subscription
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is not None:
            source.next_s = self._clock() + source.min_period_s
            source.callback(taken[0])

    def _raise(self) -> None:
        """Called by the executor after a callback failed."""
        error, self._error = self._error, None
        if error is not None:
            raise error
