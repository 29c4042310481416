# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The lifecycle node ``fusion``: bodies of several cameras in, one set of people out.

It subscribes to the ``bodies`` topics of any number of perception nodes and publishes bodies,
markers, tf and REP-155 humans in ``target_frame``, as the node of one camera does.
"""

from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.component_status import ComponentStatus, Level
from thfm_ros.ros.diagnostics import Diagnostics, StateLogger, node_log
from thfm_ros.ros.fusion import parameters
from thfm_ros.ros.fusion.session import Session
from thfm_ros.ros.node_process import ProcessNode, run


class FusionNode(ProcessNode):
    """The fusion node.

    Raises:
        ConfigError: a parameter from the command line or a parameter file is invalid.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("fusion", **node_options)
        settings, _ = parameters.declare(self)
        self.autostart = settings.autostart
        self._state = "unconfigured"
        self._error = ""
        self._session: Session | None = None
        self._used_ids: set[str] = set()  # of people, also before it was configured anew
        self._state_logger = StateLogger(node_log(self))
        self._diagnostics = Diagnostics(
            self, self._state_logger, self._evaluate, settings.diagnostics_period_s
        )
        self._diagnostics.start()
        parameters.guard(self, lambda: self._session is not None)
        self.create_service(Trigger, "~/reset", self._on_reset)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the publishers."""
        self._error = ""
        self._state_logger.forget("fusion")
        try:
            self._session = Session(self, *parameters.current(self), self._used_ids)
        except PerceptionError as error:
            self._error = str(error)
            self._state_logger.update("fusion", Level.ERROR, self._error, self._error)
            return TransitionCallbackReturn.FAILURE
        self._state = "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras' bodies."""
        assert self._session is not None
        self._session.start()
        self._state = "active"
        self.get_logger().info(
            f"fusing {', '.join(self._session.topics)} in {self._session.world!r}"
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop publishing."""
        if self._session is not None:
            self._session.stop()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the publishers."""
        self._close()
        self._state = "unconfigured"
        return super().on_cleanup(state)

    def _close(self) -> bool:
        session, self._session = self._session, None
        if session is not None:
            session.close()
        return True

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._session is not None
        response.message = f"there is nothing to reset: the node is {self._state}"
        if self._session is not None:
            self._session.reset()
            response.message = "all people are forgotten"
        return response

    def _evaluate(self) -> list[ComponentStatus]:
        session = self._session
        if self._error:
            return [ComponentStatus("fusion", Level.ERROR, self._error, self._error)]
        fusion = ComponentStatus("fusion", Level.OK, self._state, f"the node is {self._state}")
        if session is None or self._state != "active":
            return [fusion]
        return [fusion, *session.statuses]


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; see `node_process.run`."""
    run(FusionNode, args)


if __name__ == "__main__":
    main()
