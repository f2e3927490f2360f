"""The catalogue of runs: what each family holds, in which order, and how long it takes."""

import math
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from few_records import families, put
from few_records import run as few

from gbmlib.analysis.treatments import searched
from gbmlib.study import catalogue, head_to_head, nnunet, runner, scales
from gbmlib.study.records import Store
from gbmlib.training.ensemble import Ensemble

GLIOMAS = ("brats2018-19", scales.EXTERNAL)


def flat(name, profile):
    return [run for runs in catalogue.runs_of(name, profile).values() for run in runs]


def test_the_short_runs_of_every_family():
    counts = {name: len({run.id for run in flat(name, "short")}) for name in catalogue.SETS}
    assert counts["vnet"] == 10
    assert counts["vae"] == counts["se"] == counts["penalty"] == 20
    assert counts["choices"] > 40
    assert counts["anisotropy"] == 20
    assert counts["untested"] == 34  # comparisons share their base
    # Four networks in five folds, their three averages, and the two switches of each.
    assert counts["crossvalidation"] == 5 * (4 + 3 + 4 + 7)
    assert counts["headtohead"] == 6 * 5
    assert counts["hippocampus-folds"] == 5 * (2 + 1 + 2 + 3)
    assert counts["external"] == 0


@pytest.mark.parametrize("profile", ["short", "study", "paper"])
def test_every_run_is_made_by_one_command(profile):
    made = {run.id for family in catalogue.families(profile, catalogue.COHORTS).values() for run in family}
    for name in catalogue.SETS:
        assert {run.id for run in flat(name, profile)} <= made | {scales.phantom_to_real().id}, name


