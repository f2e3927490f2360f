"""V-Net: shapes, widths and parameters as published, against MONAI's by transferred weights, and its options."""

import copy

import pytest
import torch
from monai.networks.nets import VNet as MonaiVNet
from torch import nn

from gbmlib import models
from gbmlib.models.blocks import Conv3d, PReLU
from gbmlib.models.vnet import Stage


def test_widths_and_strides_are_the_papers():
    """Figure 2: 16 to 256 channels down, 256, 128, 64, 32 up, each level half the size."""
    network = models.build("vnet", 1, 2)
    shapes = {}
    for name, module in network.named_modules():
        if name.startswith(("encoder.", "decoder.")) and name.count(".") == 1:
            module.register_forward_hook(lambda m, i, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        out = network(torch.zeros(1, 1, 32, 64, 32))
    assert out.shape == (1, 2, 32, 64, 32)
    assert [shapes[f"encoder.{level}"] for level in range(5)] == [
        (16 * 2**level, 32 >> level, 64 >> level, 32 >> level) for level in range(5)
    ]
    assert [shapes[f"decoder.{level}"][0] for level in range(4)] == [256, 128, 64, 32]
    assert [len(stage.convolutions) for stage in network.encoder] == [1, 2, 3, 3, 3]
    assert [len(stage.convolutions) for stage in network.decoder] == [3, 3, 2, 1]


def test_parameters_counted_by_hand():
    def stage(channels_in, channels, convolutions):
        widths = [channels_in] + [channels] * (convolutions - 1)
        return sum(width * channels * 125 + channels + channels for width in widths)

    def step(channels_in, channels):
        return channels_in * channels * 8 + channels + channels

    encoder = stage(1, 16, 1) + sum(stage(16 * 2**i, 16 * 2**i, n) for i, n in enumerate((2, 3, 3, 3), 1))
    down = sum(step(16 * 2**i, 32 * 2**i) for i in range(4))
    decoder = stage(256, 256, 3) + stage(128, 128, 3) + stage(64, 64, 2) + stage(32, 32, 1)
    up = step(256, 128) + step(256, 64) + step(128, 32) + step(64, 16)
    assert models.parameters(models.build("vnet", 1, 2)) == encoder + down + decoder + up + 32 * 2 + 2


def _transfer(ours: nn.Module, theirs: nn.Module) -> None:
    """Give MONAI's V-Net our weights; what it has beyond the paper becomes the identity."""

    def stage(source, ops, act_last):
        assert len(ops) == len(source.convolutions)
        for number, op in enumerate(ops):
            # MONAI's decoder convolves without bias; ours starts at zero.
            op.conv_block.conv.load_state_dict(source.convolutions[number][0].state_dict(), strict=False)
            op.conv_block.adn.N.load_state_dict(source.convolutions[number][1].state_dict())
            # MONAI activates the last convolution once more before the addition; a slope of 1 changes nothing.
            op.act_function.load_state_dict(source.activations[number].state_dict())
        nn.init.ones_(ops[-1].act_function.weight)
        act_last.load_state_dict(source.activations[-1].state_dict())

    def step(source, convolution, norm, act):
        for part, target in zip(source, (convolution, norm, act), strict=True):
            target.load_state_dict(part.state_dict())

    first = ours.encoder[0]
    theirs.in_tr.conv_block.conv.load_state_dict(first.convolutions[0][0].state_dict())
    theirs.in_tr.conv_block.adn.N.load_state_dict(first.convolutions[0][1].state_dict())
    theirs.in_tr.act_function.load_state_dict(first.activations[0].state_dict())
    for level, width in enumerate((32, 64, 128, 256)):
        target = getattr(theirs, f"down_tr{width}")
        step(ours.down[level], target.down_conv, target.bn1, target.act_function1)
        stage(ours.encoder[level + 1], target.ops, target.act_function2)
    for level, width in enumerate((256, 128, 64, 32)):
        target = getattr(theirs, f"up_tr{width}")
        step(ours.up[level], target.up_conv, target.bn1, target.act_function1)
        stage(ours.decoder[level], target.ops, target.act_function2)
    # MONAI ends in a 5 x 5 x 5 convolution with norm and PReLU before the 1 x 1 x 1 one.
    last = theirs.out_tr
    nn.init.zeros_(last.conv_block.conv.weight)
    nn.init.zeros_(last.conv_block.conv.bias)
    last.conv_block.conv.weight[:, :, 2:3, 2:3, 2:3] = ours.output.weight
    last.conv_block.adn.N.weight.fill_((1 + last.conv_block.adn.N.eps) ** 0.5)
    nn.init.ones_(last.act_function1.weight)
    last.conv2.weight.copy_(torch.eye(len(last.conv2.weight)).view_as(last.conv2.weight))
    last.conv2.bias.copy_(ours.output.bias)


def test_agrees_with_monai_by_transferred_weights():
    torch.manual_seed(0)
    # MONAI has fewer convolutions a stage: 1, 1, 2, 3, 2 down and 2, 2, 1, 1 up.
    ours = models.build("vnet", 2, 3, norm="batch", convolutions=(1, 1, 2, 3, 2))
    ours.decoder[0] = Stage(256, 256, 2, 5, "batch")
    for module in ours.decoder[0].modules():
        if isinstance(module, nn.Conv3d):
            nn.init.zeros_(module.bias)
    ours.eval()
    theirs = MonaiVNet(3, 2, 3, act="prelu", bias=True).eval()
    with torch.no_grad():
        for module in ours.modules():  # statistics and slopes other than those they start with
            if isinstance(module, nn.BatchNorm3d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(0, 0.5)
        _transfer(ours, theirs)
        x = torch.randn(1, 2, 16, 32, 16)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("forwarding", ["concatenate", "add"])
@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
def test_every_option_trains(forwarding, norm):
    network = models.build("vnet", 3, 3, filters=2, convolutions=(1, 2), forwarding=forwarding, norm=norm)
    network(torch.randn(2, 3, 4, 6, 8)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_addition_halves_the_decoder():
    added, joined = (models.build("vnet", 2, 3, filters=4, forwarding=kind) for kind in ("add", "concatenate"))
    assert [stage.channels for stage in added.decoder] == [32, 16, 8, 4]
    assert [stage.channels for stage in joined.decoder] == [64, 32, 16, 8]


def test_the_input_is_repeated_over_the_first_filters():
    network = models.build("vnet", 3, 1, filters=4, convolutions=(1, 1))
    x = torch.randn(1, 3, 2, 2, 2)
    carried = network.encoder[0]._shortcut(x)
    assert torch.equal(carried, x[:, [0, 1, 2, 0]])


def test_initial_scale_is_hes():
    torch.manual_seed(0)
    network = models.build("vnet", 2, 3)
    weight = network.encoder[3].convolutions[1][0].weight
    assert weight.std().item() == pytest.approx((2 / (1 + 0.25**2) / (128 * 125)) ** 0.5, rel=0.01)
    assert not network.encoder[3].convolutions[1][0].bias.any()


def test_every_refusal_is_told_at_once():
    with pytest.raises(ValueError, match=r"kernel_size is 4.*forwarding is 'sum'.*norm is 'layer'"):
        models.build("vnet", 1, 1, kernel_size=4, forwarding="sum", norm="layer")
    with pytest.raises(ValueError, match=r"no option \['filter'\].*'filters'"):
        models.build("vnet", 1, 1, filter=8)
    with pytest.raises(ValueError, match=r"'wnet': unknown.*vnet"):
        models.build("wnet", 1, 1)
    with pytest.raises(ValueError, match=r"divisible by 16.*next is \(32, 16, 16\)"):
        models.build("vnet", 1, 1, filters=1)(torch.zeros(1, 1, 20, 16, 16))


@pytest.mark.parametrize("size", [(2, 2, 2), (3, 4, 3), (4, 8, 8), (6, 6, 6)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_low_precision_gradients_are_right_on_inputs_smaller_than_the_kernel(size, kernel):
    """torch 2.13's bfloat16 convolution alone fails this on processors with AVX512-bf16 (see :class:`Conv3d`)."""
    torch.manual_seed(0)
    convolution = Conv3d(32, 32, kernel, padding=kernel // 2)
    x, back = torch.randn(1, 32, *size), torch.randn(1, 32, *size)
    gradients = []
    for low in (False, True):
        convolution.zero_grad()
        # Memory that was used before: what is not written shows.
        del [torch.full((2_000_000,), 1e30) for _ in range(4)][:]
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            out = convolution(x)
        out.float().backward(back)
        gradients.append(convolution.weight.grad.clone())
    error = (gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max()
    assert error < 0.03


def _swapped(network: nn.Module, old: type, new) -> nn.Module:
    """A copy in which modules of one type are replaced, their parameters kept."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if type(module) is old:
                replacement = new(module)
                replacement.load_state_dict(module.state_dict())
                setattr(parent, name, replacement)
    return network


def _step(network: nn.Module, precision: str) -> list[torch.Tensor]:
    """The logits of a fixed batch and the gradients of every parameter."""
    images, weights = torch.randn(2, 2, 2, 16, 16, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = network(images)
    (logits.float().square() * weights[:, :1]).sum().backward()
    return [logits.detach(), *(p.grad for p in network.parameters())]


@pytest.mark.parametrize("forwarding", ["concatenate", "add"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_is_torchs_own_bit_for_bit(forwarding, precision):
    """What the published runs computed, with ``nn.PReLU``; in bfloat16 the lowest level is computed in float32."""
    torch.manual_seed(0)
    ours = models.build("vnet", 2, 3, filters=4, forwarding=forwarding)
    for module in ours.modules():
        if isinstance(module, PReLU):
            nn.init.uniform_(module.weight, -0.1, 0.5)
    plain = _swapped(ours, PReLU, lambda module: nn.PReLU(module.num_parameters))
    assert list(plain.state_dict()) == list(ours.state_dict())
    assert not any(type(module) is PReLU for module in plain.modules())
    assert all(map(torch.equal, _step(ours, precision), _step(plain, precision)))


def test_instance_norm_is_torchs():
    torch.manual_seed(0)
    ours = models.build("vnet", 2, 3, filters=4, convolutions=(1, 2, 1), norm="instance")
    for module in ours.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    plain = _swapped(ours, nn.GroupNorm, lambda module: nn.InstanceNorm3d(module.num_channels, affine=True))
    assert not any(isinstance(module, nn.GroupNorm) for module in plain.modules())
    (logits, *mine), (expected, *theirs) = (_step(network, "float32") for network in (ours, plain))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in theirs)  # a bias before a norm has none but rounding
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * largest)
