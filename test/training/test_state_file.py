# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The state of a run: what was written is read, and nothing else is."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from thfm_ros.training.state_file import StateError, read_state, write_state

CPU = torch.device("cpu")
SLOW_FOLDER = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def a_state() -> dict[str, Any]:
    """Network and optimizer of one step, and numbers."""
    torch.manual_seed(1)
    network = torch.nn.Linear(5, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    numbers = {"step": 7, "seconds": 1.5, "muon": False, "smooth_losses": {"lift": 0.25}}
    return {"network": network.state_dict(), "optimizer": optimizer.state_dict(), **numbers}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "state.pt"
    write_state(path, a_state())
    assert [each.name for each in path.parent.iterdir()] == ["state.pt"]
    return path.read_bytes()


def is_equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_equal(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_equal, a, b))
    return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else bool(a == b)


@SLOW_FOLDER
@example(place=0.8635657117719625, flipped=16)  # an offset in the table of a ZIP archive
@given(place=st.floats(0, 1, exclude_max=True), flipped=st.integers(0, 255))
@pytest.mark.fault("file", "a changed byte in a training state")
def test_a_state_with_a_changed_byte_is_refused_or_unchanged(
    written: bytes, tmp_path: Path, place: float, flipped: int
) -> None:
    data = bytearray(written)
    data[int(place * len(data))] ^= flipped
    path = tmp_path / "state.pt"
    path.write_bytes(data)
    try:
        state = read_state(path, CPU)
    except StateError as error:
        assert str(path) in str(error) and "--begin-from" in str(error)
        assert len(str(error).splitlines()) == 1
        return
    assert is_equal(state, a_state())


@SLOW_FOLDER
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_truncated_state_is_refused(written: bytes, tmp_path: Path, length: float) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(written[: int(length * len(written))])
    with pytest.raises(StateError, match="is damaged"):
        read_state(path, CPU)


class Code:
    """Runs a function when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return Path.mkdir, (self._folder,)


def test_a_state_with_code_is_refused_and_the_code_not_run(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    buffer = io.BytesIO()
    torch.save({"network": Code(tmp_path / "made")}, buffer)
    for data in (buffer.getvalue(), pickle.dumps({"network": Code(tmp_path / "made")})):
        path.write_bytes(data + hashlib.sha256(data).digest())
        with pytest.raises(StateError, match="is damaged"):
            read_state(path, CPU)
    assert not (tmp_path / "made").exists()
