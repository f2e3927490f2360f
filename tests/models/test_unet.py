"""The U-Nets of nnU-Net: against the networks of nnU-Net v2 by transferred weights, and counted by hand."""

import math

import pytest
import torch
from torch import nn

from gbmlib import models
from gbmlib.models.blocks import Conv2d, Conv3d
from gbmlib.models.unet import SLOPE, pooled_axes


def built(in_channels=2, out_channels=3, seed=0, **options):
    """A small network whose norms scale and shift, so that no part of it could be exchanged unnoticed."""
    torch.manual_seed(seed)
    network = models.build("unet", in_channels, out_channels, **{"filters": 4, "pools": (2, 2, 2)} | options)
    for module in network.modules():
        if isinstance(module, nn.GroupNorm | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return network


# ------------------------------------------------------------------------------------------- against nnU-Net's networks


class Peer(nn.Module):
    """An encoder and a decoder of dynamic-network-architectures, without deep supervision."""

    def __init__(self, dimensions, widths, strides, down="stride", activation="leaky_relu", norm="instance", depth=2):
        super().__init__()
        reason = "nnU-Net v2's networks come with the extra 'peers'"
        blocks = "dynamic_network_architectures.building_blocks"
        encoder = pytest.importorskip(f"{blocks}.plain_conv_encoder", reason=reason).PlainConvEncoder
        decoder = pytest.importorskip(f"{blocks}.unet_decoder", reason=reason).UNetDecoder
        flat = dimensions == 2
        kinds = {"instance": (nn.InstanceNorm2d, nn.InstanceNorm3d), "batch": (nn.BatchNorm2d, nn.BatchNorm3d)}
        leaky = activation == "leaky_relu"
        self.encoder = encoder(
            2,
            len(widths),
            widths,
            nn.Conv2d if flat else nn.Conv3d,
            3,
            [1, *strides],
            depth,
            norm_op=kinds[norm][not flat],
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU if leaky else nn.ReLU,
            nonlin_kwargs={"negative_slope": 0.01} if leaky else None,
            return_skips=True,
            pool="conv" if down == "stride" else "max",
        )
        self.decoder = decoder(self.encoder, 3, depth, deep_supervision=False)

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def take(self, network):
        """Our weights, in the order in which data flows; of the outputs only the finest is ours, which has no bias."""

        def parts(*of):
            kinds = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d
            norms = nn.GroupNorm | nn.InstanceNorm2d | nn.InstanceNorm3d | nn.BatchNorm2d | nn.BatchNorm3d
            found = (module for root in of for module in root.modules() if isinstance(module, kinds | norms))
            return list(dict.fromkeys(found))  # theirs registers each twice

        theirs = parts(self.encoder, self.decoder.transpconvs, self.decoder.stages)
        ours = parts(network.encoder, network.up, network.decoder)
        for mine, other in zip(ours, theirs, strict=True):
            other.load_state_dict(mine.state_dict(), strict=False)
        nn.init.zeros_(self.decoder.seg_layers[-1].bias)
        self.decoder.seg_layers[-1].load_state_dict(network.output.state_dict(), strict=False)
        return [(mine.weight, other.weight) for mine, other in zip(ours, theirs, strict=True)]


CASES = {
    "strided": ((2, 2, 2), (8, 12, 8), {"down": "stride"}),
    "pooled": ((2, 2, 2), (8, 12, 8), {}),
    "pooled, anisotropic": ((1, 3, 3), (4, 16, 24), {}),
    "strided, anisotropic": ((1, 3, 3), (4, 16, 24), {"down": "stride"}),
    "as Prostate": ((2, 5, 5), (8, 64, 64), {"down": "stride", "filters": 2}),
    "one axis never": ((0, 2, 3), (3, 8, 16), {}),
    "relu": ((1, 1, 1), (4, 6, 4), {"activation": "relu"}),
    "batch norm": ((2, 1, 2), (8, 4, 8), {"norm": "batch"}),
    "2D": ((0, 3, 2), (1, 16, 12), {"dimensions": 2}),
    "2D, strided": ((0, 2, 4), (1, 12, 32), {"dimensions": 2, "down": "stride"}),
    "2D, batch norm": ((0, 2, 2), (1, 8, 12), {"dimensions": 2, "norm": "batch"}),
}


@pytest.mark.parametrize(("pools", "size", "options"), CASES.values(), ids=CASES)
def test_equals_nnunets_network_in_value_and_gradient(pools, size, options):
    network = built(pools=pools, **options).double()
    flat = options.get("dimensions", 3) == 2
    own = pools[1:] if flat else pools
    strides = list(zip(*([1] * (max(own) - of) + [2] * of for of in own), strict=True))  # each axis halved at the end
    widths = [options.get("filters", 4) * 2**level for level in range(max(own) + 1)]
    named = {name: options[name] for name in ("down", "activation", "norm") if name in options}
    named = {"down": "max_pool", "depth": 2} | named
    peer = Peer(2 if flat else 3, widths, strides, **named).double()
    pairs = peer.take(network)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 2, *size, generator=generator, dtype=torch.float64)
    ours, theirs = network(images), peer(images[:, :, 0] if flat else images)
    torch.testing.assert_close(ours[:, :, 0] if flat else ours, theirs, rtol=1e-10, atol=1e-10)
    weight = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    (ours * weight).sum().backward()
    (theirs * (weight[:, :, 0] if flat else weight)).sum().backward()
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-8, atol=1e-10)


