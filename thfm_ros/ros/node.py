# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The lifecycle node ``thfm``: images of one camera in, perception of people out.

configure loads the engine and creates the publishers, activate subscribes to the camera,
deactivate stops publishing and keeps the engine, cleanup releases everything. If configuring
fails, the log and /diagnostics say why, and the node can be configured again.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool, Trigger

from thfm_ros.config import Config
from thfm_ros.contract import PerceptionError
from thfm_ros.loading import load_pipeline
from thfm_ros.perception.malloc_tuning import keep_freed_memory, return_freed_memory
from thfm_ros.ros import params
from thfm_ros.ros.component_status import ComponentStatus, Level, NodeSnapshot
from thfm_ros.ros.diagnostics import Diagnostics, StateLogger, node_log
from thfm_ros.ros.duplicates import describe_mixed_images, describe_same_name
from thfm_ros.ros.health import Health
from thfm_ros.ros.node_process import ProcessNode, run
from thfm_ros.ros.perceiver import Perceiver
from thfm_ros.ros.task_names import parse_tasks
from thfm_ros.srv import Follow, SetTasks


class PerceptionNode(ProcessNode):
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
        self._used_ids: set[str] = set()  # of bodies, also before it was configured anew
        self._health = Health(config.node.image_timeout_s, node_clock=self._time_s)
        self._state_logger = StateLogger(node_log(self))
        period_s = config.node.diagnostics_period_s
        self._diagnostics = Diagnostics(self, self._state_logger, self._evaluate_health, period_s)
        self._diagnostics.start()
        params.ParameterGuard(self, lambda: self._perceiver is not None, self._apply)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetTasks, "~/set_tasks", self._on_set_tasks)
        self.create_service(Follow, "~/follow", self._on_follow)

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
            pipeline = load_pipeline(config, live=True, used_ids=self._used_ids)
            self._perceiver = Perceiver(self, pipeline, self._health, self._state_logger)
        except PerceptionError as error:
            return self._configuring_failed(str(error))
        except Exception as error:  # of a library: reported without advice, the node keeps running
            return self._configuring_failed(f"{type(error).__name__}: {error}")
        self._state = "inactive"
        gc.collect()
        return_freed_memory()
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
        gc.collect()  # before another engine is loaded
        return_freed_memory()
        self._state = "unconfigured"
        return super().on_cleanup(state)

    def _close(self) -> bool:
        gc.unfreeze()
        perceiver, self._perceiver = self._perceiver, None
        return perceiver is None or perceiver.close()

    def _time_s(self) -> float:
        """The node's clock in seconds; without simulated time one that cannot be set."""
        clock = self.get_clock()
        if clock.ros_time_is_active:
            return float(clock.now().nanoseconds) * 1e-9
        return time.monotonic()

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

    def _on_follow(self, request: Follow.Request, response: Follow.Response) -> Follow.Response:
        target = self._perceiver.publishers.target if self._perceiver else None
        if target is None:
            reason = "the checkpoint has no task bodies"
            if self._perceiver is None:
                reason = f"the node is {self._state}"
            response.message = f"No one can be followed: {reason}. Nothing was changed."
            return response
        return target.request(request, response)

    def _evaluate_health(self) -> list[ComponentStatus]:
        perceiver, snapshot = self._perceiver, NodeSnapshot(state=self._state)
        mixed = ""
        if perceiver is not None:
            snapshot = perceiver.snapshot(self._state, self._enabled)
            mixed = describe_mixed_images(self, perceiver.image_topic)
        same_name = describe_same_name(self)
        return self._health.evaluate(replace(snapshot, same_name=same_name, mixed_images=mixed))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; see `node_process.run`."""
    keep_freed_memory()  # before DDS starts its threads
    run(PerceptionNode, args)


if __name__ == "__main__":
    main()
