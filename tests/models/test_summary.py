"""How far the weights of squeeze-and-excitation vary, against weights computed by hand."""

import pytest
import torch
from torch import nn

from gbmlib import models
from gbmlib.models.blocks import SqueezeExcitation
from gbmlib.models.summary import excitation_spreads


@pytest.fixture
def network():
    """One layer whose channels get the weights sigmoid(mean of the first channel) and sigmoid(2)."""
    layer = SqueezeExcitation(2, reduction=2)
    with torch.no_grad():
        layer.squeeze.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.squeeze.bias.zero_()
        layer.excite.weight.copy_(torch.tensor([[1.0], [0.0]]))
        layer.excite.bias.copy_(torch.tensor([0.0, 2.0]))
    return nn.Sequential(layer)


def test_spreads_over_inputs_and_over_channels(network):
    images = [torch.full((2, 3, 4, 5), value) for value in (0.0, 1.0, 3.0)]
    first, second = torch.sigmoid(torch.tensor([0.0, 1.0, 3.0])), torch.sigmoid(torch.tensor(2.0))
    row = excitation_spreads(network, images).iloc[0]
    assert row["over inputs"] == pytest.approx(float((first.var(correction=0) / 2).sqrt()), rel=1e-5)
    assert row["over channels"] == pytest.approx(float((second - first.mean()).abs() / 2), rel=1e-5)


def test_layers_stand_in_the_order_of_the_forward_pass_and_the_network_is_left_as_it_was():
    network = models.build("segvae", 2, 3, (16, 32, 16), filters=8, blocks=(1, 2)).train()
    table = excitation_spreads(network, torch.randn(2, 2, 16, 32, 16))
    assert list(table.index) == ["encoder 0.0", "encoder 1.0", "encoder 1.1", "decoder 0.0"]
    assert network.training
    assert not any(layer._forward_hooks for layer in network.modules())
