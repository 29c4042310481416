# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pretrained encoder: TensorFlow's padding, levels of the pyramid, precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from thfm_ros.model.efficientnet import (
    STAGES,
    TAPS,
    EfficientNetEncoder,
    InvertedResidual,
    SameConv,
    conv_norm,
    same_padding,
)


@pytest.fixture(scope="module")
def encoder() -> EfficientNetEncoder:
    torch.manual_seed(0)
    return EfficientNetEncoder((8, 16, 24), 64).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "before", "after"),
    [
        (8, 3, 2, 0, 1),  # even sizes: one zero at the end
        (7, 3, 2, 1, 1),
        (8, 5, 2, 1, 2),
        (7, 5, 2, 2, 2),
        (7, 3, 1, 1, 1),
        (8, 5, 1, 2, 2),
        (1, 3, 2, 1, 1),
        (7, 1, 1, 0, 0),
    ],
)
def test_padding_is_that_of_tensorflow(
    length: int, kernel: int, stride: int, before: int, after: int
) -> None:
    assert same_padding(length, kernel, stride) == (before, after)


def convolved(image: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """One channel by explicit sums, after TensorFlow's description of "SAME".

    The output has ceil(n / stride) values; the zeros that this needs are distributed on both
    sides, an odd one at the end.
    """
    size = len(kernel)
    outputs = [-(-n // stride) for n in image.shape]
    zeros = [max((m - 1) * stride + size - n, 0) for m, n in zip(outputs, image.shape, strict=True)]
    result = np.zeros(outputs)
    for row in range(outputs[0]):
        for column in range(outputs[1]):
            for i in range(size):
                for j in range(size):
                    y = row * stride - zeros[0] // 2 + i
                    x = column * stride - zeros[1] // 2 + j
                    if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                        result[row, column] += kernel[i, j] * image[y, x]
    return result


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_a_convolution_equals_explicit_sums_for_even_and_odd_sizes(
    rows: int, columns: int, kernel: int, stride: int
) -> None:
    rng = np.random.default_rng(rows + 10 * columns)
    image, weight = rng.normal(size=(rows, columns)), rng.normal(size=(kernel, kernel))
    conv = SameConv(1, 1, kernel, stride, bias=False).double()
    conv.weight.data[0, 0] = torch.from_numpy(weight)
    with torch.no_grad():
        output = conv(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(output, convolved(image, weight, stride), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80), (144, 192)])
def test_levels_have_the_sizes_that_the_decoder_expects(
    encoder: EfficientNetEncoder, height: int, width: int
) -> None:
    pyramid = encoder(torch.rand(2, 3, height, width) * 255)
    for level, channels, stride in zip(pyramid, (8, 16, 24, 64), (2, 4, 8, 16), strict=True):
        assert level.shape == (2, channels, height // stride, width // stride)


def test_taps_are_the_last_blocks_before_each_stride(encoder: EfficientNetEncoder) -> None:
    features = encoder.features(torch.rand(1, 3, 64, 64) * 255)
    assert [f.shape[1] for f in features] == [*TAPS.values(), STAGES[-1].channels]
    assert [64 // f.shape[2] for f in features] == [2, 4, 8, 16, 32]
    strides = [
        block.depthwise[0].stride[0]
        for block in encoder.blocks
        if isinstance(block, InvertedResidual) and isinstance(block.depthwise[0], SameConv)
    ]
    # Each tap is followed by a block that halves the resolution.
    assert [number + 1 for number in TAPS] == [n for n, s in enumerate(strides) if s == 2]


def test_the_deepest_features_reach_the_coarsest_level(encoder: EfficientNetEncoder) -> None:
    """Stride 32 is enlarged by repetition, for odd numbers of rows too."""
    image = torch.rand(1, 3, 48, 80) * 255
    _, _, _, tap, last = encoder.features(image)
    added = encoder(image).sixteenth - encoder.adapters[3](tap)
    deep = encoder.deep(last)
    assert deep.shape[2:] == (2, 3) and added.shape[2:] == (3, 5)
    for row, column in ((0, 0), (1, 1), (2, 4)):
        source = deep[0, :, row * 2 // 3, column * 3 // 5]
        torch.testing.assert_close(added[0, :, row, column], source, rtol=1e-4, atol=1e-5)


def test_pretrained_layers_stay_in_single_precision_under_autocast(
    encoder: EfficientNetEncoder,
) -> None:
    image = torch.rand(1, 3, 32, 32) * 255
    plain = encoder.features(image)
    with torch.autocast("cpu", torch.bfloat16):
        pyramid = encoder(image)
        inside = encoder._features_in_single_precision(image)
    assert pyramid.sixteenth.dtype == torch.bfloat16  # the adapters do not
    for one, other in zip(plain, inside, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("size", [7, 8])
def test_a_batch_norm_folded_into_a_convolution_leaves_its_outputs(size: int) -> None:
    """Engines fold them, and a folded batch norm is a bias."""
    torch.manual_seed(0)
    layers = conv_norm(3, 4, 3, stride=2, act=False).eval()
    convolution, norm = layers
    assert isinstance(convolution, SameConv) and isinstance(norm, nn.BatchNorm2d)
    norm.bias.data.normal_()
    norm.running_mean = torch.randn(4)
    image = torch.randn(1, 3, size, size)
    folded = fuse_conv_bn_eval(convolution, norm)
    torch.testing.assert_close(folded(image), layers(image))
