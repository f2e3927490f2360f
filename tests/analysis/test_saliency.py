"""Saliency and Grad-CAM against values by hand, finite differences, MONAI, and their own rule written out."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.visualize import GradCAM, VanillaGrad
from torch import nn

from gbmlib import models
from gbmlib.analysis import saliency
from gbmlib.analysis.saliency import Target
from gbmlib.evaluation import sliding_window
from gbmlib.models import residual
from gbmlib.preprocess.pipeline import Grid

NETWORKS = {
    "vnet": ("vnet", {"filters": 2, "convolutions": (1, 2), "forwarding": "add"}),
    "segvae": ("segvae", {"filters": 8, "blocks": (1, 1), "latent": 4, "patch_size": (8, 8, 8)}),
    "segvae, ReLU first": (
        "segvae",
        {"filters": 8, "blocks": (1, 1), "vae": False, "last_relu": "before", "se": "shortcut", "up": "nearest"},
    ),
    "segvae, original order": ("segvae", {"filters": 8, "blocks": (1, 1), "vae": False} | {"order": "norm-act-conv"}),
    "unet 3D": ("unet", {"filters": 4, "pools": (1, 2, 2)}),
    "unet 2D": ("unet", {"filters": 4, "pools": (0, 2, 2), "dimensions": 2}),
}


def built(name, channels=3, seed=0):
    torch.manual_seed(seed)
    model, options = NETWORKS[name]
    options = dict(options)
    return models.build(model, 2, channels, options.pop("patch_size", None), **options).eval()


def target_of(network, size=(8, 8, 8), tile=None, softmax=False, inside=(1,), seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn((2, *size), generator=generator)
    mask = torch.rand(size, generator=generator) < 0.3
    return Target(network, image, mask, inside, softmax, tile or size, **more)


class Pointwise(nn.Module):
    """Logits that are a linear function of the voxel itself."""

    def __init__(self, weights=((1.0, -2.0), (3.0, 0.5))):
        super().__init__()
        self.output = nn.Conv3d(2, len(weights), 1)
        self.output.weight.data = torch.tensor(weights).view(len(weights), 2, 1, 1, 1)

    def forward(self, x):
        return self.output(x)


# ------------------------------------------------------------------------------------------------------------ the score


def test_the_score_is_the_log_odds_of_the_region():
    logits = torch.randn(2, 4, 3, 2, 1, dtype=torch.float64)
    torch.testing.assert_close(saliency.score(logits, (2,), False), logits[:, 2].float())
    together = torch.softmax(logits, 1)[:, [1, 3]].sum(1)
    torch.testing.assert_close(saliency.score(logits, (1, 3), True), torch.logit(together).float())


def test_adding_to_all_classes_of_a_softmax_changes_no_score():
    logits = torch.randn(1, 3, 2, 2, 2)
    shifted = saliency.score(logits + torch.randn(1, 1, 2, 2, 2), (1,), True)
    torch.testing.assert_close(shifted, saliency.score(logits, (1,), True))


# ------------------------------------------------------------------------------------------------------------- saliency


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 6)] * 3))
@settings(max_examples=30, deadline=None)
def test_where_a_voxel_depends_on_itself_alone_tiles_lose_nothing(size, tile):
    target = target_of(Pointwise(), size, tile)
    if not target.mask.any():
        target.mask[0, 0, 0] = True
    expected = torch.tensor([3.0, 0.5]).view(2, 1, 1, 1) * target.mask
    torch.testing.assert_close(saliency.gradient(target), expected)
    torch.testing.assert_close(saliency.magnitude(saliency.gradient(target)), 3.0 * target.mask)


@pytest.mark.parametrize("softmax", [False, True], ids=["sigmoid", "softmax"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_against_finite_differences(name, softmax):
    target = target_of(built(name), softmax=softmax)
    double = copy.deepcopy(target.network).double()

    def total(image):
        logits = double(image[None])
        others = torch.logsumexp(logits[0, [0, 2]], 0) if softmax else 0
        return float(((logits[0, 1] - others) * target.mask).sum())

    found, image = saliency.gradient(target), target.image.double()
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            expected = (total(image + 1e-6 * direction) - total(image - 1e-6 * direction)) / 2e-6
        assert float((found * direction).sum()) == pytest.approx(expected, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", ["vnet", "segvae", "unet 3D"])
def test_tiles_are_blended_as_predictions_are(name):
    """The rule written out: each tile's own gradient, weighed by the Gaussian."""
    target = target_of(built(name), (12, 8, 16), (8, 8, 8))
    total, weights = torch.zeros(2, 12, 8, 16), torch.zeros(12, 8, 16)
    gaussian = sliding_window.gaussian((8, 8, 8))
    for window in sliding_window.tiles((12, 8, 16), (8, 8, 8), 0.5):
        tile = target.image[(slice(None), *window)][None].clone().requires_grad_()
        (target.network(tile)[0, 1] * target.mask[window]).sum().backward()
        total[(slice(None), *window)] += gaussian * tile.grad[0]
        weights[window] += gaussian
    torch.testing.assert_close(saliency.gradient(target), total / weights, rtol=1e-5, atol=1e-6)


