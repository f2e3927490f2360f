"""A pack: made, run within a time and killed in between, taken in; its records are those of the ordinary runner."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from small_data import write_brats

from gbmlib.__main__ import main
from gbmlib.cohorts import open_cohort
from gbmlib.study import Ensemble, run, scales
from gbmlib.study.pack import expected, making, running, shards
from gbmlib.study.pack.command import in_order_of_worth
from gbmlib.study.records import FILES, Store
from gbmlib.training import loop

SAME = ("config.json", "history.csv", "cases.csv")


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Four phantoms as files, and two of another kind of them."""
    folder = tmp_path_factory.mktemp("released")
    write_brats("cases=4,spacing=6,seed=0", folder / "own")
    write_brats("cases=3,spacing=6,seed=5", folder / "other")
    return [open_cohort(f"brats:{folder / name}") for name in ("own", "other")]


@pytest.fixture(scope="module")
def runs(released):
    """In order of worth: two folds and their average elsewhere, which needs them, and one that takes other channels."""
    own, other = (cohort.name for cohort in released)
    folds = scales.vnet("test", (0, 1), cohort=own, epochs=4)
    average = Ensemble(members=tuple(folds), elsewhere=other)
    (plain,) = scales.vnet("test", cohort=own, modalities=("flair",), elsewhere=(other,))
    return [*folds, average, plain]


@pytest.fixture(scope="module")
def ordinary(runs, tmp_path_factory):
    """The records of the ordinary runner, by id."""
    store = Store(tmp_path_factory.mktemp("ordinary"))
    return {record.id: record for record in run(runs, store, progress=False)}


@pytest.fixture(scope="module")
def pack(runs, released, tmp_path_factory):
    path = tmp_path_factory.mktemp("packs") / "runs.pack"
    assert making.make(path, runs, [cohort.spec for cohort in released], []) == {}
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return path


def test_killed_at_any_second_it_ends_in_the_records_of_the_ordinary_runner(pack, ordinary, tmp_path):
    store, out, home = tmp_path / "store", tmp_path / "out", tmp_path / "home"
    asked = ["run", pack, "--store", store, "--out", out, "--published", tmp_path / "none", "--beside"]
    asked += ["--processes", "2", "--seconds", "300"]
    asked = [sys.executable, "-m", "gbmlib", "pack", *map(str, asked)]
    process = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(5, 16))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if list(out.glob("records-*.tar")):  # whole at every moment
        assert set(shards.take(out, tmp_path / "so far").values()) == {"taken"}
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert "0 failed" in done.stdout
    assert len(list(out.iterdir())) <= 8
    main(["pack", "take", str(out), "--to", str(home), "--beside"])
    assert set(shards.take(out, home).values()) == {"there already"}
    assert sorted(path.name for path in home.iterdir()) == sorted(ordinary)
    for name, record in ordinary.items():
        for file in SAME:
            assert (home / name / file).read_bytes() == (record.path / file).read_bytes(), (name, file)
        provenance = json.loads((home / name / "provenance.json").read_text())
        for fact in ("fingerprint", "convention", "cases", "elsewhere", "numerics"):
            assert provenance[fact] == record.provenance[fact], fact
        beside = {path.relative_to(record.path) for path in record.path.rglob("*")}
        assert {path.relative_to(home / name) for path in (home / name).rglob("*")} == beside


def test_what_cannot_travel_is_left_out_and_says_why(released, runs, tmp_path):
    own, other = (cohort.spec for cohort in released)
    by_statistics = runs[0].changed(normalisation="dataset")
    above = Ensemble(members=(by_statistics, runs[1].changed(normalisation="dataset")), elsewhere=released[1].name)
    phantoms = scales.vnet("test")[0]
    wanted = [runs[0], by_statistics, above, runs[3], phantoms]
    path = tmp_path / "runs.pack"
    left_out = making.make(path, wanted, [own], [])
    assert "needs the images of" in left_out[by_statistics.id]
    assert by_statistics.id in left_out[above.id]
    assert "is not packed" in left_out[runs[3].id]
    assert "phantoms are grown" in left_out[phantoms.id]
    assert [of.id for of in making.unpack(path, Store(tmp_path / "store"))] == [runs[0].id]
    assert by_statistics.id not in making.make(path, wanted, [], [own, other])
    with pytest.raises(ValueError, match="nothing to pack: phantoms"):
        making.make(path, [phantoms], [own], [])


def test_a_pack_is_unpacked_once_and_a_damaged_one_is_told(pack, runs, tmp_path):
    store = Store(tmp_path / "store")
    assert making.unpack(pack, store) == runs
    entry = next((store.path / making.PREPARED).iterdir())
    shutil.rmtree(entry)
    making.unpack(pack, store)
    assert not entry.exists()
    short = tmp_path / "short.pack"
    short.write_bytes(pack.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="was cut short"):
        making.unpack(short, store)
    making.unpack(pack, store)
    assert entry.exists()
    with pytest.raises(FileNotFoundError, match="make it first"):
        making.unpack(tmp_path / "none.pack", store)


