"""The encoder-decoder with a VAE branch: its options, what it refuses, and where its parts run."""

import itertools
from contextlib import nullcontext

import pytest
import torch

from gbmlib import models
from gbmlib.models import residual, summary
from gbmlib.models.segvae import Outputs

PATCH = (16, 32, 16)


def small(**options):
    torch.manual_seed(0)
    return models.build("segvae", 2, 3, PATCH, **{"filters": 8, "blocks": (1, 1, 1, 1)} | options)


def test_training_gives_the_image_again_and_prediction_logits_alone():
    network, image = small(), torch.randn(2, 2, *PATCH)
    outputs = network.train()(image)
    assert isinstance(outputs, Outputs)
    assert outputs.logits.shape == (2, 3, *PATCH)
    assert outputs.reconstruction.shape == image.shape
    assert outputs.mean.shape == outputs.log_variance.shape == (2, 128)
    assert network.eval()(image).shape == (2, 3, *PATCH)
    assert small(vae=False).train()(image).shape == (2, 3, *PATCH)


CHOICES = {
    "order": ("conv-norm-act", "norm-act-conv"),
    "norm": ("group", "groups_of_8", "batch", "instance", "slab", "none"),
    "down": ("max_pool", "average_pool", "stride"),
    "up": ("linear", "nearest", "transposed"),
    "se": ("residual", "shortcut", "none"),
    "shortcut": ("identity", "conv"),
    "last_relu": ("after", "before"),
    "init": ("he", "he_output", "glorot", "torch"),
    "kernel_size": (1, 3, 5),
    "blocks": ((1, 1), (2, 2, 2, 4)),
    "vae_channels": (0, 8),
    "latent": (1, 64),
    "dropout": (0.0, 0.2),
}


@pytest.mark.parametrize(
    ("option", "value"), list(itertools.chain(*([(name, value) for value in of] for name, of in CHOICES.items())))
)
def test_every_option_trains(option, value):
    """One step in mixed precision reaches every weight with a finite gradient."""
    network, image = small(**{option: value}).train(), torch.randn(1, 2, *PATCH)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(image)
    terms = outputs.logits.square().mean() + outputs.reconstruction.square().mean()
    (terms + outputs.mean.square().sum() + outputs.log_variance.square().sum()).float().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_an_unknown_value_of_every_choice_is_refused_at_once():
    wrong = dict.fromkeys(("order", "norm", "down", "up", "se", "shortcut", "last_relu", "init"), "none of them")
    with pytest.raises(ValueError, match="segvae: ") as caught:
        small(**wrong, kernel_size=4, dropout=1.0, latent=0, blocks=(0, 1))
    for name in (*wrong, "kernel_size", "dropout", "latent", "blocks"):
        assert f"{name} is" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"filters": 4}, "filters is 4 .* multiples of 8"), ({"vae_channels": 4}, "vae_channels 4; .* multiples of 8")],
)
def test_widths_that_cannot_be_grouped_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        small(**options)


def test_a_patch_that_does_not_fit_is_refused_with_the_nearest_that_does():
    with pytest.raises(ValueError, match=r"\(48, 43, 7\) must be divisible by 16; .*\(48, 48, 16\)"):
        models.build("segvae", 2, 3, (48, 43, 7))
    with pytest.raises(ValueError, match=r"\(12, 16, 16\) must be divisible by 8; .*\(16, 16, 16\)"):
        small().eval()(torch.zeros(1, 2, 12, 16, 16))


def test_the_branch_fixes_the_training_patch_and_not_the_size_of_a_prediction():
    network = small()
    with pytest.raises(ValueError, match=r"training patches of \(16, 32, 16\)"):
        network.train()(torch.zeros(1, 2, 32, 32, 32))
    assert network.eval()(torch.zeros(1, 2, 8, 40, 24)).shape == (1, 3, 8, 40, 24)
    # Without the branch, half its size will do in training too.
    assert small(vae=False).train()(torch.zeros(1, 2, 8, 24, 8)).shape == (1, 3, 8, 24, 8)


def test_with_pooling_the_channels_double_in_the_first_block_of_a_level():
    network = small()
    widened = [level[0].shortcut.out_channels for level in network.encoder[1:]]
    assert widened == [16, 32, 64]
    assert isinstance(small(blocks=(1, 2)).encoder[1][1].shortcut, torch.nn.Identity)
    strided = small(down="stride")
    assert all(isinstance(block.shortcut, torch.nn.Identity) for level in strided.encoder for block in level)
    assert [down.out_channels for down in strided.down] == [16, 32, 64]


def test_the_last_relu_stands_after_the_addition_unless_asked():
    image = torch.randn(1, 2, *PATCH)
    for where, smallest in (("after", 0.0), ("before", None)):
        block = small(last_relu=where, shortcut="conv").encoder[0][0]
        out = block(torch.randn(1, 8, *PATCH))
        assert (out.min() >= 0) == (smallest is not None)
    assert image.min() < 0


def test_squeeze_excitation_off_is_a_smaller_network():
    sizes = {se: models.parameters(small(se=se)) for se in ("residual", "shortcut", "none")}
    assert sizes["residual"] == sizes["shortcut"] > sizes["none"]


