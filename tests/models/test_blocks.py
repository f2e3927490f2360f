"""Building blocks against their definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from gbmlib.models import blocks


@pytest.mark.parametrize("size", [(1, 2, 3), (4, 4, 4), (5, 3, 8)])
def test_linear_upsampling_is_trilinear_interpolation(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    ours, torchs = blocks.upsample_linear(x), functional.interpolate(x, scale_factor=2, mode="trilinear")
    torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-12)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad((out * weight).sum(), x)[0] for out in (ours, torchs)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_upsampling_first_asked_for_by_a_prediction_can_be_trained_through():
    up = blocks.Upsample("linear")
    with torch.inference_mode():
        up(torch.zeros(1, 1, 7, 9, 11))
    x = torch.ones(1, 1, 7, 9, 11, requires_grad=True)
    up(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 8))  # each voxel is handed on eight times in all


@pytest.mark.parametrize("kind", ["linear", "nearest"])
def test_upsampling_keeps_the_precision_of_mixed_training(kind):
    x = torch.randn(1, 2, 3, 3, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert blocks.Upsample(kind)(x).dtype == torch.bfloat16


def test_the_two_readings_of_group_norm():
    assert (blocks.normalisation("group", 16).num_groups, blocks.normalisation("groups_of_8", 16).num_groups) == (8, 2)
    assert (blocks.normalisation("group", 64).num_groups, blocks.normalisation("groups_of_8", 64).num_groups) == (8, 8)


def test_instance_norm_is_torchs():
    x = torch.randn(2, 5, 4, 3, 6)
    torch.testing.assert_close(
        blocks.normalisation("instance", 5)(x), torch.nn.InstanceNorm3d(5)(x), rtol=1e-5, atol=1e-5
    )


def test_the_slab_norm_is_a_reshape_of_channels_last_memory():
    """The code's own operations, on its own layout, in NumPy."""
    groups, channels, x_size, y, z = 8, 16, 8, 3, 5
    torch.manual_seed(0)
    layer = blocks.SlabNorm(groups, channels)
    layer.weight.data.normal_()
    layer.bias.data.normal_()
    x = torch.randn(2, channels, z, y, x_size)
    stored = x.permute(0, 4, 3, 2, 1).numpy().copy()  # (batch, x, y, z, channel) in one piece of memory
    grouped = stored.reshape(2, groups, -1)
    normalised = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + layer.eps)
    scaled = normalised.reshape(2, channels, -1) * layer.weight.detach().numpy()[:, None]
    expected = (scaled + layer.bias.detach().numpy()[:, None]).reshape(stored.shape)
    ours = layer(x).detach().permute(0, 4, 3, 2, 1).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    # An eighth of the first axis is a group: its slab alone has mean 0 over all its channels.
    plain = blocks.SlabNorm(groups, channels)(x).permute(0, 4, 3, 2, 1)
    np.testing.assert_allclose(plain[:, 0].mean((1, 2, 3)).detach(), 0, atol=1e-5)
    assert plain[..., 0].flatten(1).mean(1).abs().max() > 1e-4  # and a channel alone has not


def test_max_pooling_in_mixed_precision_keeps_no_copy_and_gives_torchs_own_result():
    x = torch.randn(1, 2, 4, 4, 4).bfloat16()
    results = []
    for layer in (blocks.downsample("max_pool", 2, 4, 3), torch.nn.MaxPool3d(2)):
        image = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(image)
        (out * torch.arange(out.numel()).view(out.shape)).sum().backward()
        results.append((out, image.grad))
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(*results, strict=True))
