# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The PyTorch engine: the network as it was trained, slower, and the reference of the others."""

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import EngineError, begins_stream, check_image
from thfm_ros.engine.graph_engine import token_count
from thfm_ros.engine.step_graph import output_list
from thfm_ros.engine.stream import another_size, cue_of, detection_outputs, raw_outputs
from thfm_ros.model.backbone import Cache
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs


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
    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> DetectionOutputs:
        """See base.Engine."""
        check_image(image, self.card.frame_size)
        return detection_outputs(self.network.detect(self._batch(image))[0].cpu().numpy())

    @torch.inference_mode()
    def step(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        state: object | None,
        *,
        dense: bool,
        target_box: Float32[np.ndarray, "4"] | None = None,
    ) -> tuple[RawOutputs, object]:
        """See base.Engine."""
        check_image(image, *self.card.crop_sizes)
        height, width = image.shape[:2]
        if begins_stream(state):
            empty = self.network.empty_cache(1, height, width)
            state = Cache(*(each.to(self._device) for each in empty))
        if not isinstance(state, Cache):
            raise EngineError(
                f"This state comes from another engine ({type(state).__name__}). Begin a new "
                "stream (state=None) when the engine changes."
            )
        if state.keys.shape[4] != token_count((width, height), self.card):
            raise another_size()
        cue = torch.from_numpy(cue_of(target_box))[None].to(self._device)
        outputs, cache = self.network.step(self._batch(image), state, dense, cue)
        return raw_outputs([each.cpu().numpy() for each in output_list(outputs)]), cache

    def _batch(self, image: UInt8[np.ndarray, "h w 3"]) -> torch.Tensor:
        rgb = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        return rgb.permute(2, 0, 1)[None].float()