# ------------------------------------------------------------------------------------------------------------- by hand


def test_an_axis_with_fewer_poolings_starts_late():
    assert pooled_axes((5, 5, 5)) == [(True, True, True)] * 5
    assert pooled_axes((1, 3, 3)) == [(False, True, True), (False, True, True), (True, True, True)]
    assert pooled_axes((2, 5, 4)) == [(False, True, False), *[(False, True, True)] * 2, *[(True, True, True)] * 2]
    assert pooled_axes((6, 3)) == [(True, False)] * 3 + [(True, True)] * 3
    assert pooled_axes((0, 0, 0)) == []


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({"pools": (5, 5, 5)}, [30, 60, 120, 240, 320, 320]),
        ({"pools": (3, 3, 3)}, [30, 60, 120, 240]),
        ({"pools": (0, 6, 6), "dimensions": 2}, [30, 60, 120, 240, 480, 480, 480]),
        ({"pools": (2, 3, 1), "filters": 100}, [100, 200, 320, 320]),
    ],
)
def test_features_double_up_to_the_cap(options, widths):
    with torch.device("meta"):
        network = models.build("unet", 4, 4, **options)
    down = [[layer.out_channels for layer in level if hasattr(layer, "out_channels")] for level in network.encoder]
    up = [[layer.out_channels for layer in level if hasattr(layer, "out_channels")] for level in network.decoder]
    assert down == [[width] * 2 for width in widths]
    assert up == [[width] * 2 for width in widths[-2::-1]]
    assert [layer.in_channels for level in network.decoder for layer in level[:1]] == [2 * w for w in widths[-2::-1]]


def test_parameters_of_the_papers_network_counted_by_hand():
    widths, count, before = [30, 60, 120, 240, 320, 320], 0, 4
    for width in widths:  # two convolutions of 27 weights, each with the scale and shift of a norm
        count, before = count + (before + width) * width * 27 + 4 * width, width
    for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
        count += below * width * 8  # up, without bias
        count += (2 * width + width) * width * 27 + 4 * width
    count += 30 * 4  # four classes, without bias
    with torch.device("meta"):
        assert models.parameters(models.build("unet", 4, 4)) == count == 29_691_800


def test_sizes_must_be_divisible_axis_by_axis():
    network = built(pools=(1, 2, 3))
    assert network.divisor == (2, 4, 8)
    assert network(torch.zeros(1, 2, 6, 12, 16)).shape == (1, 3, 6, 12, 16)
    with pytest.raises(ValueError, match=r"\(6, 10, 16\) must be divisible by \(2, 4, 8\)"):
        network(torch.zeros(1, 2, 6, 10, 16))
    assert built(pools=(0, 2, 3), dimensions=2).divisor == (1, 4, 8)


def test_kernels_are_3_on_every_axis_and_nothing_has_a_bias():
    network = built(pools=(0, 1, 2))
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)]
    assert {layer.bias for layer in convolutions} == {None}
    assert {layer.kernel_size for layer in convolutions if layer is not network.output} == {
        (3, 3, 3),
        (1, 1, 2),  # up
        (1, 2, 2),
    }
    assert network.output.kernel_size == (1, 1, 1)


def test_without_poolings_it_is_two_convolutions():
    network = built(pools=(0, 0, 0))
    assert not len(network.up)
    assert network(torch.randn(1, 2, 3, 4, 5)).shape == (1, 3, 3, 4, 5)


# ----------------------------------------------------------------------------------------------------- two dimensions


def test_two_dimensions_see_each_slice_by_itself():
    network = built(pools=(0, 2, 2), dimensions=2)
    images = torch.randn(2, 2, 5, 8, 12)
    order = torch.tensor([3, 0, 4, 2, 1])
    whole = network(images)
    assert whole.shape == (2, 3, 5, 8, 12)
    torch.testing.assert_close(network(images[:, :, order]), whole[:, :, order])
    torch.testing.assert_close(network(images[1:, :, 2:3]), whole[1:, :, 2:3])
    changed = images.clone()
    changed[0, :, 2] += torch.randn(2, 8, 12)
    assert (network(changed) != whole).flatten(3).any(3).any(1).nonzero().tolist() == [[0, 2]]


