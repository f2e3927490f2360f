"""One training loop, for CPU and CUDA; when it is killed and started again, it continues from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gbmlib import models
from gbmlib.evaluation import metrics
from gbmlib.training import batches, graphs, tensors
from gbmlib.training.configuration import Experiment
from gbmlib.training.losses import LOSSES, kernels, kl_loss, l2_penalty, reconstruction_loss
from gbmlib.training.samples import Sample
from gbmlib.training.schedules import PLATEAUS, learning_rate, plateau_over, plateau_rate
from gbmlib.training.validation import autocast, counts, fixed_crops, validate, validate_crops, validate_patches

CHECKPOINT, LAST_GOOD = "checkpoint.safetensors", "last_good.safetensors"
_REMEDY = "A smaller learning_rate, a warmup, or float32 in place of bfloat16 usually helps"


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what was kept."""


@dataclass
class State:
    """All that a checkpoint holds: the network, the optimiser, the generator of random draws, and what was logged."""

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
    """Train the network of a configuration, or continue from the checkpoint in ``folder``.

    An epoch takes its batches (``training.batches``) and is then judged on the network's grid
    (``training.validation``): on whole volumes (columns ``val_…``) and, as Adeniji and Liu (2019) did, on crops that
    stay the same (``crops_…``); with ``validation_batches`` on random patches instead, as in nnU-Net (``val_…``).
    ``train_loss`` is the loss of the segmentation alone. Where the network or the configuration adds terms, each is
    logged with its weight, and their sum as ``train_total``.

    Args:
        regions: names of the target's channels.
        checkpoint_seconds: checkpoints are written at the end of an epoch, at most this often, and of the last epoch.
        origin: what else decides a result, such as the fingerprint of the data and the version of the numerics.
            Training begins anew where the checkpoint has another origin.

    Raises:
        TrainingError: the loss or a gradient is not finite.
    """
    state = _start(experiment, len(regions) + experiment.softmax, device)
    crops = [] if experiment.validation_batches else fixed_crops(experiment, validation)
    checkpoint = folder / CHECKPOINT
    origin = {"configuration": experiment.canonical, "device": device.type, **(origin or {})}
    if checkpoint.exists():
        _resume(state, checkpoint, origin, device)
    take_step = stepper(state, experiment, device)
    steps, done = batches.per_epoch(experiment, len(training)), len(state.history)
    saved = time.monotonic()
    with tqdm(total=experiment.epochs * steps, initial=done * steps, disable=not progress, unit="step") as bar:
        for epoch in range(done, experiment.epochs):
            if _has_ended(state.history, experiment):
                break
            started = time.monotonic()
            row = {"epoch": epoch, "learning_rate": _set_rate(state, experiment, epoch)}
            # A forward pass that goes wrong spoils the running statistics of a batch norm before it is noticed.
            statistics = {name: value.clone() for name, value in state.network.named_buffers()}
            try:
                row |= _epoch(state, experiment, training, epoch, bar, take_step)
            except TrainingError as error:
                # A step that is not finite changes no weight. On a graphics card later steps of the epoch may have.
                tensors.save(folder / LAST_GOOD, state.network.state_dict() | statistics)
                where = "The last finite weights, with the running statistics of the epoch's start, are kept in"
                raise TrainingError(f"{error}. {where} {folder / LAST_GOOD}") from None
            if experiment.validation_batches:
                row |= validate_patches(state.network, experiment, validation, regions, epoch)
            else:
                row |= validate(state.network, experiment, validation, regions)
                row |= validate_crops(state.network, experiment, crops)
            if not np.isfinite(row["val_loss"]):
                raise TrainingError(
                    f"epoch {epoch}: the validation loss is {row['val_loss']}, so the epoch's last step has spoilt the "
                    f"weights. {_REMEDY}. The last good state, if there is one yet, is in {checkpoint}"
                )
            state.history.append(row)
            state.seconds.append(time.monotonic() - started)
            bar.set_postfix({name: f"{row[name]:.3f}" for name in ("train_loss", "train_dice", "val_dice")})
            last = epoch + 1 == experiment.epochs or _has_ended(state.history, experiment)
            if last or time.monotonic() - saved >= checkpoint_seconds:
                _save(state, checkpoint, origin)
                saved = time.monotonic()
    return state


