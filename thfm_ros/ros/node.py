"""The lifecycle node `thfm`: one camera in, people out.

configure loads the engine and offers the topics, activate subscribes, deactivate goes silent and
keeps the engine, cleanup gives everything back. What cannot be configured is said in the log and
in /diagnostics, and the node waits for a better configuration.
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
from thfm_ros.ros.dds_profile import prepare
from thfm_ros.ros.diagnostics import Announcer, Diagnostics, log_through
from thfm_ros.ros.health import Finding, Health, Level, Situation
from thfm_ros.ros.perceiver import Perceiver
from thfm_ros.srv import SetTasks

_PATIENCE_S = 3.0  # with threads that do not end when asked
_LOOK_S = 0.2  # how often it is looked whether a signal came


class PerceptionNode(LifecycleNode):
    """The node.

    Raises:
        ConfigError: a parameter from the command line or a file cannot be.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("thfm", **node_options)
        config = params.declare(self)
        self.autostart = config.node.autostart
        self._state = "unconfigured"
        self._enabled = True
        self._perceiver: Perceiver | None = None
        self._health = Health(config.node.image_timeout_s)
        self._announcer = Announcer(log_through(self))
        period_s = config.node.diagnostics_period_s
        self._diagnostics = Diagnostics(self, self._announcer, self._findings, period_s)
        self._diagnostics.start()
        params.ParameterGuard(self, lambda: self._perceiver is not None, self._apply)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetTasks, "~/set_tasks", self._on_set_tasks)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engine and offer the topics."""
        self._state = "configuring"
        self._announcer.forget("engine")
        self._health.engine_trouble = ""
        try:
            config = params.current(self)
            self._health.image_timeout_s = config.node.image_timeout_s
            self._diagnostics.period_s = config.node.diagnostics_period_s
            self.get_logger().info(
                f"loading {config.engine.checkpoint!r}; the first load builds it"
            )
            pipeline = load_pipeline(config, live=True)
            self._perceiver = Perceiver(self, pipeline, self._health, self._announcer)
        except PerceptionError as error:
            return self._cannot_configure(str(error))
        except Exception as error:  # a library's own: without a cure, but still no dead node
            return self._cannot_configure(f"{type(error).__name__}: {error}")
        self._state = "inactive"
        gc.collect()
        gc.freeze()  # a collection that walks all of a runtime's modules is a late frame
        card = pipeline.engine.card
        self.get_logger().info(
            f"{card.name} on {pipeline.engine.description}: "
            + ", ".join(task.value for task in card.tasks)
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        assert self._perceiver is not None
        if self._enabled:
            self._perceiver.start()
        self._state = "active"
        self.get_logger().info(
            f"listening to {self._perceiver.image_topic} and {self._perceiver.info_topic}"
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go silent; the engine stays loaded."""
        if self._perceiver is not None:
            self._perceiver.stop()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give engine and topics back."""
        self._close()
        self._state = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The last transition."""
        self._close()
        self._state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition raised: back to the beginning, where it can be tried again."""
        self._close()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> None:
        """Configure and activate; what fails is told, and can be tried again by services."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def end(self) -> None:
        """Before the node is destroyed: stop all threads and take markers away."""
        self._close()
        self._diagnostics.stop()

    def _close(self) -> None:
        gc.unfreeze()
        if self._perceiver is not None:
            self._perceiver.close()
            self._perceiver = None

    def _cannot_configure(self, text: str) -> TransitionCallbackReturn:
        self._state = "unconfigured"
        self._health.engine_trouble = text
        self._announcer.say("engine", Level.ERROR, text, f"cannot be configured: {text}")
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
            response.message = "everybody is forgotten; the next image begins a new stream"
        else:
            response.message = f"there is nothing to reset: the node is {self._state}"
        return response

    def _on_set_tasks(
        self, request: SetTasks.Request, response: SetTasks.Response
    ) -> SetTasks.Response:
        perceiver = self._perceiver
        if perceiver is None:
            response.message = (
                f"The node is {self._state}, so no checkpoint is loaded that could say what it "
                f"can do. First: ros2 lifecycle set {self.get_fully_qualified_name()} configure"
            )
            return response
        try:
            perceiver.choose(perceiver.tasks_from(request.tasks))
            response.success = True
            response.message = "estimated from now on, as far as somebody subscribes"
        except PerceptionError as error:
            response.message = str(error)
        response.active = sorted(task.value for task in perceiver.active)
        response.available = sorted(task.value for task in perceiver.available)
        return response

    def _findings(self) -> list[Finding]:
        perceiver = self._perceiver
        if perceiver is None:
            return self._health.findings(Situation(state=self._state))
        return self._health.findings(perceiver.situation(self._state, self._enabled))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM."""
    logging.basicConfig(format="[%(levelname)s] [%(name)s]: %(message)s")
    prepare()
    # Signals are handled here: rclpy's own handler would end the context before the last
    # messages, which take the markers away, are out.
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
    while not ending.wait(_LOOK_S):  # where another thread received it, a signal wakes nobody
        pass
    executor.shutdown(timeout_sec=0)
    thread.join(_PATIENCE_S)
    if thread.is_alive():  # an engine is being built, in code that nobody can interrupt
        node.get_logger().warning("leaving in the middle of a transition")
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
    """Serve the node's callbacks, from its start on; a bug in one of them ends the process."""
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
