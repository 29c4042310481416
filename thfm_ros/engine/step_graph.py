# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One streaming step of the network, and its detection, as plain functions of arrays to compile.

They compute the same as NanoNetwork.step and .detect (tests compare them) in another form: the
cache of keys and values is one array per block and frame, so that sliding it copies nothing; cached
keys include the rotation in time, from a table that the host computes; queries and keys are
normalised and rotated together. That saves a sixth of the step in ONNX Runtime (docs/engines.md).
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from thfm_ros.engine.stream import HALVES, StepTables
from thfm_ros.model.backbone import HEAD_WIDTH, Block, rotary_tables
from thfm_ros.model.codec import ResidualBlock, UpStage
from thfm_ros.model.network import JOINTS, NanoNetwork, NetworkOutputs, crop_grid, sine_grid


class StepBlock(nn.Module):
    """backbone.Block.step for the ``[n d]`` tokens of one stream."""

    scale: Tensor
    swapped_scale: Tensor
    ones: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.heads = block.heads
        order = torch.tensor(HALVES)
        width = block.query_key_value.in_features
        weight = block.query_key_value.weight.view(3, self.heads, HEAD_WIDTH, width).clone()
        bias = block.query_key_value.bias.view(3, self.heads, HEAD_WIDTH).clone()
        weight[:2], bias[:2] = weight[:2, :, order], bias[:2, :, order]
        self.project = nn.Linear(width, 3 * width)
        self.project.weight.data, self.project.bias.data = weight.view(-1, width), bias.view(-1)
        # softmax(q k / sqrt(c)): the factor is folded into the scale of the queries.
        scale = torch.stack([block.query_scale[order] * HEAD_WIDTH**-0.5, block.key_scale[order]])
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("swapped_scale", scale.roll(HEAD_WIDTH // 2, -1)[:, None, None])
        # Multiplication by ones completes the pattern that ONNX Runtime fuses into one operator,
        # "simplified layer normalisation".
        self.register_buffer("ones", torch.ones(HEAD_WIDTH))
        self.norm_attention, self.norm_feed = block.norm_attention, block.norm_feed
        self.join, self.widen, self.narrow = block.join, block.widen, block.narrow

    def forward(
        self,
        x: Float[Tensor, "n d"],
        rotation: Float[Tensor, "2 n c"],
        attention_mask: Float[Tensor, " m"] | None,
        past_keys: list[Tensor],
        past_values: list[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the tokens, and this frame's keys and values ``[heads n c]`` for the cache.

        Without earlier frames there is no mask.
        """
        n = x.shape[0]
        projected = self.project(self.norm_attention(x)).view(n, 3, self.heads, HEAD_WIDTH)
        qk, v = projected.permute(1, 2, 0, 3).split([2, 1])
        qk = qk / torch.sqrt(qk.pow(2).mean(-1, keepdim=True) + 1e-6) * self.ones
        swapped = torch.cat(qk.chunk(2, -1)[::-1], -1)
        qk = qk * (rotation[0] * self.scale) + swapped * (rotation[1] * self.swapped_scale)
        q, k = qk.unbind()
        keys, values = k, v[0]
        if past_keys:
            keys, values = torch.cat([*past_keys, keys], 1), torch.cat([*past_values, values], 1)
        logits = q @ keys.transpose(1, 2)
        if attention_mask is not None:
            logits = logits + attention_mask
        x = x + self.join((logits.softmax(-1) @ values).transpose(0, 1).reshape(n, -1))
        x = x + self.narrow(F.gelu(self.widen(self.norm_feed(x)), approximate="tanh"))
        return x, k, v[0]


class StepGraph(nn.Module):
    """NanoNetwork.step for one stream of images of one size.

    Inputs: the image, the target cue, `stream.StepTables.time_rotation` and `.attention_mask`,
    then for each cached frame, oldest first, the keys and values of each block. Outputs:
    stream.OUTPUTS (without "dense" if not requested), then this frame's keys and values of each
    block.
    """

    grid: Tensor
    space: Tensor

    def __init__(self, network: NanoNetwork, size: tuple[int, int], dense: bool) -> None:
        super().__init__()
        self.dense = dense
        self.network = order_shuffled_channels(fold_batch_norms(network))
        self.past = network.backbone.window - 1
        self.blocks = step_blocks(self.network, network.depth)
        self.columns, self.rows = size[0] // 16, size[1] // 16
        self.register_buffer("grid", crop_grid(self.rows, self.columns, network.width))
        self.register_buffer("space", rotation_in_space(self.rows, self.columns, JOINTS + 1))

    def forward(
        self,
        image: UInt8[Tensor, "h w 3"],
        cue: Float[Tensor, "5"],
        time_rotation: Float[Tensor, "2 1 c"],
        attention_mask: Float[Tensor, " m"],
        *past: Float[Tensor, "heads n c"],
    ) -> tuple[Tensor, ...]:
        """See the class."""
        net = self.network
        pyramid = net.encoder(image.permute(2, 0, 1)[None].to(net.tokens.dtype))
        x = torch.cat([pyramid.sixteenth.flatten(2)[0].t() + self.grid, net.tokens])
        of_patches, of_learnable = net.cue(cue[None], self.rows, self.columns)
        x = x + torch.cat([of_patches[0], of_learnable[0].expand(JOINTS + 1, -1)])
        rotation = self.space + time_rotation
        stride, present = 2 * len(self.blocks), []
        for i, block in enumerate(self.blocks):
            keys, values = list(past[2 * i :: stride]), list(past[2 * i + 1 :: stride])
            x, k, v = block(x, rotation, attention_mask, keys, values)
            present += [k, v]
        outputs = output_list(net._read(net.backbone.norm(x)[None], pyramid, self.dense))
        if net.tokens.dtype != torch.float32:
            outputs = [each.float() for each in outputs]
        return (*outputs, *present)


class DetectionGraph(nn.Module):
    """NanoNetwork.detect for one image of one size: ``[h w 3]`` uint8 to ``[5 h/8 w/8]``."""

    grid: Tensor
    rotation: Tensor

    def __init__(self, network: NanoNetwork, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = order_shuffled_channels(fold_batch_norms(network))
        self.blocks = step_blocks(self.network, network.detect_depth)
        self.columns, self.rows = size[0] // 16, size[1] // 16
        self.register_buffer("grid", sine_grid(self.rows, self.columns, network.width))
        first_frame = torch.from_numpy(StepTables(1, 1).time_rotation(0))
        self.register_buffer(
            "rotation", rotation_in_space(self.rows, self.columns, 0) + first_frame
        )

    def forward(self, image: UInt8[Tensor, "h w 3"]) -> tuple[Tensor]:
        """See the class."""
        net = self.network
        pyramid = net.encoder.pretrained(image.permute(2, 0, 1)[None].to(net.tokens.dtype))
        x = pyramid.sixteenth.flatten(2)[0].t() + self.grid
        for block in self.blocks:
            x, _, _ = block(x, self.rotation, None, [], [])
        latent = net.detection.norm(x).t().unflatten(1, (self.rows, self.columns))
        return (net.detection(latent[None], pyramid.eighth)[0].float(),)


def step_blocks(network: NanoNetwork, count: int) -> nn.ModuleList:
    """The first ``count`` blocks of the backbone."""
    blocks = [block for block in network.backbone.blocks if isinstance(block, Block)]
    return nn.ModuleList([StepBlock(block) for block in blocks[:count]])


def rotation_in_space(rows: int, columns: int, learnable: int) -> Float[Tensor, "2 n c"]:
    """Cosines, and signed sines, of the rotary embedding of one frame's tokens.

    Zero for channels that rotate with time: there `StepTables.time_rotation` is added.
    """
    tables = rotary_tables(rows, columns, learnable)
    zeros = tables.cos.new_zeros(tables.cos.shape[0], HEAD_WIDTH // 2 - tables.cos.shape[1])
    cos, sin = torch.cat([zeros, tables.cos], 1), torch.cat([zeros, tables.sin], 1)
    return torch.stack([torch.cat([cos, cos], 1), torch.cat([-sin, sin], 1)])


def output_list(outputs: NetworkOutputs) -> list[Tensor]:
    """The outputs for the only image of a batch, in the order of stream.OUTPUTS."""
    listed = [outputs.heatmaps[0], outputs.positions[0], outputs.visibility[0]]
    listed += [outputs.log_width, outputs.presence]
    if outputs.dense is not None:
        listed.append(outputs.dense[0])
    return listed


def fold_batch_norms(network: NanoNetwork) -> NanoNetwork:
    """A copy with all batch norms folded into the convolutions before them; for inference only."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.second = fuse_conv_bn_eval(module.second, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
        if isinstance(module, nn.Sequential):
            for i, (conv, norm) in enumerate(zip(module, list(module)[1:], strict=False)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[i] = fuse_conv_bn_eval(conv, norm)
                    module[i + 1] = nn.Identity()
    return network


class PixelShuffle(nn.Module):
    """nn.PixelShuffle(2) for channels in the order (row, column, channel) of the larger image.

    All channels of a pixel then move together. ONNX Runtime takes several times as long for the
    usual order (channel, row, column), which exports as one DepthToSpace.
    """

    def forward(self, x: Float[Tensor, "b 4*c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
        """See the class."""
        batch, channels, rows, columns = (int(length) for length in x.shape)
        pixels = x.permute(0, 2, 3, 1).reshape(batch, rows, columns, 2, channels // 2)
        lines = pixels.transpose(2, 3).reshape(batch, 2 * rows, 2 * columns, channels // 4)
        return lines.permute(0, 3, 1, 2)


def order_shuffled_channels(network: NanoNetwork) -> NanoNetwork:
    """The same network, changed in place: its up-stages use `PixelShuffle`. Outputs stay equal."""
    for module in network.modules():
        if isinstance(module, UpStage):
            spread = module.spread
            order = torch.arange(spread.out_channels).view(-1, 4).t().flatten()
            spread.weight.data = spread.weight.data[order]
            if spread.bias is not None:
                spread.bias.data = spread.bias.data[order]
            module.shuffle = PixelShuffle()  # type: ignore[assignment]
    return network
