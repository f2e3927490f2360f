"""``python -m benchmarks``: the table of ratios; see README.md beside it."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence

import pandas as pd
import torch

from benchmarks.measure import SIDES, growth_mb, memory_apart, take_turns
from benchmarks.pair import Pair
from benchmarks.pairs import pairs
from gbmlib.study import provenance
from gbmlib.training.memory import keep_freed_memory

BRATS = (155, 240, 240)
SMALLEST = {"size": 32, "filters": 8, "volume": (16, 20, 20), "planned": (16,), "edge": 32}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 where no pair is asked for, 1 where a peer is missing."""
    asked = _asked(arguments)
    every = pairs(**SMALLEST) if asked.tiny else pairs(asked.size, asked.filters, BRATS)
    chosen = [pair for pair in every if pair.name == asked.only] or [pair for pair in every if asked.only in pair.name]
    if not chosen:
        print(f"no benchmark is called {asked.only!r}; there are:", *[pair.name for pair in every], sep="\n  ")
        return 2
    torch.set_num_threads(asked.threads)
    kept = not asked.plain_allocator and keep_freed_memory()
    if asked.memory_of:
        print(growth_mb(getattr(chosen[0], asked.memory_of)))
        return 0
    print(f"{machine()}, {asked.threads} threads; memory {'kept' if kept else 'given back'} between steps (both sides)")
    rows = {}
    for pair in chosen:
        print(f"  {pair.name} …", file=sys.stderr, flush=True)
        try:
            rows[pair.name] = row(pair, asked)
        except ModuleNotFoundError as error:
            print(f"  left out: {error.name} is not installed; `make bench` installs the peers", file=sys.stderr)
    if not rows:
        return 1
    table = pd.DataFrame.from_dict(rows, orient="index")
    for name, line in table.iterrows():
        print(f"\n{name}")
        print("  " + "; ".join(f"{column} {_short(value)}" for column, value in line.dropna().items()))
    print("\nA ratio is ours over theirs: below 1, ours takes less.")
    return 0


def row(pair: Pair, asked: argparse.Namespace) -> dict[str, float]:
    """Ratio and medians of one pair."""
    turns = take_turns(pair.ours(), pair.theirs(), asked.repeats)
    ours, theirs = turns.medians
    out = {"time ratio": turns.ratio, "ours (s)": ours, "theirs (s)": theirs}
    if pair.memory:
        setting = ["--size", str(asked.size), "--filters", str(asked.filters), "--threads", str(asked.threads)]
        setting += ["--tiny"] * asked.tiny + ["--plain-allocator"] * asked.plain_allocator
        memory = {side: memory_apart(pair.name, side, setting) for side in SIDES}
        out["memory ratio"] = memory["ours"] / memory["theirs"] if memory["theirs"] else float("nan")
        out |= {f"{side} (MB)": value for side, value in memory.items()}
    return out


def machine() -> str:
    """Processor, cores and versions, in words."""
    cpu = provenance.describe(torch.device("cpu"))["device"]
    return f"{cpu}, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description="Ours against others: ratios of time and memory.")
    parser.add_argument("--only", default="", metavar="TEXT", help="pairs whose name holds this")
    parser.add_argument("--size", type=int, default=64, help="edge of the first paper's training patch (64)")
    parser.add_argument("--filters", type=int, default=16, help="of the first level of Paper A's network (16)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each pair (7)")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (2)")
    parser.add_argument("--tiny", action="store_true", help="as small as can be: whether it runs, not how fast")
    parser.add_argument(
        "--plain-allocator", action="store_true", help="without gbmlib.training.memory.keep_freed_memory"
    )
    parser.add_argument("--memory-of", choices=SIDES, help=argparse.SUPPRESS)  # in a process of its own
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
