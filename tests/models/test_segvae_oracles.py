"""The encoder-decoder with a VAE branch against MONAI's, its papers' formulae, and what the papers say of its shapes.

MONAI's networks end in a norm and a ReLU before the last convolution, and its VAE shares the decoder with the
segmentation and estimates deviations where Adeniji and Liu learn log-variances. Where the layouts differ the tests put
MONAI's modules in the place of ours, so that everything else is compared: blocks, steps down and up, order, skips.
"""

import copy

import numpy as np
import pytest
import torch
from monai.networks.blocks import ChannelSELayer
from monai.networks.nets import SegResNet, SegResNetVAE
from torch import nn
from torch.nn import functional

from gbmlib import models
from gbmlib.models.blocks import Conv3d, SqueezeExcitation
from gbmlib.models.residual import Block
from gbmlib.models.segvae import MYRONENKO, SegVAE
from gbmlib.training import loop
from gbmlib.training.configuration import Experiment
from gbmlib.training.losses import dice_loss, kl_loss, reconstruction_loss

PATCH = (16, 32, 32)
SMALL = MYRONENKO | {"filters": 8, "dropout": 0.0}


def same(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal to a share of the largest value."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def uneven(network: nn.Module) -> None:
    """Other scales and shifts in the norms than 1 and 0, with which one norm could stand for another unseen."""
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def take_block(ours: Block, theirs: nn.Module) -> None:
    for mine, other in zip(
        [*ours.convolutions, *ours.norms],
        [theirs.conv1.conv, theirs.conv2.conv, theirs.norm1, theirs.norm2],
        strict=True,
    ):
        mine.load_state_dict(other.state_dict())


def take(ours: SegVAE, theirs: SegResNet) -> None:
    """Give our network the weights of MONAI's, and its head."""
    ours.first[0].load_state_dict(theirs.convInit.conv.state_dict())
    for level, (blocks, layers) in enumerate(zip(ours.encoder, theirs.down_layers, strict=True)):
        if level:
            ours.down[level - 1].load_state_dict(layers[0].conv.state_dict())
        for block, other in zip(blocks, layers[1:], strict=True):
            take_block(block, other)
    for up, other_up, blocks, others in zip(ours.up, theirs.up_samples, ours.decoder, theirs.up_layers, strict=True):
        up[0].load_state_dict(other_up[0].conv.state_dict())
        for block, other in zip(blocks, others, strict=True):
            take_block(block, other)
    ours.output = copy.deepcopy(theirs.conv_final)


def gradients(ours: SegVAE, theirs: SegResNet) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Gradients of weights in the encoder's first and last block, a step down, a step up, and the decoder's end."""
    pairs = [
        (ours.first[0].weight, theirs.convInit.conv.weight),
        (ours.encoder[0][0].convolutions[0].weight, theirs.down_layers[0][1].conv1.conv.weight),
        (ours.encoder[3][3].norms[1].weight, theirs.down_layers[3][4].norm2.weight),
        (ours.down[1].weight, theirs.down_layers[2][0].conv.weight),
        (ours.up[0][0].weight, theirs.up_samples[0][0].conv.weight),
        (ours.decoder[2][0].convolutions[1].weight, theirs.up_layers[2][0].conv2.conv.weight),
    ]
    return [(mine.grad, other.grad) for mine, other in pairs]


def test_the_segmentation_is_monais():
    torch.manual_seed(0)
    ours = SegVAE(2, 3, PATCH, **SMALL, vae=False)
    theirs = SegResNet(3, 8, 2, 3)
    uneven(theirs)
    take(ours, theirs)
    ours, theirs = ours.double(), theirs.double()
    images = torch.randn(2, 2, *PATCH, dtype=torch.float64)
    target = torch.rand(2, 3, *PATCH) < 0.2
    logits, others = ours(images), theirs(images)
    same(logits, others, 1e-12)
    for out in (logits, others):
        # Not dice_loss, which computes in float32 and would hide what float64 shows.
        functional.binary_cross_entropy_with_logits(out, target.double()).backward()
    for mine, other in gradients(ours, theirs):
        same(mine, other, 1e-10)


class MeanAndDeviation(nn.Module):
    """MONAI's two dense layers, its softplus deviation told as a log-variance."""

    def __init__(self, mean: nn.Module, deviation: nn.Module):
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, x):
        return torch.cat([self.mean(x), 2 * torch.log(functional.softplus(self.deviation(x)))], 1)


