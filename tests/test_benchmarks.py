"""The benchmarks: fair turns, memory that is seen, and that every pair runs at its smallest."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from gbmlib import models

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch):
    """A module of the benchmarks, which lie beside the library and are not installed with it."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_turns_alternate_and_warm_ups_do_not_count(bench):
    order, now = [], [0.0]

    def takes(name, *seconds):
        left = iter(seconds)

        def function():
            order.append(name)
            now[0] += next(left)

        return function

    turns = bench("measure").take_turns(
        takes("ours", 50, 1, 2, 3), takes("theirs", 50, 2, 2, 12), repeats=3, clock=lambda: now[0]
    )
    assert order == ["ours", "theirs", "theirs", "ours"] * 2
    assert (turns.ours, turns.theirs) == ([1, 2, 3], [2, 2, 12])
    assert turns.medians == (2, 2)
    assert turns.ratio == 0.5  # of 1/2, 2/2 and 3/12


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be counted anew within a process")
def test_growth_of_memory_is_seen(bench):
    def prepare():
        array = np.ones(100 * 2**17)  # 8 bytes each: 100 MB, held while the next 50 MB come and go
        return lambda: np.concatenate([array[: 50 * 2**17]]).sum()

    assert bench("measure").growth_mb(prepare) == pytest.approx(150, abs=10)


def test_what_is_compared_agrees(bench):
    """A ratio means something only where both sides do the same."""
    pairs = {pair.name: pair for pair in bench("pairs").pairs(32, 8, (16, 20, 20))}
    assert len(pairs) == 6
    for part, tolerance in (("resampling", 2e-5), ("window", 1e-5)):
        pair = next(pair for name, pair in pairs.items() if part in name)
        np.testing.assert_allclose(
            np.squeeze(np.asarray(pair.ours()())), np.squeeze(np.asarray(pair.theirs()())), atol=tolerance
        )


@pytest.mark.parametrize("part", ["SegResNetVAE, 8 filters, 32^3, bfloat16", "resampling", "sliding window"])
def test_a_pair_runs_and_gives_a_ratio(bench, part, capsys, monkeypatch):
    program = bench("__main__")
    monkeypatch.setattr(program, "memory_apart", lambda name, side, setting: {"ours": 300.0, "theirs": 400.0}[side])
    assert program.main(["--tiny", "--only", part, "--repeats", "1", "--threads", "1", "--plain-allocator"]) == 0
    shown = capsys.readouterr().out
    assert "time ratio" in shown
    assert ("memory ratio 0.75" in shown) == ("SegResNetVAE" in part)
    assert "cores" in shown.splitlines()[0]


def test_an_unknown_pair_names_those_there_are(bench, capsys):
    assert bench("__main__").main(["--only", "nothing of the kind"]) == 2
    assert "SegResNetVAE, 16 filters, 64^3, bfloat16" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own(bench):
    """At least the network's weights, their gradients and Adam's two moments; less than a laptop has."""
    name = "SegResNetVAE, 8 filters, 32^3, float32"
    parameters = models.parameters(models.build("segvae", 2, 3, (32, 32, 32), filters=8))
    found = bench("measure").memory_apart(name, "ours", ["--tiny", "--threads", "1", "--plain-allocator"])
    assert 4 * 4 * parameters / 2**20 < found < 2000


def test_a_process_that_fails_is_told(bench, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RuntimeError, match="memory of 'a step', theirs, failed"):
        bench("measure").memory_apart("a step", "theirs", [])
