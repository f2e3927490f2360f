"""The benchmarks: fair turns, memory that is seen, and that every pair runs at its smallest."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gbmlib import models

ROOT = Path(__file__).resolve().parents[1]

#: One word or more that tell a kind of pair, and what has to be installed for its other side.
KINDS = {
    "SegResNetVAE, 8 filters, 32^3, bfloat16": "monai",
    "V-Net against MONAI's, the same layers, 32^3, bfloat16": "monai",
    "V-Net against MONAI's at its defaults, which convolve less, 32^3, bfloat16": "monai",
    "30 features both": "nnunetv2",
    "32 features and deep supervision": "nnunetv2",
    "cubic resampling": "nnunetv2",
    "probabilities of": "nnunetv2",
    "every transform on": "batchgeneratorsv2",
    "four operations": "batchgeneratorsv2",
    "removals": "batchgeneratorsv2",
    "copies, against MONAI": "monai",
    "copies, against nnU-Net v2": "nnunetv2",
    "surface Dice": "monai",
}


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


@pytest.fixture
def smallest(bench):
    """Every pair as small as can be."""
    return bench("pairs").pairs(**bench("__main__").SMALLEST)


def peer(name):
    pytest.importorskip(name, reason="peers of the benchmarks come with the extra 'peers'")


def test_every_part_is_among_the_pairs_and_every_name_is_of_one(smallest, bench):
    names = [pair.name for pair in smallest]
    assert len(set(names)) == len(names)
    for kind in KINDS:
        assert any(kind in name for name in names), kind
    told = [name for name in names if any(kind.replace("bfloat16", "") in name for kind in KINDS)]
    assert told == names
    whole = bench("pairs").pairs(64, 16, (155, 240, 240))
    assert {"64^3", "128^3"} <= {part for pair in whole for part in pair.name.replace(",", "").split()}


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_of_a_pair_run(kind, smallest):
    peer(KINDS[kind])
    pair = next(pair for pair in smallest if kind in pair.name)
    for side in (pair.ours, pair.theirs):
        result = side()()
        values = list(result.values()) if isinstance(result, dict) else result
        parts = values if isinstance(values, list | tuple) else [values]
        assert all(np.isfinite(np.asarray(part)).all() for part in parts)


@pytest.mark.parametrize(
    ("kind", "tolerance", "share"),
    [
        ("cubic resampling", 2e-5, 1),
        ("copies, against MONAI", 1e-5, 1),
        ("copies, against nnU-Net v2", 2e-2, 0.99),  # it adds up in float16, where weights vanish in the corners
        ("probabilities of", 0, 0.995),  # but for ties
    ],
)
def test_what_is_compared_agrees(kind, tolerance, share, smallest):
    """A ratio means something only where both sides do the same."""
    peer(KINDS[kind])
    pair = next(pair for pair in smallest if kind in pair.name)
    ours, theirs = (np.squeeze(np.asarray(side()(), np.float32)) for side in (pair.ours, pair.theirs))
    assert ours.shape == theirs.shape
    assert (np.abs(ours - theirs) <= tolerance).mean() >= share


def test_metrics_that_are_compared_agree(smallest):
    pair = next(pair for pair in smallest if "surface Dice" in pair.name)
    assert pair.ours()() == pytest.approx(pair.theirs()(), abs=1e-5)


def test_both_u_nets_have_the_same_convolutions(bench):
    peer("dynamic_network_architectures")
    unet = bench("unet")

    def convolutions(network):
        kinds = torch.nn.Conv3d | torch.nn.ConvTranspose3d
        found = {id(part): part for part in network.modules() if isinstance(part, kinds)}.values()
        return sorted(tuple(part.weight.shape) for part in found if part.kernel_size != (1, 1, 1))

    assert convolutions(unet.our_network(32, 6)) == convolutions(unet.their_network(32, 6))
    assert [unet.poolings(size) for size in (16, 32, 64, 128, 256)] == [3, 4, 5, 5, 5]
    image = torch.zeros(1, 2, 16, 16, 16)
    assert unet.our_network(16, 4)(image).shape == unet.their_network(16, 4)(image).shape == (1, 4, 16, 16, 16)
    deep = unet.their_network(16, 4, deep=True)(image)
    assert [tuple(logits.shape[2:]) for logits in deep] == [(16,) * 3, (8,) * 3, (4,) * 3]


def test_a_step_lowers_the_loss_on_both_sides(bench):
    peer("nnunetv2")
    unet = bench("unet")
    for side in (unet.ours, unet.theirs):
        step = side(16, 4, "float32")
        first = step()
        assert [step() for _ in range(5)][-1] < first


@pytest.mark.parametrize("part", ["SegResNetVAE, 8 filters, 32^3, bfloat16", "copies, against MONAI"])
def test_a_pair_runs_and_gives_a_ratio(bench, part, capsys, monkeypatch):
    program = bench("__main__")
    monkeypatch.setattr(program, "memory_apart", lambda name, side, setting: {"ours": 300.0, "theirs": 400.0}[side])
    assert program.main(["--tiny", "--only", part, "--repeats", "1", "--threads", "1", "--plain-allocator"]) == 0
    shown = capsys.readouterr().out
    assert "time ratio" in shown
    assert "memory ratio 0.75" in shown
    assert "cores" in shown.splitlines()[0]


def test_a_whole_name_means_that_pair_alone(bench, smallest, monkeypatch, capsys):
    program = bench("__main__")
    seen = []
    monkeypatch.setattr(program, "row", lambda pair, asked: seen.append(pair.name) or {"time ratio": 1.0})
    names = [pair.name for pair in smallest]
    for name in names:
        assert program.main(["--tiny", "--only", name, "--plain-allocator"]) == 0
    assert seen == names


def test_a_peer_that_is_not_installed_is_left_out_with_a_word(bench, monkeypatch, capsys):
    program = bench("__main__")
    monkeypatch.setitem(sys.modules, "monai.inferers", None)
    arguments = ["--tiny", "--only", "copies, against MONAI", "--repeats", "1", "--plain-allocator"]
    assert program.main(arguments) == 1
    assert "left out: monai.inferers is not installed" in capsys.readouterr().err


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


def test_monais_v_net_is_given_the_same_convolutions(bench):
    peer("monai")

    def kernels(network):
        return sorted(tuple(p.shape) for p in network.parameters() if p.ndim == 5)

    theirs = bench("steps").monai_vnet_alike()
    assert kernels(theirs) == kernels(models.build("vnet", 2, 3))
    assert not any(isinstance(module, torch.nn.Dropout3d) and module.p for module in theirs.modules())
