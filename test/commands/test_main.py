# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm` and its list of subcommands."""

import subprocess
import sys

import pytest

from thfm_ros.commands.main import COMMANDS, main


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: thfm {name}" in capsys.readouterr().out


def test_help_lists_every_command_and_an_unknown_one_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    with pytest.raises(SystemExit) as end:
        main(["percieve"])
    assert end.value.code == 2


def test_a_missing_package_of_a_command_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(COMMANDS, "demo", ("a_package_that_is_not_there", ""))
    assert main(["demo"]) == 2
    assert "`thfm demo` needs a_package_that_is_not_there" in caplog.text


def test_help_imports_neither_network_nor_ros() -> None:
    code = (
        "import sys; from thfm_ros.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'onnxruntime', 'rclpy', 'cv2'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