def _start(experiment: Experiment, channels: int, device: torch.device) -> State:
    torch.manual_seed(experiment.drawn_from)
    channels_in = len(experiment.modalities) + (channels - 1 if experiment.previous is not None else 0)
    network = models.build(experiment.model, channels_in, channels, experiment.patch_size, **experiment.options)
    network = network.to(device)
    optimiser = torch.optim.Adam(
        _parameter_groups(experiment, network),
        lr=experiment.learning_rate,
        amsgrad=experiment.amsgrad,
        fused=True,
    )
    return State(network, optimiser, torch.Generator().manual_seed(experiment.drawn_from), [], [])


def _parameter_groups(experiment: Experiment, network: nn.Module) -> list[dict[str, Any]]:
    """All parameters with the weight decay of the configuration, and the kernels with the gradient of their L2 penalty.

    Adam's weight decay adds its multiple of w to the gradient of w, as the penalty does, and within the fused step:
    through autograd the penalty costs six passes over the weights, a fifth of a step on a small patch.
    """
    decay = experiment.weight_decay
    if not experiment.l2:
        return [{"params": list(network.parameters()), "weight_decay": decay}]
    penalised = kernels(network)
    ids = {id(kernel) for kernel in penalised}
    others = [parameter for parameter in network.parameters() if id(parameter) not in ids]
    return [
        {"params": others, "weight_decay": decay},
        {"params": penalised, "weight_decay": decay + 2 * experiment.l2},
    ]


def stepper(state: State, experiment: Experiment, device: torch.device) -> graphs.Step:
    """:func:`step` of a run, on a graphics card replayed (``training.graphs``)."""
    plain = partial(step, state, experiment)
    return graphs.Replayed(plain, state.optimiser, device) if device.type == "cuda" else plain


def _epoch(
    state: State, experiment: Experiment, training: Sequence[Sample], epoch: int, bar: tqdm, take_step: graphs.Step
) -> dict[str, float]:
    """One pass over the epoch's batches; mean loss, its terms, and Dice.

    On a graphics card nothing is read back before the end of the epoch, so that the host runs ahead: a step whose loss
    or gradient is not finite is skipped on the device, and reported at the end.
    """
    state.network.train()
    pending: list[tuple[dict[str, Tensor], Tensor, list[str]]] = []
    rows: list[dict[str, float]] = []
    for chosen in batches.choose(experiment, len(training), state.generator):
        images, target = batches.draw(experiment, training, chosen, state.generator)
        logits, terms = take_step(images, target)
        pending.append((terms, counts(logits, target, experiment.loss), [training[case].id for _, case in chosen]))
        if images.device.type == "cpu":
            rows += _read(pending, state, epoch)
            means = {name: f"{np.mean([row[name] for row in rows]):.3f}" for name in ("loss", "dice")}
            bar.set_postfix(means, refresh=False)
        bar.update()
    rows += _read(pending, state, epoch)
    means = {f"train_{name}": float(np.mean([row[name] for row in rows])) for name in rows[0]}
    if len(rows[0]) == 3:  # the total is the loss of the segmentation alone
        del means["train_total"]
    return means


def _read(
    pending: list[tuple[dict[str, Tensor], Tensor, list[str]]], state: State, epoch: int
) -> list[dict[str, float]]:
    """Loss, Dice and the other terms of each pending step, read back from the device; empties the list.

    Raises:
        TrainingError: a term or the gradient of a step is not finite.
    """
    rows = []
    for terms, agreement, cases in pending:
        values = {name: float(term) for name, term in terms.items()}
        if not np.isfinite(list(values.values())).all():
            raise TrainingError(_diagnosis(state, epoch, cases, values))
        del values["gradient"]
        dice = float(np.mean([metrics.Counts(*c).dice(metrics.PAPER_EPS) for c in agreement.tolist()]))
        rows.append({"loss": values.pop("loss"), "dice": dice} | values)
    pending.clear()
    return rows


