"""The block without gradients equals its three modules one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from CTGLIPLib.conv_blocks import ConvBlock


def block(width_in: int, width: int, stride: int = 1, kernel: int = 3) -> ConvBlock:
    made = ConvBlock(width_in, width, (kernel,) * 3, (stride,) * 3)
    torch.nn.init.normal_(made.norm.weight)
    torch.nn.init.normal_(made.norm.bias)
    return made


def plain(made: ConvBlock, image: Tensor) -> Tensor:
    """In float64, each module by itself."""
    reference = ConvBlock(
        made.conv.in_channels, made.conv.out_channels, made.conv.kernel_size, made.conv.stride
    ).double()
    reference.load_state_dict(made.state_dict())
    return reference(image.double()).float()


@pytest.mark.parametrize("size", [(9, 12, 7), (24, 16, 20)])
@pytest.mark.parametrize(("width_in", "width", "stride"), [(1, 8, 1), (3, 8, 1), (8, 16, 2), (64, 80, 2), (16, 5, 1)])
def test_without_gradients_it_equals_convolution_norm_and_rectifier(width_in, width, stride, size):
    torch.manual_seed(width_in * width + stride)
    made, image = block(width_in, width, stride), torch.randn(2, width_in, *size) * 3 + 5
    expected = plain(made, image).detach()
    for given in (image, image.contiguous(memory_format=torch.channels_last_3d)):
        before = given.clone()
        with torch.inference_mode():
            found = made(given)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        assert torch.equal(given, before), "the block must not write into its input"


def test_with_gradients_it_is_the_three_modules(rng):
    torch.manual_seed(0)
    made, image = block(2, 4), torch.randn(1, 2, 6, 6, 6)
    found = made(image)
    assert torch.equal(found, made.nonlin(made.norm(made.conv(image))))
    found.sum().backward()
    assert made.conv.weight.grad is not None


def test_a_channel_that_is_the_same_everywhere_stays_finite():
    made = block(1, 4)
    with torch.inference_mode():
        found = made(torch.full((1, 1, 8, 8, 8), 1000.0))
    assert torch.isfinite(found).all()
