# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The cache of built engines: reuse, verification, and robustness against interrupted builds."""

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
    """Counts its calls."""

    def __init__(self, content: bytes = b"engine") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, path: Path) -> dict[str, str]:
        self.calls += 1
        path.write_bytes(self.content)
        return {"difference": "1e-6"}


def test_an_engine_is_built_once_and_then_reused(tmp_path: Path) -> None:
    build = Builder()
    first = EngineCache(tmp_path).get(KEY, build)
    again = EngineCache(tmp_path).get(KEY, build)
    assert first == again
    assert first.read_bytes() == b"engine"
    assert build.calls == 1


def test_the_manifest_describes_the_entry(tmp_path: Path) -> None:
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
def test_another_key_is_another_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    cache.get(KEY, build)
    cache.get(dataclasses.replace(KEY, **change), build)
    assert build.calls == 2


@given(st.text(max_size=20), st.text(max_size=20))
def test_file_names_are_valid_for_any_checkpoint_name(a: str, b: str) -> None:
    stems = [dataclasses.replace(KEY, checkpoint=name).stem for name in (a, b)]
    assert all(stem == Path(stem).name and stem.isascii() for stem in stems)
    assert (stems[0] == stems[1]) == (a == b)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip_bit, Path.unlink], ids=lambda f: f.__name__)
@pytest.mark.fault("cache", "an engine in the cache is damaged")
def test_a_corrupted_engine_is_rebuilt(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    path = cache.get(KEY, build)
    damage(path)
    assert cache.problem(KEY) is not None
    assert cache.get(KEY, build).read_bytes() == b"engine"
    assert build.calls == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"key": {}}', '{"key": 3}', "null"])
@pytest.mark.fault("cache", "a manifest in the cache is damaged")
def test_an_entry_with_a_corrupted_manifest_is_rebuilt(tmp_path: Path, text: str) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    path = cache.get(KEY, build)
    path.with_suffix(".json").write_text(text)
    cache.get(KEY, build)
    assert build.calls == 2
    assert cache.problem(KEY) is None


@pytest.mark.fault("cache", "a manifest of another engine")
def test_an_entry_with_the_manifest_of_another_engine_is_rebuilt(tmp_path: Path) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    path = cache.get(KEY, build)
    other = cache.get(dataclasses.replace(KEY, device="elsewhere"), build)
    shutil.copy(other.with_suffix(".json"), path.with_suffix(".json"))
    cache.get(KEY, build)
    assert build.calls == 3


@pytest.mark.fault("cache", "a build fails")
def test_a_failed_build_leaves_no_entry(tmp_path: Path) -> None:
    def build(path: Path) -> dict[str, str]:
        path.write_bytes(b"half")
        raise ValueError("no converter for aten.nonsense")

    with pytest.raises(ValueError, match="nonsense"):
        EngineCache(tmp_path).get(KEY, build)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.fault("disk", "the disk is full while an engine is built")
def test_a_full_disk_during_the_build_is_reported(tmp_path: Path) -> None:
    def build(path: Path) -> dict[str, str]:
        path.symlink_to("/dev/full")  # a device on which every write fails with ENOSPC
        path.write_bytes(b"engine")
        return {}

    with pytest.raises(CacheError, match=r"full.*thfm engine clear.*engine\.cache_dir"):
        EngineCache(tmp_path).get(KEY, build)
    assert not EngineCache(tmp_path).entries()
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_full_disk_reported_by_pytorch_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(path: Path) -> dict[str, str]:
        usage = shutil._ntuple_diskusage(1 << 30, 1 << 30, 0)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        raise RuntimeError("PytorchStreamWriter failed writing file data/3")

    with pytest.raises(CacheError, match="full"):
        EngineCache(tmp_path).get(KEY, build)


@pytest.mark.fault("disk", "too little space for an engine")
def test_insufficient_disk_space_is_reported_before_the_build(tmp_path: Path) -> None:
    build = Builder()
    with pytest.raises(CacheError, match=r"needs about \d+ MB"):
        EngineCache(tmp_path).get(KEY, build, needs_bytes=1 << 60)
    assert build.calls == 0


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
@pytest.mark.fault("disk", "the folder of the cache cannot be written")
def test_a_folder_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # Not by chmod: the tests may run as root, for which permissions are not checked.
    def mkdir(self: Path, **_: bool) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(CacheError, match=r"cannot be written.*engine\.cache_dir"):
        EngineCache(tmp_path / "engines").get(KEY, Builder())


def test_a_file_in_the_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("")
    with pytest.raises(CacheError, match=r"engine\.cache_dir"):
        EngineCache(tmp_path / "engines" / "deeper").get(KEY, Builder())


def test_a_read_only_cache_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    cache.get(KEY, build)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "write_text", "write_bytes", "unlink", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get(KEY, build).exists()
    assert build.calls == 1


# A second process that builds KEY slowly, and creates a file when the build begins.
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


def start_build(folder: Path, name: str, seconds: float) -> "subprocess.Popen[bytes]":
    arguments = [str(folder), name, str(seconds), repr(KEY)]
    return subprocess.Popen([sys.executable, "-c", SLOW, *arguments])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "timeout while waiting for the other process"
        time.sleep(0.01)


@pytest.mark.fault("cache", "two processes build at once")
def test_of_two_concurrent_processes_one_builds(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    both = [start_build(folder, name, 0.3) for name in ("a", "b")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    begun = list(tmp_path.glob("begun-*"))
    assert len(begun) == 1, "both processes built the engine"
    (manifest,) = EngineCache(folder).entries()
    assert manifest.notes["by"] == begun[0].name.removeprefix("begun-")
    assert EngineCache(folder).problem(KEY) is None


@pytest.mark.fault("cache", "a build is killed (SIGKILL)")
def test_a_killed_build_leaves_no_entry_and_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "engines"
    process = start_build(folder, "a", 3600.0)
    wait_for((tmp_path / "begun-a").exists)
    cache, build = EngineCache(folder, lock_timeout_s=0.2), Builder()
    with pytest.raises(CacheError, match=r"Another process.*engine\.cache_dir"):
        cache.get(KEY, build)
    assert cache.clear() == 0, "an entry that is being built must not be removed"
    process.kill()
    process.wait(timeout=120)
    assert not cache.entries()
    assert cache.get(KEY, build).read_bytes() == b"engine"
    assert not list(folder.glob("*.tmp*"))


def test_the_least_recently_used_entries_are_removed(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    keys = [dataclasses.replace(KEY, weights_sha256=f"{i:064}") for i in range(KEEP + 1)]
    other = dataclasses.replace(KEY, profile="128x128-body")
    cache.get(other, Builder())
    for age, key in enumerate(keys[:KEEP]):
        path = cache.get(key, Builder())
        os.utime(path.with_suffix(".json"), (age, age))
    cache.get(keys[0], Builder())  # used just now: keys[1] is the least recently used
    cache.get(keys[KEEP], Builder())
    kept = {manifest.key for manifest in cache.entries()}
    assert kept == {other, keys[0], *keys[2:]}


def test_clear_removes_all_entries(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    path = cache.get(KEY, Builder())
    (tmp_path / f"{KEY.stem}.123.tmp.onnx").write_bytes(b"leftover")
    assert cache.clear() >= len(b"engine") + len(b"leftover")
    assert not path.exists()
    assert not cache.entries()


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "thfm_ros" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/not/allowed")
    monkeypatch.setenv("HOME", "/home/robot")
    assert default_folder() == Path("/home/robot/.cache/thfm_ros/engines")
    assert default_folder("/data/cache") == Path("/data/cache/engines")