def test_the_list_says_what_fits(pack, runs, tmp_path, capsys):
    asked = ["list", str(pack), "--store", str(tmp_path), "--published", str(tmp_path / "none")]
    main(["pack", *asked, "--seconds", "300", "--processes", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-5].strip() for line in lines[:-1]] == [of.id for of in runs] or len(lines) == 5
    assert "4 of 4 runs are missing" in lines[-1]
    assert "in 300 s of 2: 4 runs" in lines[-1]
    main(["pack", *asked, "--seconds", "1", "--processes", "2"])
    assert "in 1 s of 2: 0 runs" in capsys.readouterr().out
    assert main(["pack", *asked, "--processes", "0"]) == 1
    assert capsys.readouterr().err == "error: --processes is 0, not at least 1\n"


# ------------------------------------------------------------------------------------------------------- within a time


def job(name, *needs):
    return SimpleNamespace(id=name, dependencies=needs)


def test_the_most_worth_that_can_begin_and_end_comes_first():
    a, b = job("a"), job("b")
    c, d = job("c", a), job("d")
    seconds = {"a": 10, "b": 20, "c": 5, "d": 1}
    assert running.choose([a, b, c, d], "abcd", 30, seconds) is a
    assert running.choose([b, c, d], "abcd", 30, seconds) is b
    assert running.choose([b, c, d], "abcd", 15, seconds) is d, "b does not fit, c waits for a"
    assert running.choose([b, c, d], "bcd", 15, seconds) is c
    assert running.choose([b, c, d], "bcd", 15, seconds, pace=4) is d, "all take four times as long"
    assert running.choose([b, c, d], "bcd", 0.5, seconds) is None
    assert running.planned([a, b, c, d], seconds, 30, 2) == {"a": 10, "b": 20, "c": 15, "d": 16}
    assert running.planned([a, b, c, d], seconds, 18, 2) == {"a": 10, "d": 1, "c": 15}
    assert running.planned([a, b, c, d], seconds, 18, 2, begin=4) == {"a": 14, "d": 5}
    assert running.planned([a, b, c, d], seconds, 18, 1) == {"a": 10, "c": 15, "d": 16}


def test_what_does_not_fit_is_not_begun(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_Worker", lambda *_: pytest.fail("begun"))
    store = Store(tmp_path)
    assert running.run_within(runs, store, 50, 2, lambda run: 51) == []
    assert running.run_within(runs, store, 0, 2, lambda run: 0) == []


def test_when_time_is_up_nothing_is_left_but_a_checkpoint(runs, tmp_path):
    endless, store = runs[0].changed(epochs=100_000), Store(tmp_path)
    checkpoint = store.path / f"{endless.id}.unfinished" / loop.CHECKPOINT

    def clock():
        return time.monotonic() + (1000 if checkpoint.exists() else 0)

    (attempt,) = running.run_within([endless], store, 500, 2, lambda run: 1, checkpoint_seconds=0, clock=clock)
    assert (attempt.outcome, attempt.expected) == (running.STOPPED, 1)
    assert store.get(endless) is None
    with store.lock(endless).acquire(timeout=0):  # nobody works on it any more
        assert loop.tensors.load(checkpoint)["history"]


def test_one_that_fails_takes_those_that_need_it_with_it_and_no_others(runs, tmp_path):
    broken = runs[0].changed(learning_rate=1e30)
    above = Ensemble(members=(broken, runs[1]), elsewhere=runs[2].elsewhere)
    store, told = Store(tmp_path), []
    attempts = running.run_within(
        [broken, above, runs[1]], store, 120, 1, lambda run: 1, on_end=lambda attempt, record: told.append(record)
    )
    assert {of.run.id: of.outcome for of in attempts} == {broken.id: running.FAILED, runs[1].id: running.FINISHED}
    assert "the loss is" in attempts[0].error
    assert [record and record.id for record in told] == [None, runs[1].id]
    assert all((store.path / runs[1].id / name).exists() for name in FILES)


def test_more_steps_voxels_and_processes_take_longer(runs, released, tmp_path):
    store, card = Store(tmp_path), expected.Card()
    base = expected.seconds(runs[0], store, card)
    assert 0 < base < 60
    assert expected.seconds(runs[0].changed(epochs=400), store, card) > 2 * base
    assert expected.seconds(runs[0], store, card, processes=1000) > base
    slower = expected.Card(step=1)
    assert expected.seconds(runs[0], store, slower) > base
    assert expected.seconds(runs[3], store, card) < expected.seconds(
        runs[3].changed(mirrored_inference=True), store, card
    )
    assert expected.seconds(runs[2], store, card) < base
    slower.save(tmp_path / "card.json")
    assert expected.Card.load(tmp_path / "card.json") == slower
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(ValueError, match="the smoke test writes it"):
        expected.Card.load(tmp_path / "card.json")


def test_what_is_made_of_networks_follows_them_at_once():
    runs = in_order_of_worth("study", ["brats2018-19", "brats2021-11"], ["headtohead", "external"])
    place = {of.id: number for number, of in enumerate(runs)}
    assert len(place) == len(runs) > 60
    for of in runs:
        if of.dependencies:
            last = max(place[need.id] for need in of.dependencies)
            assert all(runs[number].dependencies for number in range(last + 1, place[of.id])), "no network in between"
