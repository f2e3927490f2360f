"""The smoke test of a card, as far as a processor can try it."""

import queue
import threading

import pandas as pd
import pytest
import torch

from gbmlib.study import scales
from gbmlib.study.pack import smoke
from gbmlib.study.pack.expected import Card

CPU = torch.device("cpu")


def tiny(**changes):
    return scales.vnet("test", patch_size=16, **changes)[0]


def test_it_measures_each_network_and_says_what_is_not_there(monkeypatch):
    monkeypatch.setattr(smoke, "_milliseconds", lambda work, device: (work(), 20.0)[1])
    runs = [tiny(), tiny(seed=1), *scales.paper_a("test", folds=(0,), patch_size=16)]
    table, card = smoke.measure(runs, "cpu", seconds=600)
    assert list(table.network) == ["vnet", "vnet", "segvae", "segvae"]
    assert list(table.precision) == ["float32", "bfloat16"] * 2
    assert (pd.to_numeric(table.eager) == 20).all()
    assert table.error[0] == 0
    assert 0 < table.error[1] < smoke.RIGHT["bfloat16"]
    assert not torch.cuda.is_available() or (pd.to_numeric(table.graph) == 20).all()
    assert torch.cuda.is_available() or table.graph.str.contains("CUDA").all()
    assert (card.step, card.forward) == (0.02, 0.02)
    assert 0 < card.float32 < 1e12
    assert card.begin == Card().begin


def test_when_time_is_up_the_rest_is_left_out():
    table, card = smoke.measure([tiny()], "cpu", seconds=0)
    assert table[["error", "eager", "graph"]].isna().all(axis=None)
    assert card == Card()


def test_a_card_that_computes_wrongly_is_told(monkeypatch):
    logits = smoke._logits
    monkeypatch.setattr(
        smoke, "_logits", lambda state, of, images: logits(state, of, images) * (1 + (of.precision == "bfloat16"))
    )
    assert smoke.error(tiny(), CPU) == 0
    with pytest.raises(ValueError, match="wrong: 1"):
        smoke.error(tiny(precision="bfloat16"), CPU)


def test_processes_side_by_side_take_turns():
    barrier, answers = threading.Barrier(1, timeout=60), queue.SimpleQueue()
    smoke._step_by_turns(1, tiny(), "cpu", [1, 2, 4], 0.1, barrier, answers)
    found = [answers.get() for _ in range(answers.qsize())]
    assert [number for number, _ in found] == [2, 4], "the second does not step alone"
    assert all(rate > 0 for _, rate in found)
