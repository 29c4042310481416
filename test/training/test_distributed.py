# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Devices of processes, and what a process does that is alone."""

import os
import signal

import pytest
import torch
from small_networks import small_network

from thfm_ros.contract import PerceptionError
from thfm_ros.training.distributed import (
    broadcast_decision,
    device_of_process,
    rank,
    share_gradients,
    stop_at_a_signal,
)


def test_the_device_of_a_name() -> None:
    assert device_of_process("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cpus", "cuda:x", ""])
def test_a_device_that_does_not_exist_is_refused_by_name(name: str) -> None:
    with pytest.raises(PerceptionError, match=f"cannot use the device '{name}'"):
        device_of_process(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_without_a_gpu_cuda_is_refused(name: str) -> None:
    with pytest.raises(PerceptionError, match="Use cpu, or cuda with an NVIDIA GPU"):
        device_of_process(name)


@pytest.mark.gpu
def test_each_process_has_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert device_of_process("cuda") == torch.device("cuda:0")


def test_a_single_process_keeps_its_gradients_and_decisions() -> None:
    network = small_network().requires_grad_(True)
    network.tokens.grad = torch.full_like(network.tokens, 2.0)
    share_gradients(network)
    assert (network.tokens.grad == 2).all() and rank() == 0
    for decision in (True, False):
        assert broadcast_decision(decision, torch.device("cpu")) is decision


def test_a_signal_is_noticed_and_its_handler_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_at_a_signal() as requested:
        assert not requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested()
    assert signal.getsignal(signal.SIGTERM) is before
