"""Time of two functions that take turns, and the peak memory of one in a process of its own."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from gbmlib.study.provenance import forget_peak_memory, peak_memory_mb

SIDES = ("ours", "theirs")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Turns:
    """Seconds of each side, turn by turn."""

    ours: list[float]
    theirs: list[float]

    @property
    def medians(self) -> tuple[float, float]:
        """Seconds of ours and of theirs."""
        return statistics.median(self.ours), statistics.median(self.theirs)

    @property
    def ratio(self) -> float:
        """The median over turns of ours / theirs: what slows the machine down for a while slows both of a turn."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))


def take_turns(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    repeats: int,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Turns:
    """Time two functions in turns; who goes first changes from turn to turn. Warm-ups do not count."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    functions = {"ours": ours, "theirs": theirs}
    for turn in range(warm_ups + repeats):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            gc.collect()
            began = clock()
            functions[side]()
            took = clock() - began
            if turn >= warm_ups:
                seconds[side].append(took)
    return Turns(**seconds)


def growth_mb(prepare: Callable[[], Callable[[], object]], times: int = 3) -> float:
    """By how much the peak memory of this process grows while a function is made and called.

    What is loaded before, the libraries above all, does not count.
    """
    forget_peak_memory(CPU)
    before = peak_memory_mb(CPU)
    function = prepare()
    for _ in range(times):
        function()
    return peak_memory_mb(CPU) - before


def memory_apart(name: str, side: str, arguments: list[str]) -> float:
    """Peak memory in MB of one side of a pair, in a process of its own.

    Raises:
        RuntimeError: the process failed; holds what it said.
    """
    command = [sys.executable, "-m", "benchmarks", *arguments, "--only", name, "--memory-of", side]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {name!r}, {side}, failed:\n{done.stdout}{done.stderr}")
    return float(done.stdout.split()[-1])
