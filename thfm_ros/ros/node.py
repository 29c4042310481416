# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The lifecycle node ``thfm``: images of one camera in, perception of people out.

configure loads the engine and creates the publishers, activate subscribes to the camera,
deactivate stops publishing and keeps the engine, cleanup releases everything. If configuring
fails, the log and /diagnostics say why, and the node can be configured again.
"""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool, Trigger

from thfm_ros.config import Config
from thfm_ros.contract import PerceptionError
from thfm_ros.loading import load_pipeline
from thfm_ros.ros import params
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.diagnostics import Diagnostics, StateLogger, node_log
from thfm_ros.ros.health import ComponentStatus, Health, Level, NodeSnapshot
from thfm_ros.ros.perceiver import Perceiver
from thfm_ros.ros.task_names import parse_tasks
from thfm_ros.srv import SetTasks

_JOIN_TIMEOUT_S = 3.0
_SIGNAL_POLL_S = 0.2


class PerceptionNode(LifecycleNode):
    """The perception node.

    Raises:
        ConfigError: a parameter from the command line or a parameter file is invalid.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("thfm", **node_options)
        config = params.declare_parameters(self)
        self.autostart = config.node.autostart
        self._state = "unconfigured"
        self._enabled = True
        self._perceiver: Perceiver | None = None
        self._health = Health(config.node.image_timeout_s)
        self._state_logger = StateLogger(node_log(self))
        period_s = config.node.diagnostics_period_s
        self._diagnostics = Diagnostics(self, self._state_logger, self._evaluate_health, period_s)
        self._diagnostics.start()
        params.ParameterGuard(self, lambda: self._perceiver is not None, self._apply)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetTasks, "~/set_tasks", self._on_set_tasks)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engine and create the publishers."""
        self._state = "configuring"
        self._state_logger.forget("engine")
        self._health.configuration_error = ""
        try:
            config = params.current_config(self)
            self._health.image_timeout_s = config.node.image_timeout_s
            self._diagnostics.period_s = config.node.diagnostics_period_s
            self.get_logger().info(
                f"loading {config.engine.checkpoint!r}; its engine is built the first time"
            )
            pipeline = load_pipeline(config, live=True)
            self._perceiver = Perceiver(self, pipeline, self._health, self._state_logger)
        except PerceptionError as error:
            return self._configuring_failed(str(error))
        except Exception as error:  # of a library: reported without advice, the node keeps running
            return self._configuring_failed(f"{type(error).__name__}: {error}")
        self._state = "inactive"
        gc.collect()
        gc.freeze()  # a collection that traverses all objects of the engine would delay a frame
        card = pipeline.engine.card
        self.get_logger().info(
            f"{card.name} on {pipeline.engine.description}: "
            + ", ".join(task.value for task in card.tasks)
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera."""
        assert self._perceiver is not None
        if self._enabled:
            self._perceiver.start()
        self._state = "active"
        self.get_logger().info(
            f"subscribed to {self._perceiver.image_topic} and {self._perceiver.info_topic}"
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop publishing; the engine remains loaded."""
        if self._perceiver is not None:
            self._perceiver.stop()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the engine and destroy the publishers."""
        self._close()
        self._state = "unconfigured"
        return super().on_cleanup(state)

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

    def end(self) -> None:
        """Stop all threads and remove markers; call this before destroying the node."""
        self._close()
        self._diagnostics.stop()

    def _close(self) -> None:
        gc.unfreeze()
        if self._perceiver is not None:
            self._perceiver.close()
            self._perceiver = None

    def _configuring_failed(self, text: str) -> TransitionCallbackReturn:
        self._state = "unconfigured"
        self._health.configuration_error = text
        self._state_logger.update("engine", Level.ERROR, text, f"cannot be configured: {text}")
        return TransitionCallbackReturn.FAILURE

    def _apply(self, config: Config) -> None:
        if self._perceiver is not None:
            self._perceiver.apply(config)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        if self._perceiver is not None and self._state == "active":
            if self._enabled:
                self._perceiver.start()
            else:
                self._perceiver.stop()
        response.success = True
        response.message = "enabled" if self._enabled else "disabled"
        if self._state != "active":
            response.message += f", as soon as the node is active (it is {self._state})"
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._perceiver is not None
        if self._perceiver is not None:
            self._perceiver.reset()
            response.message = "all tracks are dropped; the next image begins a new stream"
        else:
            response.message = f"there is nothing to reset: the node is {self._state}"
        return response

    def _on_set_tasks(
        self, request: SetTasks.Request, response: SetTasks.Response
    ) -> SetTasks.Response:
        perceiver = self._perceiver
        if perceiver is None:
            response.message = (
                f"The node is {self._state}, so no checkpoint is loaded and its tasks are not "
                f"known. First: ros2 lifecycle set {self.get_fully_qualified_name()} configure"
            )
            return response
        try:
            perceiver.set_tasks(parse_tasks(request.tasks, perceiver.card))
            response.success = True
            response.message = "active from now on; tasks are estimated if they have subscribers"
        except PerceptionError as error:
            response.message = str(error)
        response.active = sorted(task.value for task in perceiver.active_tasks)
        response.available = sorted(task.value for task in perceiver.available_tasks)
        return response

    def _evaluate_health(self) -> list[ComponentStatus]:
        perceiver = self._perceiver
        if perceiver is None:
            return self._health.evaluate(NodeSnapshot(state=self._state))
        return self._health.evaluate(perceiver.snapshot(self._state, self._enabled))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    logging.basicConfig(format="[%(levelname)s] [%(name)s]: %(message)s")
    prepare_ros_environment()
    # Signals are handled here: rclpy's own handler would shut the context down before the last
    # messages, which remove the markers, are published.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    try:
        node = PerceptionNode()
    except PerceptionError as error:
        rclpy.logging.get_logger("thfm").fatal(str(error))
        rclpy.shutdown()
        sys.exit(2)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failures: list[BaseException] = []
    thread = threading.Thread(target=_spin, args=(executor, node, ending, failures), daemon=True)
    thread.start()
    # Polled: a signal that another thread receives does not interrupt the wait.
    while not ending.wait(_SIGNAL_POLL_S):
        pass
    executor.shutdown(timeout_sec=0)
    thread.join(_JOIN_TIMEOUT_S)
    if thread.is_alive():  # an engine is being built, in code that cannot be interrupted
        node.get_logger().warning("the process ends during a lifecycle transition")
        os._exit(1)
    node.end()
    node.destroy_node()
    rclpy.try_shutdown()
    if failures:
        raise failures[0]


def _spin(
    executor: SingleThreadedExecutor,
    node: PerceptionNode,
    ending: threading.Event,
    failures: list[BaseException],
) -> None:
    """Start the node and serve its callbacks; an exception in one of them ends the process."""
    try:
        if node.autostart:
            node.start()
        if not ending.is_set():
            executor.spin()
    except ExternalShutdownException:
        pass
    except BaseException as error:
        failures.append(error)
    finally:
        ending.set()


if __name__ == "__main__":
    main()
