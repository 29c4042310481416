"""The cache of built engines: what it reuses, what it refuses, and what it survives."""

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.engine.cache import KEEP, CacheError, EngineCache, default_folder
from thfm_ros.engine.manifest import EngineKey, manifest_from_json

KEY = EngineKey(
    engine="onnx",
    checkpoint="nano",
    weights_sha256="0" * 64,
    profile="128x128-dense",
    precision="float32",
    device="cpu",
    versions=(("onnxruntime", "1.31.1"), ("torch", "2.13.0")),
)


class Builder:
    """Counts how often it was asked."""

    def __init__(self, content: bytes = b"engine") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, path: Path) -> dict[str, str]:
        self.calls += 1
        path.write_bytes(self.content)
        return {"difference": "1e-6"}


def test_an_engine_is_built_once_and_then_found(tmp_path: Path) -> None:
    build = Builder()
    first = EngineCache(tmp_path).get(KEY, build)
    again = EngineCache(tmp_path).get(KEY, build)
    assert first == again
    assert first.read_bytes() == b"engine"
    assert build.calls == 1


def test_the_manifest_tells_what_was_built(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.get(KEY, Builder())
    (manifest,) = cache.entries()
    assert manifest.key == KEY
    assert manifest.bytes == len(b"engine")
    assert manifest.notes == {"difference": "1e-6"}
    assert manifest_from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "1" * 64},
        {"profile": "192x144-dense"},
        {"precision": "float16"},
        {"device": "NVIDIA Orin, SM 8.7"},
        {"versions": (("onnxruntime", "1.31.1"), ("torch", "2.14.0"))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_other_key_is_another_engine(tmp_path: Path, change: dict[str, Any]) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    cache.get(KEY, build)
    cache.get(dataclasses.replace(KEY, **change), build)
    assert build.calls == 2


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_of_files_are_harmless_whatever_the_checkpoint_is_called(a: str, b: str) -> None:
    stems = [dataclasses.replace(KEY, checkpoint=name).stem for name in (a, b)]
    assert all(stem == Path(stem).name and stem.isascii() for stem in stems)
    assert (stems[0] == stems[1]) == (a == b)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink], ids=lambda f: f.__name__)
def test_a_damaged_engine_is_built_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    path = cache.get(KEY, build)
    damage(path)
    assert cache.problem(KEY) is not None
    assert cache.get(KEY, build).read_bytes() == b"engine"
    assert build.calls == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"key": {}}', '{"key": 3}', "null"])
def test_a_damaged_manifest_means_a_new_build(tmp_path: Path, text: str) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    path = cache.get(KEY, build)
    path.with_suffix(".json").write_text(text)
    cache.get(KEY, build)
    assert build.calls == 2
    assert cache.problem(KEY) is None


def test_a_manifest_of_another_engine_under_this_name_is_not_believed(tmp_path: Path) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    path = cache.get(KEY, build)
    other = cache.get(dataclasses.replace(KEY, device="elsewhere"), build)
    shutil.copy(other.with_suffix(".json"), path.with_suffix(".json"))
    cache.get(KEY, build)
    assert build.calls == 3


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(path: Path) -> dict[str, str]:
        path.write_bytes(b"half")
        raise ValueError("no converter for aten.nonsense")

    with pytest.raises(ValueError, match="nonsense"):
        EngineCache(tmp_path).get(KEY, build)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_disk_that_fills_during_the_build_says_what_to_do(tmp_path: Path) -> None:
    def build(path: Path) -> dict[str, str]:
        path.symlink_to("/dev/full")  # the kernel's own full disk
        path.write_bytes(b"engine")
        return {}

    with pytest.raises(CacheError, match=r"full.*thfm engine clear.*engine\.cache_dir"):
        EngineCache(tmp_path).get(KEY, build)
    assert not EngineCache(tmp_path).entries()
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_full_disk_that_pytorch_reports_in_its_own_way_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(path: Path) -> dict[str, str]:
        nothing_free = (1 << 30, 1 << 30, 0)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(*nothing_free))
        raise RuntimeError("PytorchStreamWriter failed writing file data/3")

    with pytest.raises(CacheError, match="full"):
        EngineCache(tmp_path).get(KEY, build)


