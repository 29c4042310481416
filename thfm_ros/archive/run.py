# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""An archive run: plan, skip what is done, work, manifest, report."""

import importlib.util
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from thfm_ros.archive.destination import MANIFEST, OUTCOME, UNITS, Destination
from thfm_ros.archive.job import Job
from thfm_ros.archive.outcome import ERROR, Outcome, read_manifest, write_manifest
from thfm_ros.archive.report import files_shown, write_report
from thfm_ros.archive.units import Unit
from thfm_ros.archive.work import finished_outcome
from thfm_ros.contract import PerceptionError

log = logging.getLogger(__name__)

REPORT = "report.html"
_PACKAGES = {"mcap": "mcap", "parquet": "pyarrow", "rrd": "rerun"}
_LINE_EVERY_S = 30.0
_MANIFEST_EVERY_S = 5.0

Pool = Callable[[Sequence[Unit]], Iterator[Outcome]]
"""Works on units and gives their outcomes."""


@dataclass(frozen=True)
class Result:
    """What a run has done."""

    outcomes: tuple[Outcome, ...]  # of all units of the run, those done before included
    skipped: int  # units that were done before

    @property
    def failed(self) -> int:
        """Number of units without results."""
        return sum(each.state == ERROR for each in self.outcomes)


def run_archive(units: Sequence[Unit], job: Job, out: Destination, pool: Pool) -> Result:
    """Do what is missing of the units, and write the manifest and the report.

    Units that failed before are tried again.

    Args:
        units: all units of the run.
        job: the settings, for a check of packages.
        out: where the results go; made if it is missing.
        pool: works on those that are not done.

    Raises:
        PerceptionError: the run cannot begin: another one works in the folder, or a package is
            missing.
        OSError: the folder cannot be written to.
    """
    check_packages(job)
    with out.opened() as folder:
        names = [f"{UNITS}/{unit.key}/{OUTCOME}" for unit in units if not unit.error]
        out.fetch(folder, [MANIFEST, *names])
        book = _Book(folder, units, out)
        missing = [unit for unit in units if not unit.error and unit.key not in book.rows]
        text = "%d units: %d are done, %d cannot be opened, %d to do"
        errors = sum(bool(unit.error) for unit in units)
        log.info(text, len(units), len(units) - len(missing) - errors, errors, len(missing))
        outcomes = pool(missing) if missing else iter(())
        book.write()  # while the workers' processes start; they look for it before their first unit
        progress = _Progress(missing)
        try:
            for outcome in outcomes:
                book.enter(outcome)
                progress.update(outcome)
        finally:  # also when the run is stopped
            progress.close()
            book.write()
        result = Result(tuple(book.rows.values()), len(units) - len(missing) - errors)
        out.fetch(folder, [f"{UNITS}/{name}" for name in files_shown(result.outcomes)])
        write_report(folder / REPORT, folder / UNITS, result.outcomes)
        out.publish(folder, REPORT)
    return result


def check_packages(job: Job) -> None:
    """Refuse formats whose packages are missing, before a thousand units fail for that.

    Raises:
        PerceptionError: one is missing.
    """
    for name in ("parquet", *job.formats):
        package = _PACKAGES.get(name)
        if package and importlib.util.find_spec(package) is None:
            what = "the manifest" if name not in job.formats else f"--format {name}"
            raise PerceptionError(f"{what} needs {package}: pip install 'thfm_ros[archive]'")


class _Book:
    """The outcomes of this run's units, and those of other runs in the manifest."""

    def __init__(self, folder: Path, units: Sequence[Unit], out: Destination) -> None:
        self._folder, self._path, self._out = folder, folder / MANIFEST, out
        self._others = read_manifest(self._path)
        self.rows: dict[str, Outcome] = {}
        # What was wrong with a bag before is not so any more, or is found out again.
        again = {unit.source for unit in units}
        for key, row in list(self._others.items()):
            if row.state == ERROR and row.source in again:
                del self._others[key]
        self._written_s = time.monotonic()
        for unit in units:
            self._others.pop(unit.key, None)
            if unit.error:
                self.enter(Outcome(unit.key, unit.source, unit.topic, ERROR, error=unit.error))
            elif done := finished_outcome(folder, unit):
                self.rows[unit.key] = done

    def enter(self, outcome: Outcome) -> None:
        self.rows[outcome.unit] = outcome
        if outcome.error:
            log.error("%s, %s: %s", outcome.source, outcome.topic or "no topic", outcome.error)
        if outcome.warning:
            log.warning("%s, %s: %s", outcome.source, outcome.topic, outcome.warning)
        if time.monotonic() - self._written_s > _MANIFEST_EVERY_S:
            self.write()

    def write(self) -> None:
        write_manifest(self._path, [*self._others.values(), *self.rows.values()])
        self._out.publish(self._folder, MANIFEST)
        self._written_s = time.monotonic()


class _Progress:
    """A bar on a terminal, else a line every 30 s."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._images = {unit.key: unit.images for unit in units}
        self._total, self._done = len(units), 0
        self._to_do = sum(self._images.values())
        self._frames = self._finished_images = 0
        self._start_s = time.monotonic()
        self._ending = threading.Event()
        self._bar = tqdm(total=self._to_do, unit="frame") if sys.stderr.isatty() else None
        if self._bar is None:  # a unit can take hours: the lines must not wait for one
            threading.Thread(target=self._log_lines, daemon=True).start()

    def update(self, outcome: Outcome) -> None:
        self._done += 1
        self._frames += outcome.frames
        self._finished_images += self._images.get(outcome.unit, 0)
        if self._bar is not None:
            self._bar.update(self._images.get(outcome.unit, 0))
            self._bar.set_postfix_str(f"{self._done} of {self._total} units")

    def close(self) -> None:
        self._ending.set()
        if self._bar is not None:
            self._bar.close()
        log.info("%s", self._line())

    def _log_lines(self) -> None:
        while not self._ending.wait(_LINE_EVERY_S):
            log.info("%s", self._line())

    def _line(self) -> str:
        passed_s = max(time.monotonic() - self._start_s, 1e-3)
        left = self._to_do - self._finished_images
        rate = self._finished_images / passed_s
        remaining = f", {left / rate:.0f} s remain" if left and rate else ""
        frames = f"{self._frames} frames, {self._frames / passed_s:.1f} frames/s"
        return f"{self._done} of {self._total} units, {frames}{remaining}"
