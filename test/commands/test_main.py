import subprocess
import sys

import pytest

from thfm_ros.commands import main as cli


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"usage: thfm {name}" in capsys.readouterr().out


def test_help_names_every_command_and_a_wrong_one_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in cli.COMMANDS)
    with pytest.raises(SystemExit) as end:
        cli.main(["percieve"])
    assert end.value.code == 2


def test_a_command_whose_packages_are_missing_says_which(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "demo", ("a_package_that_is_not_there", ""))
    assert cli.main(["demo"]) == 2
    assert "`thfm demo` needs a_package_that_is_not_there" in caplog.text


def test_help_loads_neither_network_nor_ros() -> None:
    code = (
        "import sys; from thfm_ros.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'onnxruntime', 'rclpy', 'cv2'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