def test_a_disk_that_is_too_small_is_refused_before_the_work(tmp_path: Path) -> None:
    build = Builder()
    with pytest.raises(CacheError, match=r"needs about \d+ MB"):
        EngineCache(tmp_path).get(KEY, build, needs_bytes=1 << 60)
    assert build.calls == 0


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # Not by chmod: the tests may run as root, whom permissions do not stop.
    def mkdir(self: Path, **_: bool) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(CacheError, match=r"cannot be written.*engine\.cache_dir"):
        EngineCache(tmp_path / "engines").get(KEY, Builder())


def test_a_file_where_the_folder_should_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("")
    with pytest.raises(CacheError, match=r"engine\.cache_dir"):
        EngineCache(tmp_path / "engines" / "deeper").get(KEY, Builder())


def test_a_folder_that_was_filled_and_is_now_read_only_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    cache.get(KEY, build)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "write_text", "write_bytes", "unlink", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get(KEY, build).exists()
    assert build.calls == 1


# A second process that builds KEY slowly, telling through files how far it is.
SLOW = """
import sys, time
from pathlib import Path
from typing import Any
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.manifest import EngineKey
folder, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
def build(path):
    path.write_bytes(b"eng")
    (folder.parent / f"begun-{name}").touch()
    time.sleep(seconds)
    path.write_bytes(b"engine")
    return {"by": name}
EngineCache(folder).get(eval(sys.argv[4]), build)
"""


def another_process(folder: Path, name: str, seconds: float) -> "subprocess.Popen[bytes]":
    arguments = [str(folder), name, str(seconds), repr(KEY)]
    return subprocess.Popen([sys.executable, "-c", SLOW, *arguments])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the other process never got there"
        time.sleep(0.01)


def test_of_two_processes_one_builds_and_both_have_it(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    both = [another_process(folder, name, 0.3) for name in ("a", "b")]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    begun = list(tmp_path.glob("begun-*"))
    assert len(begun) == 1, "both built"
    (manifest,) = EngineCache(folder).entries()
    assert manifest.notes["by"] == begun[0].name.removeprefix("begun-")
    assert EngineCache(folder).problem(KEY) is None


def test_a_killed_build_leaves_no_engine_and_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    process = another_process(folder, "a", 60.0)
    wait_for((tmp_path / "begun-a").exists)
    cache, build = EngineCache(folder, lock_timeout_s=0.2), Builder()
    with pytest.raises(CacheError, match=r"Another process.*engine\.cache_dir"):
        cache.get(KEY, build)
    assert cache.clear() == 0, "what is being built is left alone"
    process.kill()
    process.wait(timeout=30)
    assert not cache.entries()
    assert cache.get(KEY, build).read_bytes() == b"engine"
    assert not list(folder.glob("*.tmp*"))


def test_yesterdays_engines_do_not_fill_the_disk(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    keys = [dataclasses.replace(KEY, weights_sha256=f"{i:064}") for i in range(KEEP + 1)]
    other = dataclasses.replace(KEY, profile="128x128-body")
    cache.get(other, Builder())
    for age, key in enumerate(keys[:KEEP]):
        path = cache.get(key, Builder())
        os.utime(path.with_suffix(".json"), (age, age))
    cache.get(keys[0], Builder())  # used just now, so keys[1] has rested longest
    cache.get(keys[KEEP], Builder())
    kept = {manifest.key for manifest in cache.entries()}
    assert kept == {other, keys[0], *keys[2:]}


def test_clear_removes_all_engines(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    path = cache.get(KEY, Builder())
    (tmp_path / f"{KEY.stem}.123.tmp.onnx").write_bytes(b"left over")
    assert cache.clear() >= len(b"engine") + len(b"left over")
    assert not path.exists()
    assert not cache.entries()


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "thfm_ros" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/not/allowed")
    monkeypatch.setenv("HOME", "/home/robot")
    assert default_folder() == Path("/home/robot/.cache/thfm_ros/engines")
    assert default_folder("/data/cache") == Path("/data/cache/engines")