def test_the_branch_and_its_loss_are_monais():
    torch.manual_seed(0)
    latent = 12
    ours = SegVAE(2, 3, PATCH, **SMALL, latent=latent)
    theirs = SegResNetVAE(PATCH, vae_estimate_std=True, vae_nz=latent, init_filters=8, in_channels=2, out_channels=3)
    uneven(theirs)
    take(ours, theirs)
    ours.vae.up, ours.vae.decoder = ours.up, ours.decoder
    ours.vae.reduce, ours.vae.widen = copy.deepcopy(theirs.vae_down), copy.deepcopy(theirs.vae_fc_up_sample)
    ours.vae.distribution = MeanAndDeviation(copy.deepcopy(theirs.vae_fc1), copy.deepcopy(theirs.vae_fc2))
    ours.vae.back, ours.vae.output = copy.deepcopy(theirs.vae_fc3), copy.deepcopy(theirs.vae_conv_final)

    images = torch.randn(1, 2, *PATCH)
    target = torch.rand(1, 3, *PATCH) < 0.2
    torch.manual_seed(1)
    out = ours(images)
    # Theirs is half the mean over the latent: ours, with twice the latent in the place of the voxels.
    branch = reconstruction_loss(out.reconstruction, images) + kl_loss(out.mean, out.log_variance, 2 * latent)
    torch.manual_seed(1)
    others, other_branch = theirs(images)
    same(out.logits, others)
    same(branch, other_branch)
    (dice_loss(out.logits, target) + branch).backward()
    (dice_loss(others, target) + other_branch).backward()
    for mine, other in gradients(ours, theirs):
        same(mine, other)
    same(ours.vae.distribution.deviation.weight.grad, theirs.vae_fc2.weight.grad)
    same(ours.vae.back.weight.grad, theirs.vae_fc3.weight.grad)


# --------------------------------------------------------------------------------------------------- squeeze-excitation


def test_squeeze_excitation_is_its_papers_formula():
    """Hu et al. (2018), equations 2 and 3: z is the mean over space, s = sigmoid(W2 relu(W1 z)), both with biases."""
    torch.manual_seed(0)
    layer = SqueezeExcitation(6, 2)
    x = torch.randn(2, 6, 3, 4, 5)
    w1, b1, w2, b2 = (parameter.detach().numpy().astype(float) for parameter in layer.parameters())
    z = x.numpy().astype(float).reshape(2, 6, -1).mean(2)
    s = 1 / (1 + np.exp(-(np.maximum(z @ w1.T + b1, 0) @ w2.T + b2)))
    assert w1.shape == (3, 6)
    np.testing.assert_allclose(layer(x).detach().numpy().reshape(2, 6), s, rtol=1e-5)


def test_squeeze_excitation_is_monais():
    torch.manual_seed(0)
    ours, theirs = SqueezeExcitation(8, 4), ChannelSELayer(3, 8, r=4)
    ours.squeeze.load_state_dict(theirs.fc[0].state_dict())
    ours.excite.load_state_dict(theirs.fc[2].state_dict())
    x = torch.randn(2, 8, 3, 4, 5)
    same(x * ours(x), theirs(x), 1e-6)


@pytest.mark.parametrize("where", ["residual", "shortcut"])
def test_what_a_block_excites(where):
    """The residual (section 3.2.2) or the shortcut (the code), before the addition and the last ReLU."""
    torch.manual_seed(0)
    block = SegVAE(2, 3, PATCH, se=where, vae=False).encoder[0][0]
    x = torch.randn(1, 16, 4, 5, 6)
    residual = block.norms[1](block.convolutions[1](torch.relu(block.norms[0](block.convolutions[0](x)))))
    parts = {"residual": residual, "shortcut": x}
    parts[where] = parts[where] * block.excitation(parts[where])
    same(block(x), torch.relu(parts["residual"] + parts["shortcut"]), 1e-6)


