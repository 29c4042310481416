# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rules of the layout: which way imports point, how long files and functions may be."""

import ast
import functools
import graphlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "thfm_ros"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name not in {"msg", "srv"})

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"contract", "skeleton"}),
    frozenset(
        {
            "config",
            "config_follow",
            "config_node",
            "config_option",
            "config_text",
            "geometry",
            "lens",
            "size_error",
            "user_folders",
        }
    ),
    frozenset({"camera", "media", "metrics", "model"}),
    frozenset({"engine", "bags"}),
    frozenset({"perception", "fusion", "posture", "result_messages"}),
    frozenset({"pipeline", "genception", "scene_pair"}),
    frozenset({"loading"}),
    frozenset({"offline"}),
    frozenset({"ros", "synth", "training", "finetuning", "evaluation", "gpu_report", "archive"}),
    frozenset({"commands"}),
)
"""From the bottom up; a module imports only from its own layer and those below."""

SYNTH_LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"primitives", "pack", "dataset"}),
    frozenset({"people", "shading"}),
    frozenset({"motion"}),
    frozenset({"scene"}),
    frozenset({"rendering"}),
    frozenset(
        {
            "baking",
            "backgrounds",
            "camera_rig",
            "clip",
            "generate",
            "scenario_films",
            "sheet",
            "crossings",
            "visits",
            "walks",
        }
    ),
)
"""The same within thfm_ros/synth."""

TRAINING_SIDE = frozenset({"synth", "training", "finetuning", "evaluation", "gpu_report"})
ROS = frozenset(
    {"rclpy", "rcl_interfaces", "builtin_interfaces", "std_msgs", "std_srvs", "sensor_msgs"}
    | {"geometry_msgs", "diagnostic_msgs", "visualization_msgs", "lifecycle_msgs", "tf2_ros"}
    | {"tf2_msgs", "hri_msgs", "people_msgs", "vision_msgs", "cv_bridge", "sensor_msgs_py"}
    | {"ament_index_python", "launch", "launch_ros"}
)
HEAVY = frozenset({"torch", "onnx", "onnxruntime", "diffusers", "transformers", "peft"})
NETWORKS = frozenset({"model", "engine", "genception", "ros", "commands"}) | TRAINING_SIDE
"""Parts that may import HEAVY libraries; the rest needs only numpy and OpenCV."""
VAGUE = frozenset({"utils", "util", "helpers", "common", "misc", "registry", "factory"})
PROGRAMS = frozenset({"commands", "ros/demo", "ros/benchmark"})
"""Folders of command-line programs, which may print."""


