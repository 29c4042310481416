# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The PyTorch engine: the network as it was trained, slower, and the reference of the others."""

import numpy as np
import torch
from jaxtyping import UInt8

from thfm_ros.engine.base import EngineError, check_image
from thfm_ros.engine.graph_engine import token_count
from thfm_ros.engine.step_graph import output_list
from thfm_ros.engine.stream import raw_outputs
from thfm_ros.model.backbone import Cache
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.outputs import RawOutputs


class TorchEngine:
    """PyTorch in eager mode, on a CPU or an NVIDIA GPU."""

    def __init__(
        self, network: NanoNetwork, card: ModelCard, *, device: str = "cpu", threads: int = 1
    ) -> None:
        """``threads`` applies to the whole process, as PyTorch has no other setting."""
        self.card = card
        self.fallback_reason: str | None = None
        self.concurrent = device == "cpu"  # on a GPU two threads would share one CUDA stream
        self._device = torch.device(device)
        self.network = network.eval().to(self._device)
        where = f"CPU, {threads} thread{'s' * (threads > 1)}"
        if self._device.type == "cuda":
            where = torch.cuda.get_device_name(self._device)
        else:
            torch.set_num_threads(threads)
        self.description = f"PyTorch {torch.__version__.partition('+')[0]}, {where}"

    @torch.inference_mode()
    def step(
        self, image: UInt8[np.ndarray, "h w 3"], state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        """See base.Engine."""
        width, height = check_image(image, self.card)
        if state is None:
            empty = self.network.empty_cache(1, height, width)
            state = Cache(*(each.to(self._device) for each in empty))
        tokens = token_count((width, height), self.card)
        if not isinstance(state, Cache) or state.keys.shape[4] != tokens:
            raise EngineError(
                f"This state is not of a PyTorch stream of {width} x {height} images. Begin a "
                "new stream (state=None) when the engine or the size changes."
            )
        rgb = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        outputs, cache = self.network.step(rgb.permute(2, 0, 1)[None].float(), state, dense)
        return raw_outputs([each.cpu().numpy() for each in output_list(outputs)]), cache