# ------------------------------------------------------------------------------------------------------- initialisation


def drawn(init: str) -> SegVAE:
    torch.manual_seed(0)
    return SegVAE(2, 3, (32, 32, 32), init=init)


def fans(layer: nn.Module) -> tuple[int, int]:
    taps = layer.weight[0, 0].numel() if layer.weight.ndim > 2 else 1
    return layer.weight.shape[1] * taps, layer.weight.shape[0] * taps


def follows(weight: torch.Tensor, variance: float, kurtosis: float) -> None:
    """Mean and variance within five standard errors; an even draw has a kurtosis of 1.8, a normal one of 3."""
    values = weight.detach().double().flatten()
    n = len(values)
    assert abs(values.mean()) < 5 * (variance / n) ** 0.5
    assert abs(values.square().mean() / variance - 1) < 5 * ((kurtosis - 1) / n) ** 0.5
    if n > 5000:
        assert abs((values**4).mean() / variance**2 - kurtosis) < 0.5


def weighted(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, Conv3d | nn.Conv3d | nn.Linear)]


@pytest.mark.parametrize("init", ["he", "he_output"])
def test_he_before_a_relu_and_glorot_before_a_sigmoid(init):
    network = drawn(init)
    sigmoids = {module.excite for module in network.modules() if isinstance(module, SqueezeExcitation)}
    assert len(sigmoids) == 9 + 3 + 3
    if init == "he":
        sigmoids.add(network.output)
    for layer in weighted(network):
        fan_in, fan_out = fans(layer)
        follows(layer.weight, 2 / (fan_in + fan_out) if layer in sigmoids else 2 / fan_in, 3)
        assert layer.bias is None or not layer.bias.any()


def test_a_transposed_convolution_reads_one_voxel_for_each_it_writes():
    """Of kernel 2 and stride 2: its fan-in is its channels."""
    torch.manual_seed(0)
    network = SegVAE(2, 3, PATCH, up="transposed", vae=False)
    layers = [module for module in network.modules() if isinstance(module, nn.ConvTranspose3d)]
    assert len(layers) == 3
    for layer in layers:
        follows(layer.weight, 2 / layer.in_channels, 3)


def test_glorot_uniform_throughout():
    for layer in weighted(drawn("glorot")):
        variance = 2 / sum(fans(layer))
        follows(layer.weight, variance, 1.8)
        assert layer.weight.abs().max() <= (3 * variance) ** 0.5


# ------------------------------------------------------------------------------------------- receptive field and shapes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 1 + the first convolution (2), and for each level its convolutions (2 each) and the step to the next, times
        # the voxels between neighbours there: 1 + 2 + 4 | 1 + 16 | 2 + 32 | 4 + 128 with steps of width 2,
        ({"down": "average_pool"}, 7 + 17 + 34 + 132),
        # ... and of width 3,
        (MYRONENKO | {"filters": 8, "dropout": 0.0}, 7 + 18 + 36 + 136),
        # ... and with kernels of 5 in the blocks and before them.
        ({"down": "average_pool", "kernel_size": 5, "blocks": (1, 1, 1, 1)}, 13 + 17 + 34 + 68),
    ],
    ids=["pooling", "strided", "kernel 5"],
)
def test_the_receptive_field_of_the_deepest_features(options, expected):
    """Which input voxels along z a deepest feature depends on; norms and SE, which see everything, are left out.

    Average pooling stands in for max-pooling, whose gradient goes to one voxel of those it looks at.
    """
    network = SegVAE(1, 1, **{"filters": 8} | options | {"norm": "none", "se": "none", "vae": False}).double()
    for layer in weighted(network):
        nn.init.constant_(layer.weight, 1 / fans(layer)[0])
    x = torch.ones(1, 1, 320, 8, 8, dtype=torch.float64, requires_grad=True)
    deepest, _ = network.encode(x)
    deepest[0, 0, deepest.shape[2] // 2, 0, 0].backward()
    seen = x.grad[0, 0].abs().sum((1, 2)).nonzero().flatten()
    assert int(seen[-1] - seen[0]) + 1 == len(seen) == expected


@pytest.mark.parametrize("options", [MYRONENKO, {"filters": 32}], ids=["Myronenko", "Adeniji and Liu"])
def test_shapes_at_each_level_are_the_published_ones(options):
    """Myronenko (2018), table 1: 160 x 192 x 128 (x, y, z) voxels, 20 x 24 x 16 x 256 at the end of the encoder."""
    size = (128, 192, 160)
    with torch.device("meta"):
        network = SegVAE(4, 3, size, **options)
        image = torch.empty(1, 4, *size)
        deepest, skips = network.encode(image)
        shapes = {}
        for name in ("reduce", "distribution", "back", "widen"):
            hook = lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])})  # noqa: E731
            getattr(network.vae, name).register_forward_hook(hook)
        out = network(image)
    assert [tuple(skip.shape[1:]) for skip in skips] == [(32, 128, 192, 160), (64, 64, 96, 80), (128, 32, 48, 40)]
    assert tuple(deepest.shape[1:]) == (256, 16, 24, 20)
    assert shapes == {
        "reduce": (16, 8, 12, 10),
        "distribution": (256,),
        "back": (16 * 8 * 12 * 10,),
        "widen": (256, 16, 24, 20),
    }
    assert out.mean.shape == out.log_variance.shape == (1, 128)
    assert out.logits.shape == (1, 3, *size)
    assert out.reconstruction.shape == (1, 4, *size)


