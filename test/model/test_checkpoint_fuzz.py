# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any checkpoint file is refused with a reason, or loads exactly the values that it holds.

Half of the inputs are a valid checkpoint with a few changes. With THFM_FUZZ_EXAMPLES=20000 that
many new ones are tried per test.
"""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from json_values import VALUES
from mutated_bytes import mutated, refused_or
from property_tests import FUZZ_EXAMPLES, fuzz
from safetensors import safe_open
from small_checkpoint import write_small_checkpoint

from thfm_ros.contract import PerceptionError
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.model.card import CardError, card_from_json
from thfm_ros.model.weights import CHECKSUM_KEY, CheckpointError, load_network

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_small_checkpoint(tmp_path_factory.mktemp("valid")).read_bytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed") / "changed.safetensors"


def split(file: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    (length,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def joined(header: dict[str, Any], tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def check(path: Path) -> None:
    """Refused, or loaded with the file's own values, all of them finite."""

    def load() -> torch.nn.Module:
        find_checkpoint(str(path))
        return load_network(path)[0]

    network = refused_or(load, CheckpointError, CardError, EngineError)
    if network is None:
        return
    state = network.state_dict()
    with safe_open(path, framework="pt") as file:
        assert set(state) == set(file.keys())
        for name, value in state.items():
            assert torch.equal(value, file.get_tensor(name).to(value.dtype))
            assert torch.isfinite(value).all()


@given(data=st.data())
@fuzz(examples=40)
def test_any_changed_checkpoint_is_refused_or_loads_its_own_values(
    valid: bytes, path: Path, data: st.DataObject
) -> None:
    header_bytes = 8 + struct.unpack("<Q", valid[:8])[0]
    changed_header = mutated([valid[:header_bytes]]).map(lambda head: head + valid[header_bytes:])
    path.write_bytes(
        data.draw(st.one_of(mutated([valid]), changed_header, st.binary(max_size=200)))
    )
    check(path)


@given(data=st.data())
@fuzz(examples=60)
def test_any_changed_model_card_is_refused_or_describes_the_weights(
    valid: bytes, path: Path, data: st.DataObject
) -> None:
    header, tensors = split(valid)
    card = json.loads(header["__metadata__"]["thfm_card"])
    place = card["network"] if data.draw(st.booleans()) else card
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(VALUES)
    header["__metadata__"]["thfm_card"] = json.dumps(card)
    path.write_bytes(joined(header, tensors))
    check(path)


@given(text=st.text(max_size=50) | VALUES.map(json.dumps))
@fuzz(examples=60)
def test_any_text_that_is_no_model_card_is_refused(text: str) -> None:
    assert refused_or(lambda: card_from_json(text, "the file"), CardError) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", 2**20), ("depth", 10**9), ("channels", [2**20] * 3), ("window", 2**40)],
)
def test_a_card_that_claims_a_huge_network_is_refused_before_memory_is_taken(
    valid: bytes, path: Path, name: str, value: object
) -> None:
    header, tensors = split(valid)
    card = json.loads(header["__metadata__"]["thfm_card"])
    assert name in card["network"]
    card["network"][name] = value
    header["__metadata__"]["thfm_card"] = json.dumps(card)
    path.write_bytes(joined(header, tensors))
    assert refused_or(lambda: load_network(path), PerceptionError) is None


@pytest.mark.parametrize("length", [2**40, 2**63, 10**8 + 1])
def test_a_header_that_claims_a_terabyte_is_refused(path: Path, length: int) -> None:
    path.write_bytes(struct.pack("<Q", length) + b"{}" + bytes(100))
    assert refused_or(lambda: load_network(path), PerceptionError) is None


@given(data=st.data())
@fuzz(examples=10)
@pytest.mark.fault("file", "a flipped byte in a checkpoint")
def test_a_flipped_byte_of_the_weights_is_refused(
    valid: bytes, path: Path, data: st.DataObject
) -> None:
    """It would be a network that estimates something else, without a word."""
    begin = 8 + struct.unpack("<Q", valid[:8])[0]
    at = data.draw(st.integers(begin, len(valid) - 1))
    changed = valid[at] ^ data.draw(st.integers(1, 255))
    path.write_bytes(valid[:at] + bytes([changed]) + valid[at + 1 :])
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(path)


@pytest.mark.fault("file", "a weight that is NaN")
def test_a_weight_that_is_not_finite_is_refused(valid: bytes, path: Path) -> None:
    header, tensors = split(valid)
    del header["__metadata__"][CHECKSUM_KEY]  # as in files of earlier releases
    name = next(name for name, entry in header.items() if entry.get("dtype") == "F16")
    start = header[name]["data_offsets"][0]
    path.write_bytes(joined(header, tensors[:start] + b"\x00\x7c" + tensors[start + 2 :]))
    with pytest.raises(CheckpointError, match="finite"):
        load_network(path)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "was_run",)

    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(Harmful()))
    assert refused_or(lambda: load_network(path), PerceptionError) is None
    torch.save({"weights": Harmful()}, path)
    assert refused_or(lambda: find_checkpoint(str(path)), PerceptionError) is None
    assert not (tmp_path / "was_run").exists()
