# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A cached engine is used only if manifest and file are what was built; else it is built again.

Half of the inputs are a valid entry with a few changes. With THFM_FUZZ_EXAMPLES=20000 that many
new ones are tried per test.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import VALUES, changed_documents
from mutated_bytes import bounded_time, mutated, refused_or
from property_tests import FUZZ_EXAMPLES, fuzz

from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.manifest import EngineKey, Manifest, manifest_from_json

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)

CONTENT = bytes(range(200))
KEY = EngineKey(
    engine="onnx",
    checkpoint="nano",
    weights_sha256="ab" * 32,
    profile="128x128-dense",
    precision="float32",
    device="cpu",
    versions=(("onnxruntime", "1.20"), ("torch", "2.5")),
)
ENTRY = Manifest(
    key=KEY,
    created="2026-01-01T00:00:00+00:00",
    build_s=1.5,
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    notes={"a": "b"},
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("cache"))


def build(path: Path) -> dict[str, str]:
    path.write_bytes(CONTENT)
    return {"note": "built"}


@given(
    manifest=mutated([ENTRY.to_json().encode()])
    | changed_documents(dataclasses.asdict(ENTRY)).map(lambda values: json.dumps(values).encode())
    | st.binary(max_size=50)
    | st.just(ENTRY.to_json().encode()),
    content=mutated([CONTENT]) | st.just(CONTENT),
)
@fuzz(examples=40)
def test_any_changed_entry_is_used_as_it_was_built_or_built_again(
    cache: EngineCache, manifest: bytes, content: bytes
) -> None:
    path = cache.folder / KEY.file_name
    path.write_bytes(content)
    path.with_suffix(".json").write_bytes(manifest)
    with bounded_time():
        cache.entries()
        found = cache.get(KEY, build)
    assert found == path and found.parent == cache.folder
    assert found.read_bytes() == CONTENT


@given(text=st.text(max_size=50) | changed_documents(dataclasses.asdict(ENTRY)).map(json.dumps))
@fuzz(examples=100)
def test_any_text_is_a_manifest_of_the_right_types_or_refused(text: str) -> None:
    manifest = refused_or(lambda: manifest_from_json(text), ValueError)
    if manifest is not None:
        assert manifest_from_json(manifest.to_json()) == manifest
        assert {type(manifest.created), type(manifest.sha256)} == {str}
        assert type(manifest.bytes) is int and isinstance(manifest.build_s, int | float)
        assert all(isinstance(value, str) for value in manifest.notes.values())
        assert "/" not in manifest.key.file_name


@given(values=VALUES)
@fuzz(examples=20)
def test_any_json_is_no_entry_of_the_list(cache: EngineCache, values: object) -> None:
    cache.get(KEY, build)
    (cache.folder / "other.json").write_text(json.dumps(values))
    assert all(entry.key == KEY for entry in cache.entries())
