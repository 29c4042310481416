"""The plain engine: the network as it was trained. Slower than the others, and their judge."""

import numpy as np
import torch
from jaxtyping import UInt8

from thfm_ros.engine.base import EngineError, check_image
from thfm_ros.engine.stream import raw_outputs
from thfm_ros.model.backbone import Cache
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import JOINTS, NanoNetwork
from thfm_ros.model.outputs import RawOutputs


class TorchEngine:
    """PyTorch, eagerly, on a CPU or an NVIDIA GPU."""

    def __init__(
        self, network: NanoNetwork, card: ModelCard, *, device: str = "cpu", threads: int = 1
    ) -> None:
        """``threads`` holds for the whole process: PyTorch knows no other way."""
        self.card = card
        self.concurrent = device == "cpu"  # on a GPU both would share one stream
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
            state = Cache(*(part.to(self._device) for part in empty))
        tokens = (height // 16) * (width // 16) + JOINTS + 1
        if not isinstance(state, Cache) or state.keys.shape[4] != tokens:
            raise EngineError(
                f"This state is not of a PyTorch stream of {width} x {height} images. Begin a "
                "new stream (state=None) when the engine or the size changes."
            )
        rgb = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        said, cache = self.network.step(rgb.permute(2, 0, 1)[None].float(), state, dense)
        answers = [said.heatmaps[0], said.positions[0], said.visibility[0]]
        answers += [said.log_width, said.presence]
        if said.dense is not None:
            answers.append(said.dense[0])
        return raw_outputs([answer.cpu().numpy() for answer in answers]), cache
