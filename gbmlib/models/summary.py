"""What a network needs for a training step, and what is in it: activations, weights of squeeze-and-excitation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from gbmlib.models.blocks import SqueezeExcitation

#: Bytes for each parameter: its value, its gradient, and Adam's two averages, all float32.
_BYTES_PER_PARAMETER = 16


def step_mb(
    network: nn.Module, in_channels: int, patch_size: Sequence[int], precision: str = "float32", batch_size: int = 1
) -> float:
    """The memory of a training step on a patch (z, y, x) in MB: activations, weights, gradients, and the optimiser's
    averages. The convolutions' working space comes on top.

    The forward pass runs on torch's meta device, where tensors have shapes alone, so that nothing is computed or
    allocated; each piece of memory that it would keep for the backward pass counts once. In mixed precision
    (``"bfloat16"``) activations count half.
    """
    network = copy.deepcopy(network).to("meta").train()
    stored: dict[int, int] = {}
    alive = []  # or the identity of a freed tensor could be given to another one

    def store(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            stored[storage._cdata] = max(stored.get(storage._cdata, 0), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(store, lambda tensor: tensor):
        network(torch.zeros((batch_size, in_channels, *patch_size), device="meta"))
    count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    activations = sum(stored.values()) * (0.5 if precision == "bfloat16" else 1) / 1e6
    return activations + count * _BYTES_PER_PARAMETER / 1e6


@torch.no_grad()
def magnitudes(network: nn.Module, images: Tensor) -> pd.DataFrame:
    """How large the activations are through the network's depth: a row for each stage in order of computation, with its
    output's size and root mean square.

    Stages are what a reader knows by name: the members of the network's lists, and what stands alone. Adeniji and Liu
    (2019, section 3.2.5) saw activations explode through strided convolutions without normalisation.

    Args:
        images: (batch, channel, z, y, x); the network predicts, in evaluation mode, and is left as it was.
    """
    rows: list[dict] = []

    def recorder(name: str) -> Callable:
        def record(stage: nn.Module, _: tuple, output: Tensor | tuple) -> None:
            tensor = output if isinstance(output, Tensor) else output[0]
            size = {"channels": tensor.shape[1], "size (z, y, x)": tuple(tensor.shape[2:])}
            rows.append({"stage": name} | size | {"root mean square": float(tensor.float().square().mean().sqrt())})

        return record

    hooks = []
    for name, child in network.named_children():
        several = isinstance(child, nn.ModuleList)
        for number, stage in enumerate(child if several else [child]):
            hooks.append(stage.register_forward_hook(recorder(f"{name} {number}" if several else name)))
    training = network.training
    network.eval()(images)
    network.train(training)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows).set_index("stage")


@torch.no_grad()
def excitation_spreads(network: nn.Module, images: Iterable[Tensor]) -> pd.DataFrame:
    """How far the weights of squeeze-and-excitation vary: a row a layer, in the order of the forward pass.

    Columns: ``over channels``, the standard deviation over a layer's channels of their mean weight; ``over inputs``,
    the standard deviation over inputs of a channel's weight (root mean square over channels). Where the second is far
    below the first, the layer multiplies its channels by constants.

    Args:
        images: each (channel, z, y, x); the network predicts one at a time, in evaluation mode, and is left as it was.
    """
    weights: dict[str, list[Tensor]] = {}
    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: weights.setdefault(name, []).append(output[0]))
        for name, layer in network.named_modules()
        if isinstance(layer, SqueezeExcitation)
    ]
    training = network.training
    network.eval()
    for image in images:
        network(image[None])
    network.train(training)
    for hook in hooks:
        hook.remove()
    rows = {}
    for name, outputs in weights.items():
        level = name.removesuffix(".excitation").replace(".", " ", 1)
        per_input = torch.stack(outputs).flatten(1).double()  # (input, channel)
        rows[level] = {
            "over channels": float(per_input.mean(0).std(correction=0)),
            "over inputs": float(per_input.var(0, correction=0).mean().sqrt()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
