"""One readable training loop, for CPU and CUDA; killed and asked for again, it continues as if nothing had happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gbmlib import augment, metrics, models, patches, tensors
from gbmlib.configuration import Experiment
from gbmlib.inference import sliding_window
from gbmlib.losses import LOSSES
from gbmlib.schedules import learning_rate

CHECKPOINT, LAST_GOOD = "checkpoint.safetensors", "last_good.safetensors"
_REMEDY = "A smaller learning_rate, a warmup, or float32 in place of bfloat16 usually mends it"


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what was kept."""


@dataclass(frozen=True)
class Sample:
    """A prepared case on the training device: images (channel, z, y, x) float32, target (region, z, y, x) bool."""

    id: str
    images: Tensor
    target: Tensor


@dataclass
class State:
    """All that a run needs to go on: the network, the optimiser, the generator of draws, and what was logged."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    history: list[dict[str, float]]
    seconds: list[float]


def train(
    experiment: Experiment,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    regions: Sequence[str],
    folder: Path,
    device: torch.device,
    checkpoint_seconds: float = 60,
    progress: bool = True,
    origin: Mapping[str, Any] | None = None,
) -> State:
    """Train the network of a configuration, or go on from the checkpoint in ``folder``.

    Each epoch takes ``crops`` random patches of every training case and then validates on whole volumes. The logged
    metrics are equations 6 to 9 of Adeniji and Liu (2019) with their eps of 1, averaged over regions and over patches
    (training) or cases (validation), on the network's grid.

    Args:
        regions: names of the target's channels.
        checkpoint_seconds: a checkpoint is written at the end of an epoch, at most this often, and at the last one.
        origin: what else decides a result, such as the fingerprint of the data and the version of the numerics; a
            checkpoint of another origin is not continued, and training begins anew.

    Raises:
        TrainingError: the loss or a gradient is not finite.
    """
    state = _start(experiment, len(regions), device)
    checkpoint = folder / CHECKPOINT
    origin = {"configuration": experiment.canonical, "device": device.type, **(origin or {})}
    if checkpoint.exists():
        _resume(state, checkpoint, origin, device)
    steps = -(-len(training) * experiment.crops // experiment.batch_size)
    done = len(state.history)
    saved = time.monotonic()
    bar = tqdm(total=experiment.epochs * steps, initial=done * steps, disable=not progress, unit="step")
    with bar:
        for epoch in range(done, experiment.epochs):
            if _stopped_early(state.history, experiment.patience):
                break
            started = time.monotonic()
            row = {"epoch": epoch, "learning_rate": _set_rate(state.optimiser, experiment, epoch)}
            # A forward pass that goes wrong has already changed the running statistics of a batch norm.
            statistics = {name: value.clone() for name, value in state.network.named_buffers()}
            try:
                row |= _epoch(state, experiment, training, epoch, bar)
            except TrainingError as error:
                tensors.save(folder / LAST_GOOD, state.network.state_dict() | statistics)
                raise TrainingError(f"{error}. The weights before this step are kept in {folder / LAST_GOOD}") from None
            row |= validate(state.network, experiment, validation, regions)
            if not np.isfinite(row["val_loss"]):
                raise TrainingError(
                    f"epoch {epoch}: the validation loss is {row['val_loss']}, so the epoch's last step has spoilt the "
                    f"weights. {_REMEDY}. The last good state, if there is one yet, is in {checkpoint}"
                )
            state.history.append(row)
            state.seconds.append(time.monotonic() - started)
            bar.set_postfix(
                loss=f"{row['train_loss']:.3f}", dice=f"{row['train_dice']:.3f}", val=f"{row['val_dice']:.3f}"
            )
            last = epoch + 1 == experiment.epochs or _stopped_early(state.history, experiment.patience)
            if last or time.monotonic() - saved >= checkpoint_seconds:
                _save(state, checkpoint, origin)
                saved = time.monotonic()
    return state


def validate(
    network: nn.Module, experiment: Experiment, validation: Sequence[Sample], regions: Sequence[str]
) -> dict[str, float]:
    """Loss and metrics over whole prepared volumes, mean over cases and regions; Dice of each region too."""
    losses, scores = [], {region: [] for region in regions}
    for sample in validation:
        probabilities = predict(network, sample.images, experiment)
        # The loss takes logits; blending is over probabilities, so go back.
        logits = torch.logit(probabilities, eps=1e-6)[None]
        losses.append(float(LOSSES[experiment.loss](logits, sample.target[None])))
        for region, probability, truth in zip(regions, probabilities, sample.target, strict=True):
            scores[region].append(metrics.every(probability >= 0.5, truth, metrics.PAPER_EPS))
    every = [score for of_region in scores.values() for score in of_region]
    out = {"val_loss": float(np.mean(losses))}
    out |= {f"val_{name}": float(np.mean([score[name] for score in every])) for name in metrics.NAMES}
    out |= {f"val_dice_{region}": float(np.mean([s["dice"] for s in of])) for region, of in scores.items()}
    return out


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, experiment: Experiment, mirror_axes: Sequence[int] = ()) -> Tensor:
    """Probabilities (region, z, y, x) of a whole prepared volume, float32."""
    network.eval()

    def probabilities(tile: Tensor) -> Tensor:
        with autocast(experiment, tile.device):
            logits = network(tile)
        return torch.sigmoid(logits.float())

    return sliding_window(probabilities, images, experiment.patch_size, mirror_axes=mirror_axes)


def autocast(experiment: Experiment, device: torch.device) -> torch.autocast:
    """Mixed precision where the configuration asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=experiment.precision == "bfloat16")


