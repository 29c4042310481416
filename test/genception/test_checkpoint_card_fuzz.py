# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A full-size checkpoint whose card was changed is refused with a reason, or loads its weights."""

import json
import struct
from pathlib import Path
from typing import Any

import genception_fixtures as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import changed_documents
from mutated_bytes import refused_or
from property_tests import FUZZ_EXAMPLES, fuzz

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.contract import PerceptionError
from thfm_ros.genception.checkpoint import load_checkpoint

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a tiny checkpoint."""
    file = reference.write_checkpoint(tmp_path_factory.mktemp("valid")).read_bytes()
    (length,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + length]), file[8 + length :]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed") / "changed.safetensors"


@given(data=st.data())
@fuzz(examples=20)
def test_any_changed_card_of_a_full_size_checkpoint_is_refused_or_fits_its_weights(
    valid: tuple[dict[str, Any], bytes], path: Path, data: st.DataObject
) -> None:
    header, tensors = dict(valid[0]), valid[1]
    card = json.loads(header["__metadata__"]["thfm_card"])
    card["network"] = data.draw(changed_documents(card["network"]))
    header["__metadata__"] = {"thfm_card": json.dumps(card)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + tensors)
    loaded = refused_or(lambda: load_checkpoint(path), PerceptionError)
    assert loaded is None or loaded.card.network == card["network"]