def step(state: State, experiment: Experiment, images: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of the optimiser on a batch, on its device: nothing is read back.

    Returns:
        Logits, and the loss's terms (:func:`loss_terms`) with their ``total`` and the ``gradient``'s norm; detached.
    """
    with autocast(experiment.precision, images.device):
        outputs = state.network(images)
    logits = (outputs if isinstance(outputs, Tensor) else outputs.logits).float()
    terms = loss_terms(experiment, state.network, outputs, logits, images, target)
    total = sum(terms.values())
    state.optimiser.zero_grad(set_to_none=True)
    total.backward()
    gradient = nn.utils.get_total_norm([p.grad for p in state.network.parameters() if p.grad is not None])
    # The fused optimiser takes no step where this is not zero; GradScaler speaks to it in the same way.
    state.optimiser.found_inf = (~(torch.isfinite(total) & torch.isfinite(gradient))).float().detach()
    state.optimiser.step()
    terms |= {"total": total, "gradient": gradient}
    return logits.detach(), {name: term.detach() for name, term in terms.items()}


def loss_terms(
    experiment: Experiment, network: nn.Module, outputs: Any, logits: Tensor, images: Tensor, target: Tensor
) -> dict[str, Tensor]:
    """The terms whose sum is minimised, each weighted: equation 2 of Adeniji and Liu (2019), and what its code adds.

    ``loss`` is that of the segmentation; ``reconstruction`` and ``kl`` come from a VAE branch; ``l2`` is the penalty on
    the kernels.
    """
    terms = {"loss": LOSSES[experiment.loss](logits, target)}
    if not isinstance(outputs, Tensor):
        voxels = experiment.kl_voxels or images[0, 0].numel()
        terms["reconstruction"] = experiment.reconstruction_weight * reconstruction_loss(outputs.reconstruction, images)
        terms["kl"] = experiment.kl_weight * kl_loss(outputs.mean, outputs.log_variance, voxels)
    if experiment.l2:
        with torch.no_grad():  # its gradient is in the optimiser (:func:`_parameter_groups`)
            terms["l2"] = experiment.l2 * l2_penalty(network)
    return terms


def _diagnosis(state: State, epoch: int, cases: list[str], values: dict[str, float]) -> str:
    rate = float(state.optimiser.param_groups[0]["lr"])
    others = {name: value for name, value in values.items() if name not in ("loss", "gradient", "total")}
    terms = ", ".join(f"{name} {value:g}" for name, value in others.items())
    return (
        f"epoch {epoch}, patch of {', '.join(cases)}: the loss is {values['loss']:g} and the gradient's norm "
        f"{values['gradient']:g}, at a learning rate of {rate:g}{f' ({terms})' if terms else ''}. {_REMEDY}; the other "
        "cause is non-finite voxels in the case (gbmlib.cohorts.check finds them)"
    )


def _set_rate(state: State, experiment: Experiment, epoch: int) -> float:
    if experiment.schedule in PLATEAUS:
        rate = plateau_rate(PLATEAUS[experiment.schedule], state.history, experiment.learning_rate)
    else:
        rate = learning_rate(epoch, experiment.learning_rate, experiment.epochs, experiment.warmup)
    for group in state.optimiser.param_groups:
        group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate
    return rate


def _has_ended(history: list[dict[str, float]], experiment: Experiment) -> bool:
    """Whether training ends early: the schedule says so, or the validation loss has stopped falling."""
    if not history:
        return False
    if experiment.schedule in PLATEAUS and plateau_over(PLATEAUS[experiment.schedule], history):
        return True
    losses = [row[experiment.watched] for row in history]
    return experiment.patience is not None and len(losses) - 1 - int(np.argmin(losses)) >= experiment.patience


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
