# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The files of a report: gpu.json and gpu.md, rewritten after every step."""

import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from thfm_ros import __version__
from thfm_ros.contract import PerceptionError
from thfm_ros.gpu_report.markdown import markdown
from thfm_ros.gpu_report.plan import Step
from thfm_ros.gpu_report.step_context import reason_of
from thfm_ros.gpu_report.supervisor import StepResult

log = logging.getLogger(__name__)

FORMAT = 1
"""Of gpu.json; raised when a reader of the old one would misread the new one."""


class Report:
    """The results of all steps, and the folder that they are written to.

    A report on a stand-in device says so in gpu.json and has no gpu.md.
    """

    def __init__(
        self, folder: Path, steps: Sequence[Step], *, budget_s: float, stand_in: bool
    ) -> None:
        self.folder, self.stand_in = folder, stand_in
        self.results = {step.name: StepResult(step.title, limit_s=step.limit_s) for step in steps}
        self._created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._budget_s = budget_s
        self._seconds: float | None = None

    def begin(self) -> None:
        """Make the folder, and keep an earlier report in it under another name.

        Raises:
            PerceptionError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._keep_earlier()
            self.save()
        except OSError as error:
            raise PerceptionError(
                f"{self.folder} cannot be written ({error.strerror or error}). Give another folder "
                "with --out."
            ) from error

    def _keep_earlier(self) -> None:
        earlier = self.folder / "gpu.json"
        if not earlier.exists():
            return
        modified = datetime.fromtimestamp(earlier.stat().st_mtime, timezone.utc)
        stem = name = f"gpu-{modified:%Y%m%dT%H%M%S}"
        number = 1
        while (self.folder / f"{name}.json").exists():
            number += 1
            name = f"{stem}-{number}"
        for suffix in (".json", ".md"):
            if (self.folder / f"gpu{suffix}").exists():
                (self.folder / f"gpu{suffix}").replace(self.folder / f"{name}{suffix}")

    def finish(self, seconds: float) -> None:
        """Write the complete report."""
        self._seconds = round(seconds, 1)
        self.save()

    def save(self) -> None:
        """Write what is known so far, each file atomically."""
        values = self.values()
        _write(self.folder / "gpu.json", json.dumps(values, indent=1, allow_nan=False) + "\n")
        if not self.stand_in:
            _write(self.folder / "gpu.md", _page(values))

    def files(self) -> list[Path]:
        """The files that `save` writes."""
        names = ("gpu.json",) if self.stand_in else ("gpu.json", "gpu.md")
        return [self.folder / name for name in names]

    def values(self) -> dict[str, Any]:
        """The content of gpu.json."""
        return {
            "format": FORMAT,
            "stand_in": self.stand_in,
            "created": self._created,
            "thfm_ros": __version__,
            "complete": self._seconds is not None,
            "seconds": self._seconds,
            "budget_s": self._budget_s,
            "steps": {name: dataclasses.asdict(each) for name, each in self.results.items()},
        }

    def failures(self) -> list[str]:
        """Names of the steps that failed, as a whole or in a part, or differ from the CPU."""
        return [name for name, result in self.results.items() if _has_failed(result)]


def _has_failed(result: StepResult) -> bool:
    parts = (record for record in result.records if "failed" in record)
    different = (record for record in result.records if record.get("agrees") is False)
    return result.status == "failed" or any(parts) or any(different)


def _page(values: dict[str, Any]) -> str:
    """gpu.md; an error in making it must not end a run on a GPU that is lent for minutes."""
    try:
        return markdown(values)
    except Exception as error:
        log.exception("gpu.md cannot be made")
        return f"gpu.md could not be made ({reason_of(error)}); gpu.json has all results.\n"


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
