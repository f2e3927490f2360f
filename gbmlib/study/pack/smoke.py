"""A test of half a minute on a card: does it compute rightly, how long is a step, which way of stepping is faster.

Each network that a pack trains is tried on one patch: how far the card's float32 and mixed precision are from float32
on the processor; the time of a forward pass, of a training step launched kernel by kernel (``eager``), and of the same
step replayed from a CUDA graph, as training does it (``graph``; ``training.graphs``).
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from gbmlib.augment.warp import cpu_threads
from gbmlib.study.pack.expected import Card, forward_operations
from gbmlib.study.predicting import device_of, full_float32
from gbmlib.study.runner import Run
from gbmlib.training import loop
from gbmlib.training.configuration import Experiment
from gbmlib.training.validation import autocast

#: How far logits may be from float32 on the processor, relative to its norm; some releases of cuDNN computed wrongly.
RIGHT = {"float32": 1e-3, "bfloat16": 5e-2}

#: After so many steps the loss may differ by such a share between a replayed and an eager training: noise of a VAE.
STEPS, SAME = 10, 0.05

#: Regions of the patches that are made up.
REGIONS = 3

Batch = tuple[Tensor, Tensor]


def measure(runs: Iterable[Run], device: str | None = None, seconds: float = 30) -> tuple[pd.DataFrame, Card]:
    """Errors and times of some runs' networks on a card, one run of each network and number of axes.

    Args:
        seconds: what would begin later is left out.

    Returns:
        Columns: network, patch, precision; ``error`` of the logits, relative; ``forward``, ``eager`` and
        ``graph`` in ms, or why there is none; and what ``study.pack.expected`` can use of it.
    """
    place, end = device_of(device), time.monotonic() + seconds
    networks = {(run.model, run.is_2d): run for run in runs if isinstance(run, Experiment)}
    rows = []
    ways: dict[str, Callable] = {"eager": _eager, "graph": _graph}
    with full_float32(place):  # as in a run
        for run in networks.values():
            for precision in ("float32", "bfloat16"):
                experiment = run.changed(precision=precision, previous=None)
                row = {
                    "network": experiment.model,
                    "patch": "x".join(map(str, (experiment.batch_size, *experiment.patch_size))),
                    "precision": precision,
                }
                row |= {"error": None, "forward": None} | dict.fromkeys(ways)
                rows.append(row | {"operations": _operations(experiment)})
                if time.monotonic() < end:
                    rows[-1] |= _tried(
                        lambda e=experiment: {"error": error(e, place), "forward": _forward(e, place)}, "error"
                    )
                for name, way in ways.items():
                    if time.monotonic() < end:
                        rows[-1] |= _tried(lambda e=experiment, way=way, name=name: {name: way(e, place)}, name)
    table = pd.DataFrame(rows)
    return table.drop(columns="operations"), _card(table)


def side_by_side(
    experiment: Experiment, device: str | None, processes: int, seconds: float = 2, patience: float = 120
) -> pd.DataFrame:
    """How many training steps a second some processes make together: columns processes, steps.

    Args:
        processes: at most; 1, 2, 4, … of them step at a time.
        seconds: for each of these numbers.
        patience: seconds until the slowest must have begun; what was not measured by then is left out.
    """
    context = multiprocessing.get_context("spawn")
    rounds = [*(2**n for n in range(10) if 2**n < processes), processes]
    barrier, answers = context.Barrier(processes, timeout=patience), context.SimpleQueue()
    arguments = (experiment, device, rounds, seconds, barrier, answers)
    workers = [context.Process(target=_step_by_turns, args=(n, *arguments), daemon=True) for n in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rates: dict[int, float] = {}
    while not answers.empty():
        number, rate = answers.get()
        rates[number] = rates.get(number, 0) + rate
    return pd.DataFrame({"processes": list(rates), "steps": list(rates.values())}).sort_values("processes")


def _step_by_turns(mine, experiment, device, rounds, seconds, barrier, answers) -> None:
    """The work of one process of :func:`side_by_side`."""
    place = device_of(device)
    with cpu_threads(experiment.threads):
        state, patches = _state(experiment, place), batch(experiment, place)
        state.network.train()
        for _ in range(3):
            loop.step(state, experiment, *patches)
        for number in rounds:
            barrier.wait()
            count, began = 0, time.perf_counter()
            while mine < number and time.perf_counter() - began < seconds:
                float(loop.step(state, experiment, *patches)[1]["total"])  # or launches run ahead of the clock
                count += 1
            if count:
                answers.put((number, count / (time.perf_counter() - began)))


def _tried(what: Callable[[], dict], name: str) -> dict:
    """The result of a measurement; where it fails, the first line of the error, so that the others go on."""
    try:
        return what()
    except Exception as error:
        return {name: f"{type(error).__name__}: {error}".splitlines()[0][:80]}


def error(experiment: Experiment, device: torch.device) -> float:
    """How far the logits on a device are from float32 on the processor, relative to their norm.

    Raises:
        ValueError: farther than :data:`RIGHT`.
    """
    plain = experiment.changed(precision="float32")
    with torch.no_grad():
        reference, logits = (
            _logits(_state(run, where), run, batch(run, where)[0]).double().cpu()
            for run, where in ((plain, torch.device("cpu")), (experiment, device))
        )
    difference = float((reference - logits).norm() / reference.norm())
    if not difference <= RIGHT[experiment.precision]:  # NaN never passes
        raise ValueError(f"wrong: {difference:.2g}")
    return difference


def batch(experiment: Experiment, device: torch.device) -> Batch:
    """Made-up images and a target of the size that a run trains on; the same on every device."""
    generator = torch.Generator().manual_seed(0)
    size = (experiment.batch_size, len(experiment.modalities), *experiment.patch_size)
    images = torch.randn(size, generator=generator)
    target = torch.randn((size[0], REGIONS, *size[2:]), generator=generator) > 1
    if experiment.softmax:  # exclusive
        target &= target.cumsum(1) == 1
    return images.to(device), target.to(device)


def _state(experiment: Experiment, device: torch.device) -> loop.State:
    return loop._start(experiment, REGIONS + experiment.softmax, device)


def _logits(state: loop.State, experiment: Experiment, images: Tensor) -> Tensor:
    state.network.eval()
    with autocast(experiment.precision, images.device):
        outputs = state.network(images)
    return (outputs if isinstance(outputs, Tensor) else outputs.logits).float()


def _forward(experiment: Experiment, device: torch.device) -> float:
    state, (images, _) = _state(experiment, device), batch(experiment, device)
    with torch.inference_mode():
        return _milliseconds(lambda: _logits(state, experiment, images), device)


def _eager(experiment: Experiment, device: torch.device) -> float:
    state, patches = _state(experiment, device), batch(experiment, device)
    state.network.train()
    return _milliseconds(lambda: loop.step(state, experiment, *patches), device)


def _graph(experiment: Experiment, device: torch.device) -> float:
    """A step replayed as in training, once it is seen to train as eager steps do.

    Raises:
        ValueError: after some steps the loss of the segmentation is another.
    """
    if device.type != "cuda":
        raise ValueError("a graph needs CUDA")
    losses, steppers = [], []
    for eager in (True, False):
        state, patches = _state(experiment, device), batch(experiment, device)
        state.network.train()
        take = partial(loop.step, state, experiment) if eager else loop.stepper(state, experiment, device)
        losses.append([float(take(*patches)[1]["loss"]) for _ in range(STEPS)][-1])
        steppers.append(partial(take, *patches))
    if not abs(losses[0] - losses[1]) <= SAME * abs(losses[0]):  # NaN never passes
        raise ValueError(f"wrong: the loss is {losses[1]:.4g} after {STEPS} steps, {losses[0]:.4g} without a graph")
    return _milliseconds(steppers[1], device)


def _milliseconds(work: Callable[[], object], device: torch.device, repeats: int = 20, seconds: float = 1) -> float:
    """The median time of a piece of work, launched as fast as the host can, in ms."""

    def once(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / times

    once(2)  # what is made once: handles, memory, plans
    first = once(1)
    times = max(1, min(repeats, int(seconds / 3 / first)))
    return 1000 * sorted(once(times) for _ in range(3))[1]


def _operations(experiment: Experiment) -> float:
    """Floating-point operations of a training step."""
    options = json.dumps(experiment.options, sort_keys=True)
    channels = len(experiment.modalities)
    return 3.0 * experiment.batch_size * forward_operations(experiment.model, options, channels, experiment.patch_size)


def _card(table: pd.DataFrame) -> Card:
    """The card of a table of times: the shortest ones are the host's share, the highest rate is the card's."""
    times = table.assign(**{name: pd.to_numeric(table[name], errors="coerce") / 1000 for name in ("eager", "forward")})
    measured = {"step": times.eager.min(), "forward": times.forward.min()}
    for precision, rows in times.groupby("precision"):
        measured[precision] = (rows.operations / rows.eager).max()
    return replace(Card(), **{name: float(value) for name, value in measured.items() if pd.notna(value)})