def test_slices_of_a_batch_share_the_statistics_of_a_batch_norm():
    network = built(pools=(0, 1, 1), dimensions=2, norm="batch").train()
    images = torch.randn(1, 2, 3, 4, 4)
    alone, together = network(images[:, :, :1]), network(images)[:, :, :1]
    assert not torch.allclose(alone, together)
    network.eval()
    torch.testing.assert_close(network(images[:, :, :1]), network(images)[:, :, :1])


# ------------------------------------------------------------------------------------------------ norms, weights, bits


@pytest.mark.parametrize("size", [(4, 3, 6), (1, 2, 1)])
def test_a_group_for_each_channel_is_an_instance_norm(size):
    group, instance = nn.GroupNorm(5, 5), nn.InstanceNorm3d(5, affine=True)
    nn.init.normal_(group.weight)
    nn.init.normal_(group.bias)
    instance.load_state_dict(group.state_dict())
    x = torch.randn(2, 5, *size)
    torch.testing.assert_close(group(x), instance(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("leaky_relu", 2 / (1 + SLOPE**2))])
def test_weights_begin_as_he_proposed(activation, gain):
    torch.manual_seed(0)
    network = models.build("unet", 4, 4, pools=(2, 2, 2), activation=activation, filters=24)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            # torch takes the second axis for what enters, in a transposed convolution as well.
            expected = math.sqrt(gain / layer.weight[0].numel())
            number = layer.weight.numel()
            assert layer.weight.mean().abs() < 5 * expected / math.sqrt(number)
            assert layer.weight.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * number))


def test_a_seed_gives_the_same_weights():
    first, again, other = built(seed=1), built(seed=1), built(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.output.weight, other.output.weight)


@pytest.mark.parametrize(
    ("options", "size", "of_gradients"),
    [
        ({"pools": (3, 3, 3)}, (16, 16, 16), 0.6),  # 2 x 2 x 2 at the bottom
        ({"pools": (3, 3, 3), "down": "stride"}, (16, 32, 32), 0.6),
        ({"pools": (0, 4, 4), "dimensions": 2}, (3, 32, 32), 1.2),
    ],
)
def test_mixed_precision_is_right_where_little_is_left_to_convolve(options, size, of_gradients):
    """torch's bfloat16 convolutions go wrong where the input is smaller than the kernel; see gbmlib.models.blocks.

    Logits agree to some per cent. Gradients agree less at so few voxels, since each activation that changes its sign
    by rounding changes them; the wrong ones are off by their whole size, or infinite.
    """
    torch.manual_seed(0)
    network = models.build("unet", 2, 3, filters=16, **options)
    images = torch.randn(2, 2, *size)
    classes = (images[:, 0] > 0).long() + (images[:, 1] > 0.5)
    values, gradients = [], []
    for low in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            logits = network(images)
        nn.functional.cross_entropy(logits.float(), classes).backward()
        values.append(logits.detach().float())
        gradients.append([p.grad.float().clone() for p in network.parameters()])
    assert (values[1] - values[0]).norm() < 0.06 * values[0].norm()
    for full, low in zip(*gradients, strict=True):
        assert torch.isfinite(low).all()
        assert (low - full).norm() < of_gradients * full.norm()


def test_every_convolution_is_the_safe_one():
    for dimensions, kind, pools in ((2, Conv2d, (0, 2, 2)), (3, Conv3d, (2, 2, 2))):
        network = built(dimensions=dimensions, pools=pools)
        assert all(isinstance(layer, kind) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d))


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pools": (2, 2)}, "pools is .* required"),
        ({"pools": (2, -1, 2)}, "pools is -1"),
        ({"pools": (1, 2, 2), "dimensions": 2}, "does not pool z"),
        ({"filters": 0}, "filters is 0"),
        ({"dimensions": 4}, "dimensions is 4"),
        ({"down": "average_pool"}, "down is 'average_pool': Input should be"),
        ({"kernels": 3}, r"no option \['kernels'\]"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        models.build("unet", 2, 3, **options)


def test_every_fault_is_named():
    with pytest.raises(ValueError, match="unet: ") as caught:
        models.build("unet", 2, 3, norm="layer", activation="sine", down="none", filters=-1, dimensions=1, pools=(1,))
    for words in ("norm is 'layer'", "activation is 'sine'", "down is 'none'", "filters is -1", "dimensions", "pools"):
        assert words in str(caught.value)
