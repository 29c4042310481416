# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What PRIVACY.md and SECURITY.md promise: no connection to the internet, no pickles."""

import ast
import socket
from pathlib import Path

import pytest

from thfm_ros.contract import PerceptionError
from thfm_ros.media.video import Video

NETWORK = {
    *("socket", "socketserver", "ssl", "http", "ftplib", "smtplib", "imaplib", "xmlrpc"),
    *("requests", "urllib3", "httpx", "aiohttp", "websockets", "huggingface_hub", "boto3"),
}
"""Modules that open connections. ROS 2 opens its own within the domain; so does rerun's viewer."""
PICKLES = {"cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
OWN_FILES = {
    "thfm_ros/training/trainer.py",  # the state of an interrupted training run
    "thfm_ros/gpu_report/nano_runtimes.py",  # a step that the same process has exported
}
"""Load pickles that the same command has written; SECURITY.md says so."""


def trees(root: Path) -> list[tuple[str, ast.Module]]:
    folders = (root / "thfm_ros", root / "launch")
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return [
        (path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths
    ]


def imported(tree: ast.Module) -> set[str]:
    """Full names of imported modules."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """Calls of a function of this name, of any module."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [each for each in found if ast.unparse(each.func).split(".")[-1] == name]


def option_of(call: ast.Call, name: str) -> str:
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), "")


def test_no_module_of_the_package_opens_a_connection(root: Path) -> None:
    for file, tree in trees(root):
        names = imported(tree)
        assert not {name.partition(".")[0] for name in names} & NETWORK, file
        assert not {name for name in names if name.startswith("urllib.request")}, file


PLAYLISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{url}'\n",
    "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9 RTP/AVP 26\n",
    "dash.mpd": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
}
"""Files that make FFmpeg open other addresses, where it may."""


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_film_that_is_a_playlist_opens_no_connection(tmp_path: Path, name: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/film.mp4"
        (tmp_path / name).write_text(PLAYLISTS[name].format(url=url), "utf-8")
        with pytest.raises(PerceptionError):
            list(Video(tmp_path / name))
        with pytest.raises(BlockingIOError):  # no connection waits
            server.accept()


def test_models_and_tokenizers_are_read_from_files_only(root: Path) -> None:
    for file, tree in trees(root):
        for call in calls(tree, "from_pretrained"):
            assert option_of(call, "local_files_only") == "True", f"{file}:{call.lineno}"
        assert not calls(tree, "hf_hub_download") and not calls(tree, "load_state_dict_from_url")


def test_no_pickle_is_read(root: Path) -> None:
    for file, tree in trees(root):
        assert not {name.partition(".")[0] for name in imported(tree)} & PICKLES, file
        for name in ("load", "loads", "Unpickler"):  # pickle's exceptions may be imported
            assert not [c for c in calls(tree, name) if ast.unparse(c.func).startswith("pickle.")]
        for call in calls(tree, "load"):
            function = ast.unparse(call.func)
            if function == "torch.load" and file not in OWN_FILES:
                assert option_of(call, "weights_only") == "True", f"{file}:{call.lineno}"
            if function == "np.load":
                assert option_of(call, "allow_pickle") in ("", "False"), f"{file}:{call.lineno}"
            if function == "yaml.load":
                assert "Loader" in ast.unparse(call) and "Unsafe" not in ast.unparse(call), file


def test_every_source_file_names_its_licence_and_its_holder(root: Path) -> None:
    header = [
        "# SPDX-License-Identifier: Apache-2.0",
        "# SPDX-FileCopyrightText: The thfm_ros authors",
    ]
    folders = ("thfm_ros", "test", "examples", "launch", "scripts")
    paths = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    paths += [*root.glob("*.sh"), root / "setup.py", root / ".ci" / "run"]
    missing = []
    for path in paths:
        is_script = path.suffix == "" and path.read_bytes()[:2] == b"#!"
        generated = {"msg", "srv"} & set(path.parts)
        if (path.suffix not in {".py", ".sh"} and not is_script) or generated:
            continue
        lines = path.read_text("utf-8").splitlines()
        first = int(lines[:1] != [] and lines[0].startswith("#!"))
        if lines[first : first + 2] != header:
            missing.append(path.relative_to(root).as_posix())
    assert not missing, f"begin these with {header}"
