#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Compare nano's step on this x86 processor and on an emulated one without AVX-512 and VNNI.

    apt-get install qemu-user
    python scripts/int8_under_qemu.py

The graphs in float32, in int8 with 8-bit weights and with 7-bit ones run here and under
`qemu-x86_64 -cpu Haswell`. Printed are differences relative to an output's magnitude, as
engine/verify.py has them. Exit code 1: what the node uses without VNNI, float32 and 7-bit weights,
differs between the two processors. 8-bit weights overflow there, which is why they are not used.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NoReturn
from unittest import mock

import numpy as np

CPU, CROPS, SAME = "Haswell", 3, 1e-4
FP32 = "fp32"


def graphs() -> dict[str, Path]:
    """The graph with all outputs in each precision; they are made first if needed."""
    from thfm_ros.config import EngineConfig
    from thfm_ros.engine import int8, int8_engine
    from thfm_ros.engine.cache import EngineCache, default_folder
    from thfm_ros.engine.checkpoint import find_checkpoint
    from thfm_ros.engine.onnx_engine import OnnxExport
    from thfm_ros.engine.select import load_engine

    checkpoint, cache = find_checkpoint("nano"), EngineCache(default_folder(""))
    load_engine(checkpoint, EngineConfig(kind="onnx", precision="fp32"))

    def reference() -> NoReturn:
        raise AssertionError("the float32 graph is in the cache")

    export = OnnxExport(checkpoint.card, checkpoint.sha256(), "dense", 1, reference)
    found = {FP32: export.path(cache)}
    for precision in (int8.INT8, int8.INT8_7_BITS):
        with (
            mock.patch.object(int8_engine, "int8_precision", partial(str, precision)),
            mock.patch.object(int8_engine, "MAX_TIME_RATIO", float("inf")),
        ):
            found[precision] = int8_engine.Int8Export(export).path(cache)
    return found


def write_inputs(path: Path) -> None:
    """Inputs of the first steps of some streams."""
    from thfm_ros.engine.checkpoint import find_checkpoint
    from thfm_ros.engine.graph_engine import token_count
    from thfm_ros.engine.int8 import calibration_crops
    from thfm_ros.engine.stream import StepTables, cue_of

    card = find_checkpoint("nano").card
    tables = StepTables(token_count(card.crop_size, card), card.window)
    crops = calibration_crops(card.crop_size)
    few = np.stack(crops[:: len(crops) // CROPS][:CROPS])
    first = (cue_of(None), tables.time_rotation(0), tables.attention_mask(0))
    np.savez(path, few, *first)


def run(graph: str, inputs: str, outputs: str) -> None:
    """Run a graph on these inputs; needs numpy and ONNX Runtime only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    with np.load(inputs) as stored:
        crops, *first = stored.values()
    nodes = session.get_inputs()
    past = [np.zeros(each.shape, np.float32) for each in nodes[1 + len(first) :]]
    names = [each.name for each in nodes]
    steps = [
        session.run(None, dict(zip(names, (crop, *first, *past), strict=True))) for crop in crops
    ]
    np.savez(outputs, *[np.stack(each) for each in zip(*steps, strict=True)])


def difference(a: Path, b: Path, quantile: float = 1.0) -> float:
    """The largest |a - b| / max(1, max |b| of the crop) of an output, of that share of its values.

    The first axis of each array are the crops.
    """
    errors = []
    with np.load(a) as own, np.load(b) as other:
        for name in own.files:
            expected = np.abs(other[name])
            magnitude = expected.max(axis=tuple(range(1, expected.ndim)), keepdims=True)
            errors.append(np.abs(own[name] - other[name]) / np.maximum(magnitude, 1))
    return max(float(np.quantile(each, quantile, method="higher")) for each in errors)


def main() -> int:
    """Run all graphs on both processors and print a table."""
    folder = Path(tempfile.mkdtemp())
    inputs = folder / "inputs.npz"
    write_inputs(inputs)
    libraries = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": libraries}
    rows, same = [], True
    for name, graph in graphs().items():
        outputs = {cpu: folder / f"{name} {cpu}.npz" for cpu in ("here", CPU)}
        for cpu, path in outputs.items():
            emulator = [] if cpu == "here" else ["qemu-x86_64", "-cpu", CPU]
            command = [*emulator, os.path.realpath(sys.executable), __file__]
            command += [str(graph), str(inputs), str(path)]
            subprocess.run(command, env=environment, check=True)
        between = difference(outputs[CPU], outputs["here"])
        of_fp32 = [difference(path, folder / f"{FP32} here.npz", 0.95) for path in outputs.values()]
        rows.append(f"| {name} | {between:.1e} | {of_fp32[0]:.2f} | {of_fp32[1]:.2f} |")
        same &= between <= SAME or name == "int8"
    head = f"| | between here and {CPU} | of fp32, here | of fp32, {CPU} |\n|---|---|---|---|\n"
    sys.stdout.write(head + "\n".join(rows) + "\n")
    return 0 if same else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*sys.argv[1:])
        sys.exit()
    sys.exit(main())
