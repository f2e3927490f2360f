"""What a network is made of and what it costs: layers, parameters, activations, memory; nothing is computed for it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from gbmlib.models.blocks import SqueezeExcitation

#: Bytes for each parameter: its value, its gradient, and Adam's two averages, all float32.
_BYTES_PER_PARAMETER = 16


@dataclass(frozen=True)
class Summary:
    """A network on a patch.

    Attributes:
        stages: a row for each part of the network in order of computation: output (channel, z, y, x) and parameters.
        parameters: the number of trainable ones.
        activations_mb: of the tensors kept for the backward pass, in MB.
        memory_mb: of a training step, in MB: activations, weights, gradients, and the optimiser's averages. The
            convolutions' working space comes on top.
    """

    stages: pd.DataFrame
    parameters: int
    activations_mb: float
    memory_mb: float

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.2f} million parameters; a training step keeps {self.activations_mb:,.0f} MB of "
            f"activations and needs about {self.memory_mb:,.0f} MB\n{self.stages.to_string()}"
        )


def explain(
    network: nn.Module, in_channels: int, patch_size: Sequence[int], precision: str = "float32", batch_size: int = 1
) -> Summary:
    """Summarise a network on a patch (z, y, x) in voxels, without computing or allocating anything.

    The forward pass runs on torch's meta device, where tensors have shapes alone; what it would keep for the backward
    pass is counted once for each piece of memory. In mixed precision (``"bfloat16"``) activations count half.

    Raises:
        ValueError: the patch does not fit the network.
    """
    network = copy.deepcopy(network).to("meta").train()
    kept: dict[int, int] = {}
    holding = []  # or a freed tensor's identity could be given to another one
    parameters = {id(p) for p in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        holding.append(tensor)
        storage = tensor.untyped_storage()
        if id(tensor) not in parameters and not isinstance(tensor, nn.Parameter):
            kept[storage._cdata] = max(kept.get(storage._cdata, 0), storage.nbytes())
        return tensor

    rows: list[dict] = []
    hooks = [part.register_forward_hook(_recorder(name, rows)) for name, part in _stages(network)]
    image = torch.zeros((batch_size, in_channels, *patch_size), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(image)
    for hook in hooks:
        hook.remove()
    first = outputs if isinstance(outputs, Tensor) else outputs[0]
    if first.shape[2:] != image.shape[2:]:
        raise ValueError(f"the network gives {tuple(first.shape[2:])} for a patch of {tuple(patch_size)}")
    count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    activations = sum(kept.values()) * (0.5 if precision == "bfloat16" else 1) / 1e6
    stages = pd.DataFrame(rows).set_index("stage")
    return Summary(stages, count, activations, activations + count * _BYTES_PER_PARAMETER / 1e6)


@torch.no_grad()
def magnitudes(network: nn.Module, images: Tensor) -> pd.DataFrame:
    """How large the activations are through the network's depth: a row a stage, with its root mean square.

    Adeniji and Liu (2019, section 3.2.5) saw them explode through strided convolutions without normalisation.

    Args:
        images: (batch, channel, z, y, x); the network predicts, in evaluation mode, and is left as it was.
    """
    rows: list[dict] = []
    hooks = [part.register_forward_hook(_recorder(name, rows, measure=True)) for name, part in _stages(network)]
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


def _stages(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts a reader knows by name: the members of the top level's lists, and what stands alone."""
    found = []
    for name, part in network.named_children():
        if isinstance(part, nn.ModuleList):
            found += [(f"{name} {number}", member) for number, member in enumerate(part)]
        else:
            found.append((name, part))
    return found


def _recorder(name: str, rows: list[dict], measure: bool = False):
    def record(part: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
        tensor = output if isinstance(output, Tensor) else output[0]
        row = {"stage": name, "channels": tensor.shape[1], "size (z, y, x)": tuple(tensor.shape[2:])}
        if measure:
            row["root mean square"] = float(tensor.float().square().mean().sqrt())
        else:
            row["parameters"] = sum(p.numel() for p in part.parameters())
        rows.append(row)

    return record