def test_a_tile_without_the_region_says_zero_and_is_not_computed():
    calls = []
    network = Pointwise()
    network.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0].shape))
    target = target_of(network, (4, 4, 12), (4, 4, 4))
    target.mask[:] = False
    target.mask[0, 0, 0] = True
    saliency.gradient(target)
    assert calls == [(1, 2, 4, 4, 4)]  # of five tiles one, and never more than a tile


def test_the_gradient_against_monai():
    for name in ("vnet", "unet 3D", "unet 2D"):
        target = target_of(built(name))
        target.mask[:] = True
        theirs = VanillaGrad(copy.deepcopy(target.network))(target.image[None], index=1)
        torch.testing.assert_close(saliency.gradient(target), theirs[0], rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------- SmoothGrad


def test_noise_changes_nothing_where_the_gradient_is_the_same_everywhere():
    target = target_of(Pointwise(), (5, 4, 6), (4, 4, 4))
    torch.testing.assert_close(saliency.smooth_gradient(target, 3, 0.5), saliency.gradient(target))


def test_smooth_gradients_depend_on_the_seed_alone():
    target = target_of(built("unet 3D"), (8, 8, 12), (8, 8, 8))
    first, again, other = (saliency.smooth_gradient(target, 2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(saliency.smooth_gradient(target, 1, noise=0.0), saliency.gradient(target))


def test_smooth_gradients_are_the_mean_over_noisy_images():
    """Noise of a tenth of each channel's range, drawn for the whole volume; background stays background."""
    target = target_of(built("vnet"), (8, 8, 8))
    target.image[:, :, :3] = 0
    seen = []
    hook = target.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()[0]))
    found = saliency.smooth_gradient(target, 2, noise=0.1, seed=3)
    hook.remove()
    generator = torch.Generator().manual_seed(3)
    images = []
    for _ in range(2):
        drawn = torch.randn(2, 8, 8, 8, generator=generator)
        images.append(target.image.clone())
        for channel in range(2):
            inside = target.image[channel] != 0
            values = target.image[channel][inside]
            images[-1][channel][inside] += 0.1 * (values.max() - values.min()) * drawn[channel][inside]
    for image, given_to_network in zip(images, seen, strict=True):
        torch.testing.assert_close(given_to_network, image)
    expected = sum(saliency.gradient(replace(target, image=image)) for image in images) / 2
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- Grad-CAM


class TwoLayers(nn.Module):
    """Two features, each an average over pairs along x, and logits at their size twice over."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(1, 2, 1, bias=False), nn.AvgPool3d((1, 1, 2)), nn.ReLU(inplace=True))
        self.output = nn.Sequential(nn.ReLU(inplace=True), nn.Upsample(scale_factor=(1, 1, 2)), nn.Conv3d(2, 1, 1))
        self.features[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1)
        self.output[2].weight.data = torch.tensor([2.0, 0.5]).view(1, 2, 1, 1, 1)

    def forward(self, x):
        return self.output(self.features(x))


def test_grad_cam_by_hand():
    """Features of 1, 3, -2, -4, 5, 7 are 2, 0, 6 and 0, 3, 0; the mask holds four of the six voxels: both of the first
    pair, one each of the others. Gradients at the features are 2 (2, 1, 1) and 0.5 (2, 1, 1), but nothing where the
    ReLU after the second layer is off: 4, 0, 2 and 0, 0.5, 0. Their means weigh the features."""
    network = TwoLayers()
    image = torch.tensor([1.0, 3.0, -2.0, -4.0, 5.0, 7.0]).view(1, 1, 1, 6)
    mask = torch.tensor([True, True, True, False, False, True]).view(1, 1, 6)
    found = saliency.grad_cam(Target(network, image, mask, (0,), False, (1, 1, 6)), "features")
    coarse = torch.tensor([2.0 * 2, 0.5 / 3 * 3, 2.0 * 6])
    a, b, c = coarse.tolist()
    expected = [a, 0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b, 0.75 * b + 0.25 * c, 0.25 * b + 0.75 * c, c]
    assert found.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        *(("vnet", "decoder.0"), ("vnet", "encoder.1"), ("segvae", "encoder.1"), ("segvae", "first")),
        *(("unet 3D", "encoder.1"), ("unet 3D", "up.0"), ("unet 2D", "encoder.0"), ("unet 2D", "decoder.1")),
    ],
)
def test_grad_cam_against_monai(name, layer):
    """MONAI sums the logit of a channel over all voxels, which is ours where the mask holds them all."""
    size = (1, 8, 8) if "2D" in name else (8, 8, 8)  # MONAI would mix up slices
    target = target_of(built(name), size)
    target.mask[:] = True
    theirs = GradCAM(copy.deepcopy(target.network), layer, postprocessing=lambda cam: cam)
    image = target.image[None]
    coarse = theirs.compute_map(image, class_idx=1)
    mode = "trilinear" if coarse.ndim == 5 else "bilinear"
    expected = nn.functional.interpolate(coarse, size if coarse.ndim == 5 else size[1:], mode=mode).reshape(size)
    assert expected.max() > 0
    torch.testing.assert_close(saliency.grad_cam(target, layer)[0], expected.detach(), rtol=1e-4, atol=1e-6)


def test_several_layers_at_once_are_each_alone():
    target = target_of(built("segvae"), (8, 8, 12), (8, 8, 8))
    names = ["decoder.0", "encoder.1"]
    together = saliency.grad_cam(target, names)
    assert together.shape == (2, 8, 8, 12)
    assert (together >= 0).all()
    for number, name in enumerate(names):
        torch.testing.assert_close(together[number], saliency.grad_cam(target, name)[0])


def test_slices_are_explained_one_by_one():
    target = target_of(built("unet 2D"), (20, 8, 8), (1, 8, 8))  # more slices than go through the network at once
    for found, each in (
        (saliency.grad_cam(target, "encoder.1"), lambda of: saliency.grad_cam(of, "encoder.1")),
        (saliency.gradient(target), saliency.gradient),
    ):
        for z in (0, 17):
            of = replace(target, image=target.image[:, z : z + 1], mask=target.mask[z : z + 1])
            torch.testing.assert_close(found[:, z : z + 1], each(of))
        whole = each(replace(target, tile=(20, 8, 8)))  # the network takes slices apart by itself
        torch.testing.assert_close(found, whole)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_named_in_the_order_of_computation(name):
    network, order = built(name), []
    names = saliency.layers(network)
    hooks = [
        network.get_submodule(layer).register_forward_hook(lambda *_, layer=layer: order.append(layer))
        for layer in names
    ]
    with torch.no_grad():
        network(torch.zeros(1, 2, 8, 8, 8))
    assert order == names
    assert "output" not in names
    for hook in hooks:
        hook.remove()


def test_a_layer_that_does_not_exist_is_refused_with_those_that_do():
    target = target_of(built("vnet"))
    with pytest.raises(
        ValueError, match=r"no layer 'encoder\.7', 'decoder'; it has encoder\.0, down\.0, encoder\.1, up\.0"
    ):
        saliency.grad_cam(target, ["encoder.0", "encoder.7", "decoder"])


# --------------------------------------------------------------------------------------------------- how it is computed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["segvae", "segvae, ReLU first"])
def test_activation_checkpointing_changes_no_map(name, precision, monkeypatch):
    target = target_of(built(name), (8, 8, 12), (8, 8, 8), precision=precision)

    def maps():
        cams = saliency.grad_cam(target, saliency.layers(target.network))
        return torch.cat([cams, saliency.gradient(target)])

    again = maps()
    target.network.requires_grad_(False)  # which changes what torch keeps
    frozen = maps()
    target.network.requires_grad_(True)
    calls = []
    monkeypatch.setattr(residual, "checkpointed", lambda *_, **__: calls.append(1) or nullcontext())
    assert torch.equal(again, maps())
    assert calls
    assert torch.equal(again, frozen)


@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_gives_nearly_the_same(name):
    target = target_of(built(name), (16, 16, 16))
    full, low = (saliency.gradient(replace(target, precision=of)) for of in ("float32", "bfloat16"))
    assert low.dtype == torch.float32
    # Wherever rounding turns an activation's sign, the gradient through it changes; without learnt weights, often.
    assert torch.corrcoef(torch.stack([full.flatten(), low.flatten()]))[0, 1] > 0.9


def test_the_network_is_left_as_it_was():
    network = built("segvae").train()
    target = target_of(network)
    before = {name: of.clone() for name, of in network.state_dict().items()}
    with torch.inference_mode():  # a caller who only predicts
        saliency.grad_cam(target, "encoder.1")
        saliency.smooth_gradient(target, 2)
    assert network.training
    assert all(of.grad is None for of in network.parameters())
    assert all(torch.equal(of, before[name]) for name, of in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(target.image, target_of(network).image)


def test_maps_come_back_to_native_space():
    grid = Grid("a", (2, 3, 4), (slice(1, 4), slice(0, 2), slice(2, 6)), (5, 3, 7), (1, 0, 2))
    target = target_of(Pointwise(), (2, 3, 4), grid=grid)
    maps = torch.arange(24.0).view(1, 2, 3, 4)
    back = saliency.native(target, maps)
    assert back.shape == (1, 5, 3, 7)
    np.testing.assert_array_equal(back[0, 1:4, 0:2, 2:6], maps[0].transpose(0, 1))
    assert back.sum() == maps.sum()  # nothing outside
    with pytest.raises(ValueError, match="no native space"):
        saliency.native(replace(target, grid=None), maps)


def test_smoothing_takes_a_sample_at_least():
    with pytest.raises(ValueError, match="at least 1 sample"):
        saliency.smooth_gradient(target_of(Pointwise()), samples=0)