# ---------------------------------------------------------------------------------------------- the branch and the rest


def configured(**changes) -> Experiment:
    return Experiment(
        **{"model": "segvae", "options": {"filters": 8}, "cohort": "phantom:cases=4", "patch_size": (16, 16, 32)},
        **{"epochs": 1, "learning_rate": 1e-3} | changes,
    )


def backward(network: nn.Module, experiment: Experiment, keep: tuple[str, ...]) -> None:
    """Gradients of some terms of the loss on a patch that is always the same."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(1, 2, *experiment.patch_size, generator=generator)
    target = torch.rand(1, 3, *experiment.patch_size, generator=generator) < 0.2
    outputs = network.train()(images)
    logits = outputs if isinstance(outputs, torch.Tensor) else outputs.logits
    terms = loop.loss_terms(experiment, network, outputs, logits, images, target)
    network.zero_grad(set_to_none=True)
    sum(terms[name] for name in keep if name in terms).backward()


def built(experiment: Experiment, **options) -> SegVAE:
    torch.manual_seed(0)
    return models.build("segvae", 2, 3, experiment.patch_size, **experiment.options | options)


def test_the_branch_teaches_the_encoder_and_nothing_else():
    experiment = configured()
    network = built(experiment)
    backward(network, experiment, ("reconstruction", "kl"))
    for name, parameter in network.named_parameters():
        if name.split(".")[0] in ("first", "encoder", "vae"):
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        else:
            assert parameter.grad is None, name
    for part in (network.first, *network.encoder):
        assert all(parameter.grad.abs().max() > 0 for parameter in part.parameters() if parameter.ndim > 1)


def test_with_weights_of_zero_the_branch_teaches_nothing():
    every = ("loss", "reconstruction", "kl")
    experiment = configured(reconstruction_weight=0, kl_weight=0)
    network = built(experiment)
    backward(network, experiment, every)
    assert not any(parameter.grad.any() for parameter in network.vae.parameters())
    without = built(experiment, vae=False)
    without.load_state_dict({name: w for name, w in network.state_dict().items() if not name.startswith("vae.")})
    backward(without, experiment, every)
    with_branch = dict(network.named_parameters())
    for name, parameter in without.named_parameters():
        torch.testing.assert_close(parameter.grad, with_branch[name].grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("options", [{}, SMALL], ids=["Adeniji and Liu", "Myronenko"])
def test_a_prediction_is_the_same_with_and_without_the_branch(options):
    experiment = configured()
    network, without = (built(experiment, **options, vae=vae) for vae in (True, False))
    without.load_state_dict({name: w for name, w in network.state_dict().items() if not name.startswith("vae.")})
    # Another size than that of training, which the dense layers do not see.
    images = torch.randn(1, 2, 24, 16, 8)
    with torch.inference_mode():
        assert torch.equal(network.eval()(images), without.eval()(images))
