# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The process of a node: its start, its signals, and an end under all circumstances.

The process ends with code 0; with 1 if something had to be left behind, which one line of the log
says, or after an exception; and with 2, and one line, if its arguments or parameters are invalid.
"""

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.exceptions import (
    InvalidHandle,
    NameValidationException,
    ParameterException,
    ParameterUninitializedException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from thfm_ros.contract import PerceptionError
from thfm_ros.perception.background_task import unfinished_tasks
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.diagnostics import Diagnostics

JOIN_TIMEOUT_S = 2.0  # for the callback or the transition that runs
_TASKS_TIMEOUT_S = 1.0  # for a detection pass
_SIGNAL_POLL_S = 0.2
_SOURCE_LOCATION = re.compile(r", at /[^,\s]+:\d+")  # of rcl's C code, in its error texts


AnyNode = TypeVar("AnyNode", bound=Node)


class ProcessNode(LifecycleNode):
    """A lifecycle node that `run` can run, with diagnostics.

    A subclass sets ``autostart``, ``_state`` ("unconfigured" and so on, for texts) and
    ``_diagnostics``, and releases in `_close` what it made when it was configured.
    """

    autostart: bool
    _state: str
    _diagnostics: Diagnostics

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything for the last time."""
        self._close()
        self._state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition raised an exception."""
        self._close()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> None:
        """Configure and activate. A failure is reported; the services allow another attempt."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def end(self) -> bool:
        """Stop all threads and remove markers; call this before destroying the node.

        Returns:
            False if a thread is left behind; that was logged.
        """
        has_ended = self._close()
        if not self._diagnostics.stop():
            self.get_logger().error("a diagnostics message is left behind")
            return False
        return has_ended

    def _close(self) -> bool:
        """Release what was configured; False if a step of the engine does not end."""
        raise NotImplementedError


def run(make_node: Callable[[], ProcessNode], args: Sequence[str] | None = None) -> None:
    """Run a node until SIGINT or SIGTERM.

    Raises:
        SystemExit: invalid arguments or parameters, or an exception in a callback.
    """
    logging.basicConfig(format="[%(levelname)s] [%(name)s]: %(message)s")
    prepare_ros_environment()
    # The handler takes no lock, as Event.set does: it may interrupt the one that holds it.
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    node = started(make_node, args)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    ending = threading.Event()
    stop: "Future[None]" = Future()
    failures: list[BaseException] = []
    thread = threading.Thread(
        target=spin, args=(executor, node, stop, ending, failures), name="spin", daemon=True
    )
    thread.start()
    # Polled: a signal that another thread receives does not interrupt the wait.
    while not signals and not ending.wait(_SIGNAL_POLL_S):
        pass
    ending.set()
    # The executor is not shut down before its thread has ended: that destroys what it waits for.
    stop.set_result(None)
    thread.join(JOIN_TIMEOUT_S)
    if thread.is_alive():  # an engine is being built, in code that cannot be interrupted
        node.get_logger().warning("the process ends during a callback or a lifecycle transition")
        exit_at_once(1)
    have_ended = node.end()
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    finish(failures, have_ended=have_ended)


def started(
    make_node: Callable[[], AnyNode],
    args: Sequence[str] | None,
    *,
    name: str = "thfm",
    signals: SignalHandlerOptions = SignalHandlerOptions.NO,
) -> AnyNode:
    """Initialise ROS and make the node.

    Args:
        make_node: makes it.
        args: command line arguments; None: those of the process.
        name: of the logger for the line that says what is invalid.
        signals: which ones rclpy handles. None of those that `run` handles: rclpy's own handler
            would shut the context down before the last messages, which remove the markers, are
            published.

    Raises:
        SystemExit: arguments, names or parameters are invalid; one line says which.
    """
    try:
        rclpy.init(args=args, signal_handler_options=signals)
        return make_node()
    except (PerceptionError, ParameterException, NameValidationException) as error:
        text = str(error)
        if isinstance(error, ParameterUninitializedException):
            text += " (an empty list in a parameter file is no value)"
    except RuntimeError as error:  # rclpy's own: RCLError, UnknownROSArgsError ...
        if not type(error).__module__.startswith("rclpy"):
            raise
        text = _SOURCE_LOCATION.sub("", str(error))
    rclpy.logging.get_logger(name).fatal(" ".join(text.split()))
    rclpy.try_shutdown()
    sys.exit(2)


def spin(
    executor: SingleThreadedExecutor,
    node: ProcessNode,
    stop: "Future[None]",
    ending: threading.Event,
    failures: list[BaseException],
) -> None:
    """Start the node and serve its callbacks until ``stop`` is done.

    An exception in a callback ends the process: it is appended to ``failures``, and ``ending`` set.
    """
    try:
        if node.autostart:
            node.start()
        executor.spin_until_future_complete(stop)
    except ExternalShutdownException:
        pass
    except BaseException as error:
        # At the end rclpy destroys handles that the executor still looks at.
        if not (ending.is_set() and isinstance(error, InvalidHandle)):
            failures.append(error)
    finally:
        ending.set()


def finish(failures: Sequence[BaseException], *, have_ended: bool) -> None:
    """End the process, also while threads are inside a library.

    A thread that is inside ONNX Runtime while the interpreter ends aborts the process ("terminate
    called without an active exception"), so the interpreter must not end then.

    Args:
        failures: exceptions of callbacks; the first one is printed.
        have_ended: whether the node has ended all its threads; if not, it has logged that.
    """
    if failures:
        traceback.print_exception(failures[0])
    unfinished = unfinished_tasks(_TASKS_TIMEOUT_S)
    if unfinished and have_ended and not failures:
        logging.error("a step of the engine is left behind (%s)", ", ".join(unfinished))
    if unfinished or not have_ended:
        exit_at_once(1)
    if failures:
        sys.exit(1)


def exit_at_once(code: int) -> None:
    """End the process without the end of the interpreter, which would wait or abort."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
