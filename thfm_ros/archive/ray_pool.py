# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Workers as actors of Ray Data: on one machine or on a cluster.

Ray starts an actor anew when its process or its machine dies, but begins its unit anew there only
if it notices the loss in time. So units that were lost are given to a new set of actors here.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from thfm_ros.archive.outcome import ERROR, Outcome
from thfm_ros.archive.process_pool import MakeWorker
from thfm_ros.archive.units import Unit
from thfm_ros.contract import PerceptionError

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3
"""More than for processes: Ray gives units to an actor for seconds after its machine was lost."""


def run_on_ray(
    units: Sequence[Unit],
    make_worker: MakeWorker,
    workers: int,
    address: str,
    *,
    gpus_per_worker: float = 0.0,
) -> Iterator[Outcome]:
    """Outcomes of all units, in the order in which they are finished.

    The bags and the results must have the same paths on all machines of the cluster.

    Args:
        units: in the order in which they are begun.
        make_worker: makes the worker of an actor, there; it can be pickled.
        workers: number of actors, each with one CPU.
        address: of the cluster, "auto", or "local" for a new one on this machine.
        gpus_per_worker: share of a GPU that an actor takes, 0 to 1.

    Raises:
        PerceptionError: Ray is not installed, there is no cluster at the address, or no actor
            can be made there.
    """
    ray = _connected(address, workers)
    lost = {unit.key: unit for unit in units}
    try:
        for attempt in range(_MAX_ATTEMPTS):
            if attempt:
                log.warning("%d units were lost with their workers; begun anew", len(lost))
            for row in _results(ray, list(lost.values()), make_worker, workers, gpus_per_worker):
                lost.pop(row["unit"])
                yield Outcome(**row)
            if not lost:
                return
        for unit in lost.values():
            reason = f"the worker's process died {_MAX_ATTEMPTS} times during this unit"
            yield Outcome(unit.key, unit.source, unit.topic, ERROR, error=reason)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]  # after the lines of a traceback
        raise PerceptionError(
            f"--ray {address}: the cluster gave up ({reason}). What is finished is kept: run the "
            "same command again when 'ray status' shows it whole."
        ) from error
    finally:
        ray.shutdown()


def _results(
    ray: Any, units: Sequence[Unit], make_worker: MakeWorker, workers: int, gpus_per_worker: float
) -> Iterator[dict[str, Any]]:
    """The outcomes of those units whose actor does not die, as rows."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # plans and progress: ours is shown
    context.max_errored_blocks = -1  # a unit that kills its worker must not end the others
    rows = [asdict(unit) for unit in units]
    with warnings.catch_warnings():
        # Ray 2.60 to 2.63 warn of max_restarts and max_task_retries; pyproject.toml excludes 2.64.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(make_worker,),
            # Not two units at once: with the one that kills its actor the other would be lost.
            compute=ray.data.ActorPoolStrategy(
                size=min(workers, len(rows)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
            num_gpus=gpus_per_worker,
            max_restarts=-1,
            max_task_retries=0,
        )
    yield from results.iter_rows()


class _Actor:
    """One worker; made once per actor."""

    def __init__(self, make_worker: MakeWorker) -> None:
        self._worker = make_worker()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        unit = Unit(**{name: row[name] for name in Unit.__dataclass_fields__})
        return asdict(self._worker.run(unit))


def _connected(address: str, workers: int) -> Any:
    """Ray, connected to the cluster; a new one for "local"."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise PerceptionError(
            f"--ray needs Ray ({error}): pip install 'thfm_ros[archive]'"
        ) from error
    try:
        ray.init(
            address=address,
            logging_level="ERROR",
            log_to_driver=True,
            **({"num_cpus": workers, "include_dashboard": False} if address == "local" else {}),
        )
    except Exception as error:  # a start that takes too long is a bare Exception
        raise PerceptionError(
            f"--ray {address}: no cluster can be reached or started ({error}). Start one by "
            "'ray start --head', or give --ray local."
        ) from error
    return ray
