# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What an archive run does with every unit: settings, and the hash that names the results."""

import hashlib
import json
from dataclasses import asdict, dataclass

from thfm_ros import __version__
from thfm_ros.config import Value
from thfm_ros.engine.checkpoint import find_checkpoint


@dataclass(frozen=True)
class Job:
    """The settings of a run; all of them change the names of the results.

    Attributes:
        settings: parameters that are not at their defaults.
        tasks: names; empty: all of the checkpoint.
        formats: of the results.
        info_topic: of the calibrations; empty: beside the images.
        received_times: times of recording instead of the stamps of the headers.
        hfov_deg: field of view instead of a CameraInfo.
        fx: focal length instead of a CameraInfo.
        keep: topics that are copied into MCAP files.
        max_frames: of each unit; 0: no limit.
    """

    settings: tuple[tuple[str, Value], ...]
    tasks: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("npz",)
    info_topic: str = ""
    received_times: bool = False
    hfov_deg: float | None = None
    fx: float | None = None
    keep: tuple[str, ...] = ()
    max_frames: int = 0

    def digest(self) -> str:
        """Hash of the settings, of the weights and of this package's version.

        Raises:
            PerceptionError: there is no such checkpoint.
        """
        checkpoint = find_checkpoint(str(dict(self.settings)["engine.checkpoint"]))
        values = {**asdict(self), "version": __version__, "weights": checkpoint.sha256()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
