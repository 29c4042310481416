# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""people.parquet and frames.parquet, by Apache Arrow, compressed by zstd.

people.parquet has a row per person and frame. Unknown values are NaN in lists and null elsewhere:

    source       string      the film or bag
    camera       string      topic of the images; empty for films and images
    frame        int64       as in perception.npz
    stamp_ns     int64       stamp of the image, nanoseconds
    frame_id     string      tf frame of all 3D values: the camera's optical frame (REP-103)
    id           string      track id, five letters
    state        string      tentative, tracked, lost or predicted
    score        float32     0 to 1
    x_min, y_min, x_max, y_max   float32   bounding box, pixels
    root_x, root_y, root_z       float32   pelvis, metres; null without a calibration
    velocity_x, velocity_y, velocity_z     float32   of the pelvis, m/s
    measurement_age_s            float32   seconds since the person was last detected
    root_covariance, velocity_covariance   list of 6 float32   xx, xy, xz, yy, yz, zz
    keypoints2d  list of k lists of 3 float32   x, y in pixels, score
    keypoints3d  list of k lists of 3 float32   x, y, z in metres
    covariances  list of k lists of 6 float32   of keypoints3d, m^2

frames.parquet has a row per perceived frame, also where no person was found: source, camera, frame,
stamp_ns, frame_id, width, height (int32, pixels), metric (bool), people (int32), left_out (int32).
The names of the k keypoints are in the metadata of people.parquet, as JSON under "joint_names".
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from thfm_ros.contract import Body, Perception, PerceptionError
from thfm_ros.media.video import VideoFrame
from thfm_ros.offline.results.temporary_file import TemporaryFile
from thfm_ros.skeleton import JOINT_NAMES

_ROWS_PER_GROUP = 4096


class ParquetResults:
    """A `ResultWriter` of people.parquet and frames.parquet.

    Args:
        folder: of the files.
        source: what the results are of, for the column ``source``.
        camera: the topic, for the column ``camera``.

    Raises:
        PerceptionError: pyarrow is not installed.
    """

    def __init__(self, folder: Path, source: str, camera: str) -> None:
        self._named = {"source": source, "camera": camera}
        self._people = _Table(folder / "people.parquet", _people_schema())
        self._frames = _Table(folder / "frames.parquet", _frames_schema())

    def add(self, frame: VideoFrame, perception: Perception) -> None:
        """Append one frame."""
        here = {
            **self._named,
            "frame": frame.index,
            "stamp_ns": perception.stamp_ns,
            "frame_id": perception.frame_id,
        }
        for body in perception.bodies:
            self._people.append({**here, **_row_of(body)})
        self._frames.append(
            {
                **here,
                "width": perception.width,
                "height": perception.height,
                "metric": perception.intrinsics is not None,
                "people": len(perception.bodies),
                "left_out": perception.left_out,
            }
        )

    def close(self) -> None:
        """Write both files; without a frame none."""
        if self._frames.rows:
            self._people.close()
            self._frames.close()
        self.abandon()

    def abandon(self) -> None:
        """Write nothing."""
        self._people.abandon()
        self._frames.abandon()


class _Table:
    """One Parquet file, written in groups of rows."""

    def __init__(self, path: Path, schema: Any) -> None:
        _, parquet = _arrow()
        self._schema, self._waiting = schema, list[dict[str, Any]]()
        self._file = TemporaryFile(path)
        self._writer = parquet.ParquetWriter(self._file.temporary, schema, compression="zstd")
        self.rows = 0

    def append(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) == _ROWS_PER_GROUP:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()
        self._file.complete()

    def abandon(self) -> None:
        self._writer.close()
        self._file.abandon()

    def _write(self) -> None:
        arrow, _ = _arrow()
        if self._waiting:
            self._writer.write_table(arrow.Table.from_pylist(self._waiting, self._schema))
        self._waiting = []


def _row_of(body: Body) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "id": body.id,
        "state": body.state.value,
        "score": float(body.score),
        "measurement_age_s": float(body.measurement_age_s),
        "root_covariance": body.root_covariance_m2.tolist(),
        "velocity_covariance": body.velocity_covariance.tolist(),
        "keypoints2d": body.keypoints.tolist(),
        "keypoints3d": body.positions_m.tolist(),
        "covariances": body.covariances_m2.tolist(),
    }
    for names, values in (
        (("x_min", "y_min", "x_max", "y_max"), body.box),
        (("root_x", "root_y", "root_z"), body.root_m),
        (("velocity_x", "velocity_y", "velocity_z"), body.velocity_m_s),
    ):
        columns.update(zip(names, map(_or_null, values), strict=True))
    return columns


def _or_null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _common_fields() -> list[Any]:
    arrow, _ = _arrow()
    kinds = {"source": arrow.string(), "camera": arrow.string(), "frame": arrow.int64()}
    kinds |= {"stamp_ns": arrow.int64(), "frame_id": arrow.string()}
    return [arrow.field(name, kind) for name, kind in kinds.items()]


def _people_schema() -> Any:
    arrow, _ = _arrow()
    k, number = len(JOINT_NAMES), arrow.float32()

    def rows_of(length: int) -> Any:
        return arrow.list_(arrow.list_(number, length), k)

    scalars = "score x_min y_min x_max y_max root_x root_y root_z velocity_x velocity_y velocity_z"
    fields = [("id", arrow.string()), ("state", arrow.string())]
    fields += [(name, number) for name in (*scalars.split(), "measurement_age_s")]
    fields += [
        (name, arrow.list_(number, 6)) for name in ("root_covariance", "velocity_covariance")
    ]
    lengths = {"keypoints2d": 3, "keypoints3d": 3, "covariances": 6}
    fields += [(name, rows_of(length)) for name, length in lengths.items()]
    metadata = {"joint_names": json.dumps(JOINT_NAMES)}
    return arrow.schema([*_common_fields(), *(arrow.field(*each) for each in fields)], metadata)


def _frames_schema() -> Any:
    arrow, _ = _arrow()
    kinds = {"width": arrow.int32(), "height": arrow.int32(), "metric": arrow.bool_()}
    kinds |= {"people": arrow.int32(), "left_out": arrow.int32()}
    return arrow.schema([*_common_fields(), *(arrow.field(*each) for each in kinds.items())])


def _arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PerceptionError(
            "--format parquet needs pyarrow: pip install 'thfm_ros[archive]'"
        ) from error
    return pyarrow, pyarrow.parquet