@contextlib.contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Compute with this many CPU threads: sums, and so the last bits of a result, depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _start(experiment: Experiment, channels: int, device: torch.device) -> State:
    torch.manual_seed(experiment.seed)
    network = models.build(experiment.model, len(experiment.modalities), channels, **experiment.options).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=experiment.learning_rate, fused=True)
    return State(network, optimiser, torch.Generator().manual_seed(experiment.seed), [], [])


def _epoch(state: State, experiment: Experiment, training: Sequence[Sample], epoch: int, bar: tqdm) -> dict[str, float]:
    """One pass over the training patches in random order; mean loss and Dice."""
    state.network.train()
    order = torch.randperm(len(training) * experiment.crops, generator=state.generator) % len(training)
    losses, dices = [], []
    for numbers in order.split(experiment.batch_size):
        drawn = [_draw(training[number], experiment, state.generator) for number in numbers]
        images, target = (torch.stack(part) for part in zip(*drawn, strict=True))
        with autocast(experiment, images.device):
            logits = state.network(images)
        loss = LOSSES[experiment.loss](logits.float(), target)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        size = nn.utils.get_total_norm([p.grad for p in state.network.parameters() if p.grad is not None])
        if not (torch.isfinite(loss) and torch.isfinite(size)):
            raise TrainingError(_diagnosis(state, epoch, [training[n].id for n in numbers], loss.item(), size.item()))
        state.optimiser.step()
        losses.append(float(loss.detach()))
        dices.append(_hard_dice(logits.detach(), target))
        bar.set_postfix(loss=f"{np.mean(losses):.3f}", dice=f"{np.mean(dices):.3f}", refresh=False)
        bar.update()
    return {"train_loss": float(np.mean(losses)), "train_dice": float(np.mean(dices))}


def _diagnosis(state: State, epoch: int, cases: list[str], loss: float, gradient: float) -> str:
    rate = state.optimiser.param_groups[0]["lr"]
    return (
        f"epoch {epoch}, patch of {', '.join(cases)}: the loss is {loss:g} and the gradient's norm {gradient:g}, at a "
        f"learning rate of {rate:g}. {_REMEDY}; the other cause is non-finite voxels in the case "
        "(gbmlib.cohorts.check finds them)"
    )


def _draw(sample: Sample, experiment: Experiment, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random patch of a case, augmented: images and target."""
    corner = patches.draw_corner(sample.images.shape[1:], experiment.patch_size, generator)
    images, target = (patches.crop(volume, corner, experiment.patch_size) for volume in (sample.images, sample.target))
    axes = augment.draw_flips(experiment.flips, generator)
    images, target = augment.flip(images, axes), augment.flip(target, axes)
    if experiment.intensity:
        drawn = augment.draw_intensity(len(images), experiment.intensity, experiment.intensity, generator)
        images = augment.intensity(images, *drawn)
    return images, target


def _hard_dice(logits: Tensor, target: Tensor) -> float:
    """Mean over samples and regions of Dice at a probability of one half, eps 1."""
    predicted = logits >= 0
    pairs = zip(predicted.flatten(0, 1), target.flatten(0, 1), strict=True)
    return float(np.mean([metrics.dice(p, t, metrics.PAPER_EPS) for p, t in pairs]))


def _set_rate(optimiser: torch.optim.Optimizer, experiment: Experiment, epoch: int) -> float:
    rate = learning_rate(
        experiment.schedule, epoch, experiment.learning_rate, experiment.epochs, warmup=experiment.warmup
    )
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def _stopped_early(history: list[dict[str, float]], patience: int | None) -> bool:
    """Whether the validation loss has not fallen below its lowest for ``patience`` epochs."""
    if patience is None or not history:
        return False
    losses = [row["val_loss"] for row in history]
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


def _save(state: State, path: Path, origin: Mapping[str, Any]) -> None:
    content: dict[str, Any] = {
        "origin": dict(origin),
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "generator": state.generator.get_state(),
        "torch_generator": torch.get_rng_state(),
        "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "history": state.history,
        "seconds": state.seconds,
    }
    tensors.save(path, content)


def _resume(state: State, path: Path, origin: Mapping[str, Any], device: torch.device) -> None:
    content = tensors.load(path)
    differ = {name for name, value in origin.items() if content["origin"].get(name) != value}
    if differ:
        tqdm.write(f"{path} was made with another {', '.join(sorted(differ))}; training begins anew")
        return
    state.network.load_state_dict(content["network"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.generator.set_state(content["generator"])
    torch.set_rng_state(content["torch_generator"])
    if device.type == "cuda" and len(content["cuda_generators"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(content["cuda_generators"])
    state.history.extend(content["history"])
    state.seconds.extend(content["seconds"])
