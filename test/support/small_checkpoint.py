# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A checkpoint of a small nano network that is quick to run and to export."""

import dataclasses
from pathlib import Path

from small_networks import small_network

from thfm_ros.model.weights import nano_card, save_network


def write_small_checkpoint(folder: Path) -> Path:
    """Write small.safetensors: crops of 64 x 64, whole images of 96 x 80 (an odd number of rows
    at stride 16, as of the images of 320 x 240)."""
    network = small_network()
    card = dataclasses.replace(
        nano_card("small", network, "nothing"), crop_size=(64, 64), frame_size=(96, 80)
    )
    path = folder / "small.safetensors"
    save_network(network, card, path)
    return path
