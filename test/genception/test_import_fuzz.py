# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any file of a release is refused with a reason, or gives exactly its own values.

Half of the inputs are valid files with a few changes. With THFM_FUZZ_EXAMPLES=20000 that many new
ones are tried per test.
"""

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import changed_documents
from mutated_bytes import mutated, refused_or
from property_tests import FUZZ_EXAMPLES, fuzz
from safetensors.numpy import save

from thfm_ros.genception.config import GenceptionConfig, GenceptionError, config_from_mapping
from thfm_ros.genception.npz_reader import NpzReader
from thfm_ros.genception.prompt_files import PromptError, read_embeddings
from thfm_ros.genception.resumable_safetensors import SafetensorsFile

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "a.value": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b.value": np.linspace(0, 1, 40, dtype=np.float16).reshape(4, 10),
}


def npz(compressed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **ARRAYS)  # type: ignore[arg-type]
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """The beginning of an .npy file that claims this shape."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


NPZ = (npz(False), npz(True))
TENSORS = save(ARRAYS)
EMBEDDINGS = npy(np.arange(12, dtype=np.float32).reshape(3, 4))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release") / "file"


@given(data=mutated(NPZ) | mutated(NPZ) | st.binary(max_size=100))
@fuzz(examples=100)
def test_any_changed_npz_is_refused_or_has_the_values_that_its_checksums_prove(
    path: Path, data: bytes
) -> None:
    path.write_bytes(data)

    def read() -> dict[str, np.ndarray[Any, Any]]:
        reader = NpzReader(path)
        try:
            arrays = {}
            for key in reader.shapes:
                (arrays[key],) = reader.read(key, stacked=False)
            return arrays
        finally:
            reader.close()

    for array in (refused_or(read, GenceptionError) or {}).values():
        assert any(np.array_equal(array, original) for original in ARRAYS.values())


@given(data=mutated([TENSORS]) | mutated([TENSORS[:200]]) | st.binary(max_size=100))
@fuzz(examples=120)
def test_any_changed_safetensors_file_is_refused_or_read_within_its_bounds(
    path: Path, data: bytes
) -> None:
    path.write_bytes(data)
    file = refused_or(lambda: SafetensorsFile(path), ValueError)
    for name, entry in file.entries.items() if file else ():
        assert len(file.read(name) if file else b"") == entry.size <= len(data)


@given(data=mutated([EMBEDDINGS]) | st.binary(max_size=100))
@fuzz(examples=100)
def test_any_changed_embeddings_are_refused_or_finite(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    rows = refused_or(lambda: read_embeddings(path, 4), PromptError)
    assert rows is None or (rows.shape[1] == 4 and np.isfinite(rows).all())


@given(values=changed_documents(GenceptionConfig().to_dict()))
@fuzz(examples=100)
def test_any_changed_config_is_refused_or_of_sizes_that_a_network_can_have(
    values: dict[str, Any],
) -> None:
    config = refused_or(lambda: config_from_mapping(values), GenceptionError)
    if config is not None:
        assert all(type(each) is int and each > 0 for each in config.patch_size)
        assert 0 < config.num_layers <= 1_000_000 and 0 < config.eps < 1
        assert config_from_mapping(json.loads(json.dumps(config.to_dict()))) == config


def test_arrays_that_claim_a_terabyte_are_refused_before_memory_is_taken(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.value.npy", npy_header((2**40,)) + bytes(100))
    assert refused_or(lambda: NpzReader(path), GenceptionError) is None
    path.write_bytes(npy_header((2**40, 4)) + bytes(100))
    assert refused_or(lambda: read_embeddings(path, 4), PromptError) is None
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert refused_or(lambda: SafetensorsFile(path), ValueError) is None


def test_arrays_of_python_objects_are_refused(path: Path) -> None:
    data = npy_header((1,), "|O") + b"cos\nsystem\n."
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.value.npy", data)
    assert refused_or(lambda: NpzReader(path), GenceptionError) is None
    path.write_bytes(data)
    assert refused_or(lambda: read_embeddings(path, 4), PromptError) is None