def test_the_codes_head_has_the_ten_million_weights_that_were_reported():
    """82,944 numbers (128 channels of 9 x 9 x 8) to 128, from the paper's crop."""
    with torch.device("meta"):
        network = models.build("segvae", 2, 3, (128, 144, 144), vae_channels=0, latent=64, blocks=(2, 2, 2, 4))
    dense = network.vae.distribution
    assert (dense.in_features, dense.out_features) == (82_944, 128)
    assert 10.5e6 < dense.weight.numel() < 10.7e6


def activations_mb(network, patch=PATCH, **of):
    """What a step keeps besides four float32 numbers a parameter."""
    return summary.step_mb(network, 2, patch, **of) - models.parameters(network) * 16 / 1e6


def test_the_summary_counts_what_a_step_keeps():
    network = small(vae=False, se="none")
    once = activations_mb(network)
    assert activations_mb(network, batch_size=2) == pytest.approx(2 * once, rel=0.01)
    assert activations_mb(network, precision="bfloat16") == pytest.approx(once / 2)
    assert next(network.parameters()).device.type == "cpu"


def test_the_summary_agrees_with_a_real_step():
    """The same count of kept tensors, taken while a step runs."""
    network, image = small(), torch.randn(1, 2, *PATCH)
    kept, holding = {}, []

    def keep(tensor):
        holding.append(tensor)
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network.train()(image)
    assert outputs.logits.requires_grad
    assert activations_mb(network) == pytest.approx(sum(kept.values()) / 1e6, rel=0.05)


def test_magnitudes_grow_through_strides_without_norm():
    network = small(order="norm-act-conv", norm="none", down="stride", blocks=(1, 2, 2, 4))
    image = torch.randn(1, 2, *PATCH)
    table = summary.magnitudes(network.train(), image)
    assert network.training
    levels = table.loc[[f"encoder {level}" for level in range(4)], "root mean square"]
    assert levels.is_monotonic_increasing
    by_hand = network.eval().first(image).detach().square().mean().sqrt()
    assert table.loc["first", "root mean square"] == pytest.approx(float(by_hand))


@pytest.mark.parametrize("options", [{}, {"last_relu": "before"}, {"norm": "slab"}, {"norm": "batch"}], ids=str)
@pytest.mark.parametrize("mixed", [False, True])
def test_activation_checkpointing_changes_no_gradient(monkeypatch, options, mixed):
    def gradients() -> list[torch.Tensor]:
        network = small(**options).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            outputs = network(torch.randn(2, 2, *PATCH))
        (outputs.logits.square().mean() + outputs.reconstruction.square().mean()).backward()
        return [p.grad for p in network.parameters()] + list(network.buffers())

    lean = gradients()
    monkeypatch.setattr(residual, "checkpointed", lambda *of, **how: nullcontext())
    assert all(torch.equal(a, b) for a, b in zip(lean, gradients(), strict=True))


def test_what_is_computed_again_is_computed_in_the_precision_of_the_forward_pass():
    """Autocast ends with the forward pass, and a graphics card's group norm takes no bfloat16 without it."""
    network, seen = small().train(), []
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(1, 2, *PATCH)).logits
    forward = len(seen)
    logits.float().square().mean().backward()
    assert len(seen) > forward
    assert all(seen)
    assert not torch.is_autocast_enabled("cpu")


def test_a_block_keeps_four_tensors_for_the_backward_pass(monkeypatch):
    """The input, both convolutions' outputs, and the result: not what the two norms give."""

    def kept_mb() -> float:
        network = models.build("segvae", 2, 3, (64, 64, 64), vae=False, blocks=(4, 1))
        return activations_mb(network, (64, 64, 64))

    lean = kept_mb()
    monkeypatch.setattr(residual, "checkpointed", lambda *of, **how: nullcontext())
    feature_map_mb = 16 * 64**3 * 4 / 1e6
    spared = (kept_mb() - lean) / feature_map_mb
    # Two of each of the five blocks at full resolution, and of one with twice the channels at half of it.
    assert spared == pytest.approx(2 * 5 + 2 * 2 / 8, rel=0.01)


@pytest.mark.parametrize("options", [{}, {"order": "norm-act-conv", "init": "torch"}, {"down": "stride"}])
def test_with_a_small_output_no_channel_begins_by_marking_everything(options):
    """The first logits of five seeds stay near zero, where He's output alone lets a channel reach 5 at most voxels."""
    for seed in range(5):
        torch.manual_seed(seed)
        network, image = small(filters=16, output_gain=0.05, **options).eval(), torch.randn(1, 2, *PATCH)
        assert network(image).abs().max() < 1


def test_the_original_order_needs_smaller_weights():
    """Its features grow with every block under He's weights, as no norm follows what is added to them."""
    sizes = {}
    for init in ("he", "torch"):
        torch.manual_seed(0)
        network = small(filters=16, blocks=(1, 2, 2, 4), order="norm-act-conv", init=init).eval()
        features = []
        network.output.register_forward_pre_hook(lambda _, given, kept=features: kept.append(given[0]))
        network(torch.randn(1, 2, *PATCH))
        sizes[init] = features[0].square().mean().sqrt().item()
    assert sizes["he"] > 4
    assert 0.1 < sizes["torch"] < 1


def test_the_output_gain_scales_the_output_alone():
    torch.manual_seed(0)
    plain = small().state_dict()
    torch.manual_seed(0)
    scaled = small(output_gain=0.5).state_dict()
    changed = [name for name in plain if not torch.equal(plain[name], scaled[name])]
    assert changed == ["output.weight"]
    torch.testing.assert_close(scaled["output.weight"], plain["output.weight"] / 2)
