# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""docs/full_size.md: its commands parse, its program runs, its costs are up to date."""

import argparse
import re
import shlex
from pathlib import Path

import genception_fixtures as reference
import pytest

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.commands import calibrate_tokens, engine, perceive
from thfm_ros.genception import flops, import_weights, prompt_encoder
from thfm_ros.genception.import_weights import import_release
from thfm_ros.genception.release_folder import find_release

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "full_size.md").read_text(encoding="utf-8")
COSTS = (DOCS / "full_size_cost.md").read_text(encoding="utf-8")
COMMANDS = {
    "import": import_weights,
    "prompt": prompt_encoder,
    "engine": engine,
    "calibrate-tokens": calibrate_tokens,
    "perceive": perceive,
}


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_command_on_the_page_parses() -> None:
    lines = [line for block in code_blocks("bash") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("thfm ")]
    assert {words[1] for words in commands} == set(COMMANDS)
    for words in commands:
        parser = argparse.ArgumentParser()
        COMMANDS[words[1]].add_arguments(parser)
        parser.parse_args(words[2:])


def test_program_on_the_page_runs_on_a_tiny_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference.write_checkpoint_folder(tmp_path)
    import_release(find_release(tmp_path), tmp_path / "tiny.safetensors")
    (program,) = code_blocks("python")
    for documented, tested in (
        ('"genception-1.3b.safetensors"', repr(str(tmp_path / "tiny.safetensors"))),
        ('device="cuda"', 'device="cpu"'),
        ("width=832, height=480", "width=32, height=16"),
    ):
        assert documented in program
        program = program.replace(documented, tested)
    exec(compile(program, "full_size.md", "exec"), {})
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("0 ")
    assert last == str(29 * 33_000_000)


def test_launch_command_on_the_page_uses_existing_arguments(root: Path) -> None:
    (command,) = re.findall(r"ros2 launch thfm_ros (\S+) ((?:.*\\\n)?.*)", PAGE)
    launch = (root / "launch" / command[0]).read_text(encoding="utf-8")
    arguments = re.findall(r"(\w+):=", command[1])
    assert arguments == ["checkpoint", "image", "camera_info"]
    assert all(f'"{name}": (' in launch for name in arguments)


def test_costs_on_the_page_match_the_count() -> None:
    row = re.search(r"1\.3b, 448x256x9 \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", COSTS)
    assert row
    config = flops.SIZES["1.3b"]
    costs = flops.count_costs(flops.empty_subgraphs(config, {}, flops.PROFILES[-1]))
    assert [f"{cost.tflop:.1f}" for cost in costs] == list(row.groups())