def test_every_family_is_shown_in_a_chapter_that_exists():
    chapters = {path.stem for path in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb")}
    assert {family.chapter for family in catalogue.FAMILIES.values()} <= chapters


def test_groups_are_loaded_at_the_largest_scale_that_is_whole(tmp_path, monkeypatch):
    runs = {
        scale: {"a": [few(0, 0, epochs=n)], "b": [few(0, 1, epochs=n)]} for n, scale in enumerate(("study", "short"), 2)
    }
    families(monkeypatch, own=lambda scale: runs.get(scale, {}))
    store = Store(tmp_path)
    assert catalogue.load("own", store) == {}
    for run in (runs["short"]["a"][0], runs["short"]["b"][0], runs["study"]["a"][0]):
        put(store, run, {"x": 0.5})
    assert {label: [one.experiment for one in of] for label, of in catalogue.load("own", store).items()} == runs[
        "short"
    ]
    put(store, runs["study"]["b"][0], {"x": 0.5})
    assert catalogue.shown_scale("own", store) == "study"
    with pytest.raises(ValueError, match=r"no family 'owm'; did you mean 'own'\?; there are headtohead, rates"):
        catalogue.load("owm", store)


def test_what_claims_alone_rest_on():
    families = catalogue.families("study", catalogue.COHORTS)
    lengths = {name: len(families[name]) for name in ("simple-augmentation", "masked-normalisation")}
    assert lengths == {"simple-augmentation": 10, "masked-normalisation": 5}
    of_a_reader = catalogue.families("study", ("hospital-7",), ("simple-augmentation",))["simple-augmentation"]
    assert {run.cohort for run in of_a_reader} == {"hospital-7"}


def test_a_run_belongs_to_the_first_family_that_has_it_and_needs_its_data_at_hand():
    wanted = catalogue.families("study", GLIOMAS)
    every = [run.id for runs in wanted.values() for run in runs]
    assert len(every) == len(set(every))
    # The V-Net is all in the head to head.
    assert list(wanted)[:5] == ["headtohead", "rates", "twice", "external", "vae"]
    assert "external" not in catalogue.families("study", GLIOMAS[:1])
    cohorts = {
        name for runs in catalogue.families("study", GLIOMAS[:1]).values() for run in runs for name in [run.cohort]
    }
    assert cohorts == {"brats2018-19"}
    assert list(catalogue.families("study", (nnunet.HIPPOCAMPUS_COHORT,)))[:3] == [
        *("rates", "headtohead-hippocampus", "twice"),
    ]


def test_every_cell_is_trained_twice_as_long_on_the_pilots_fold():
    once, twice = [*flat("headtohead", "study"), *flat("headtohead-hippocampus", "study")], flat("twice", "study")
    assert len(twice) == 8 + 4
    bases = {scales.doubled(run).id for run in once if run.fold == 4}
    assert {run.id for run in twice} == bases
    assert flat("twice", "short") == []


def test_nine_more_runs_search_the_rates_of_all_networks_of_the_head_to_head(tmp_path):
    assert len(catalogue.families("study", GLIOMAS)["rates"]) == 9
    tried = head_to_head.rates("study")
    assert {name: [run.learning_rate for run in runs] for name, runs in tried.items()} == {
        "V-Net": [1.1e-5, 3.3e-5, 1e-4],
        "SegVAE": [6.7e-4, 2e-3, 6e-3],
        "U-Net": [1e-3, 3e-3, 9e-3],
        "V-Net, normalised": [3.3e-4, 1e-3, 3e-3],
        "SegVAE, hippocampus": [6.7e-4, 2e-3, 6e-3],
        "U-Net, hippocampus": [1e-3, 3e-3, 9e-3],
    }
    store, cells = Store(tmp_path), head_to_head.cells("study", folds=(0,))
    every = [put(store, run, {"a": 0.5}) for runs in cells.values() for run in runs]
    assert not any(map(searched, every))
    for runs in tried.values():
        for run in runs:
            put(store, run, {"a": 0.5})
    assert all(map(searched, every))


def test_every_network_meets_the_other_hospitals_alone_and_averaged_over_its_folds():
    runs = flat("external", "study")
    assert all(isinstance(run, Ensemble) and run.elsewhere == scales.EXTERNAL for run in runs)
    trained = {run.id for run in flat("headtohead", "study")}
    alone = [run.members[0].id for run in runs if len(run.members) == 1]
    averaged = [run for run in runs if len(run.members) > 1]
    assert sorted(alone) == sorted(trained)
    for run in averaged:
        assert [member.fold for member in run.members] == [0, 1, 2, 3, 4]
        assert len({(member.seed, member.model, member.regions) for member in run.members}) == 1


def test_another_cohort_takes_the_place_of_the_gliomas():
    wanted = catalogue.families("short", ("hospital-7",), only=("vnet", "vae"))
    assert {run.cohort for runs in wanted.values() for run in runs} == {"hospital-7"}
    assert len(wanted["vnet"]) == 10


def test_expected_seconds_grow_with_the_voxels_seen(monkeypatch):
    monkeypatch.setenv("GBM_DEVICE", "cpu")
    run = scales.paper_a("study", [0], [0])[0]
    assert runner.voxels_seen(run, cases=15) == run.epochs * run.batches * 48**3
    cases = pd.DataFrame({"split": ["train", "train", "held out"], "case": list("aab")})
    history = pd.DataFrame({"epoch": range(run.epochs)})

    def record(experiment, seconds, on_card=False):
        measured = {"cases": cases, "history": history, "on_graphics_card": on_card}
        return SimpleNamespace(experiment=experiment, provenance={"seconds": seconds}, **measured)

    made = [record(run, 300), record(run, 10, on_card=True), record(run.changed(cohort="elsewhere-3"), 900)]
    assert runner.expected_seconds(run, made) == pytest.approx(300)
    assert runner.expected_seconds(scales.doubled(run), made) == pytest.approx(600)
    assert math.isnan(runner.expected_seconds(scales.vnet("study")[0], made))
    ensemble = scales.external([run])["single"][0]
    assert runner.expected_seconds(ensemble, [*made, record(ensemble, 20)]) == 20
    assert runner.expected_seconds(run, made[2:]) == pytest.approx(900), "other data, where there is nothing else"
    assert math.isnan(runner.expected_seconds(run, made[1:2])), "a card's time says nothing of a processor's"
    monkeypatch.setenv("GBM_DEVICE", "cuda")
    assert runner.expected_seconds(run, made) == pytest.approx(10)


def test_twice_the_schedule_is_the_same_run_otherwise():
    run = scales.paper_a("study", [4], [0])[0]
    twice = scales.doubled(run)
    assert (twice.epochs, twice.warmup) == (2 * run.epochs, 2 * run.warmup)
    assert twice.changed(epochs=run.epochs, warmup=run.warmup) == run