def name_of(path: Path) -> str:
    """The folder or module right below the package: "engine", "pipeline" ..."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_in_synth(path: Path) -> str:
    """The part of thfm_ros/synth that a file there belongs to."""
    return path.relative_to(PACKAGE / "synth").with_suffix("").parts[0]


def reachable(layers: tuple[frozenset[str], ...], name: str) -> frozenset[str]:
    """What ``name`` may import: its own layer and those below; nothing if it has none."""
    for number, names in enumerate(layers, start=1):
        if name in names:
            return frozenset().union(*layers[:number])
    return frozenset()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path.name}: imports are absolute"
            yield node.module
            if node.module == "thfm_ros":
                yield from (f"thfm_ros.{alias.name}" for alias in node.names)


def outer_imports(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def own_import_paths(path: Path) -> list[list[str]]:
    names = (name.split(".") for name in imports(path))
    return [parts for parts in names if parts[0] == "thfm_ros" and len(parts) > 1]


def own_imports(path: Path) -> set[str]:
    return {parts[1] for parts in own_import_paths(path)}


def broken_by(rule: Callable[[Path], object]) -> dict[str, object]:
    """What breaks the rule, by file; empty if nothing does."""
    found = {str(path.relative_to(PACKAGE)): rule(path) for path in MODULES}
    return {name: broken for name, broken in found.items() if broken}


def test_every_module_has_a_layer_and_every_layer_a_module() -> None:
    placed = frozenset().union(*LAYERS)
    assert {name_of(path) for path in MODULES} - {"__init__"} == placed
    in_synth = {name_in_synth(path) for path in MODULES if name_of(path) == "synth"}
    assert in_synth - {"__init__"} == frozenset().union(*SYNTH_LAYERS)


def test_imports_point_downwards() -> None:
    def upward(path: Path) -> set[str]:
        allowed = reachable(LAYERS, name_of(path))
        return own_imports(path) - allowed - {"__version__", "msg", "srv"}

    def upward_in_synth(path: Path) -> set[str]:
        if name_of(path) != "synth":
            return set()
        used = {parts[2] for parts in own_import_paths(path) if parts[1] == "synth" and parts[2:]}
        return used - reachable(SYNTH_LAYERS, name_in_synth(path))

    assert broken_by(upward) == {}
    assert broken_by(upward_in_synth) == {}


def test_no_two_parts_import_each_other_in_a_circle() -> None:
    uses: dict[str, set[str]] = {}
    for path in MODULES:
        parts = own_imports(path) - {"__version__", "msg", "srv", name_of(path)}
        uses.setdefault(name_of(path), set()).update(parts)
    uses.pop("__init__")
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"circular imports: {' <- '.join(error.args[1])}")


def test_only_the_ros_folder_imports_ros() -> None:
    def ros(path: Path) -> set[str]:
        if name_of(path) == "ros":
            return set()
        return outer_imports(path) & ROS | own_imports(path) & {"msg", "srv"}

    assert broken_by(ros) == {}, "move it into thfm_ros/ros/"


def test_ros_and_the_training_side_never_import_each_other() -> None:
    def across(path: Path) -> set[str]:
        name = name_of(path)
        others = TRAINING_SIDE if name == "ros" else {"ros"} if name in TRAINING_SIDE else set()
        return own_imports(path) & others

    assert broken_by(across) == {}


def test_the_core_needs_no_network_library() -> None:
    assert broken_by(lambda p: name_of(p) not in NETWORKS and HEAVY & outer_imports(p)) == {}


def test_no_module_is_longer_than_300_lines() -> None:
    def too_long(path: Path) -> int:
        text = path.read_text(encoding="utf-8").splitlines()
        lines = sum(not line.startswith("# SPDX-") for line in text)
        return lines if lines > 300 else 0

    assert broken_by(too_long) == {}, "split by what changes together"


def test_no_function_is_longer_than_40_lines() -> None:
    def too_long(path: Path) -> dict[str, int]:
        functions = [
            node
            for node in ast.walk(tree(path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        lengths = {node.name: _body_lines(node) for node in functions}
        return {name: lines for name, lines in lengths.items() if lines > 40}

    assert broken_by(too_long) == {}


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_every_module_has_a_docstring() -> None:
    assert broken_by(lambda path: ast.get_docstring(tree(path)) is None) == {}


def test_no_module_has_a_vague_name_or_that_of_a_standard_one() -> None:
    def badly_named(path: Path) -> bool:
        # Imports are absolute, so only the names right under the package could be confusing.
        standard = path.parent == PACKAGE and path.stem in sys.stdlib_module_names
        return path.stem in VAGUE or standard

    assert broken_by(badly_named) == {}


def test_modules_log_and_only_programs_print() -> None:
    def prints(path: Path) -> bool:
        calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        folder = path.parent.relative_to(PACKAGE).as_posix()
        return "print" in names and folder not in PROGRAMS

    assert broken_by(prints) == {}


def test_no_path_of_one_machine_is_written_down() -> None:
    pattern = re.compile(r"[\"'](/home/|/root/|/work/|/tmp/)")
    assert broken_by(lambda path: pattern.findall(path.read_text(encoding="utf-8"))) == {}
