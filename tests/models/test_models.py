"""Networks by name."""

import pytest
import torch

from gbmlib import models


@pytest.mark.parametrize("name", models.MODELS)
def test_shapes_alone_are_those_of_the_network_and_draw_nothing(name):
    network = models.build(name, 2, 3, (32, 32, 32))
    before = torch.random.get_rng_state()
    with models.shapes_only():
        shapes = models.build(name, 2, 3, (32, 32, 32))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert {key: (value.shape, value.dtype) for key, value in shapes.state_dict().items()} == {
        key: (value.shape, value.dtype) for key, value in network.state_dict().items()
    }
    assert {parameter.device.type for parameter in shapes.parameters()} == {"meta"}
    assert shapes.divisor == network.divisor
    assert torch.nn.init.ones_(torch.empty(2)).sum() == 2  # outside, tensors are filled as ever
