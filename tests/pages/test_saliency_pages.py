"""The chapter on maps: the networks it shares with others, its tables, words, pictures and curves."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from untrained_runs import record_of

from gbmlib.analysis.intervals import Difference, Interval
from gbmlib.analysis.saliency_checks import PARTS
from gbmlib.cohorts import open_cohort
from gbmlib.cohorts.folds import split
from gbmlib.pages import pictures, saliency_figures, saliency_pages
from gbmlib.pages.saliency_pages import BRAIN, DEEPEST, LAST, NEAR, SALIENCY
from gbmlib.study import nnunet, scales
from gbmlib.viewer import slice_viewer

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(scales.SCALES["test"]["cohort"], ("t1ce", "flair"))


@pytest.fixture(scope="module")
def records(cohort, tmp_path_factory):
    """The first paper's network, which finds the whole tumour nearly everywhere, and a U-Net in slices."""
    nested, flat = scales.paper_a("test", [0], [0])[0], nnunet.glioma("test", 2)[0]
    folder = tmp_path_factory.mktemp("runs")
    return {
        "Paper A": record_of(nested, cohort, folder / nested.id, bias=[1.0, 0.0, -50.0]),
        "2D": record_of(flat, cohort, folder / flat.id),
    }


@pytest.fixture(scope="module")
def case(cohort, records):
    of = records["Paper A"].experiment
    return cohort[split(cohort, of.folds, of.fold)[1][0]]


@pytest.fixture(scope="module")
def targets(records, cohort, case):
    return saliency_pages.targets(records, cohort, case, "WT")


def wanted_by(name, **parameters):
    """What a chapter asks for: its parameters, its check and its first cell of work, without the work."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][:3]
    space: dict = {}
    exec(sources[0], space)
    space |= parameters
    exec("\n".join(sources[1:]), space)
    return space


@pytest.mark.parametrize("parameters", [{}, {"modalities": "flair", "spacing": 4, "epochs": 3}])
def test_the_networks_are_those_of_the_earlier_chapters(parameters, tmp_path):
    parameters = parameters | {"profile": "demo", "store": str(tmp_path)}
    branch, both, own = (
        wanted_by(name, **parameters)
        for name in ("03_vae_ablation", "07_unet_2d_vs_3d", "10_what_the_network_looks_at")
    )
    theirs = {
        "V-Net": branch["baseline"][0].id,
        "Paper A": branch["wanted"][branch["with_branch"]][0].id,
        "2D": both["wanted"]["2D"][0].id,
        "3D": both["wanted"]["3D"][0].id,
    }
    assert {name: of[0].id for name, of in own["every"].items()} == theirs
    assert all(len(of) == 1 for of in own["every"].values())


def test_a_network_that_finds_nothing_is_left_out(records, cohort, case):
    assert list(saliency_pages.targets(records, cohort, case, "ET")) == ["2D"]


def test_regions_of_the_gold_standard(cohort, case):
    label = case.label()
    np.testing.assert_array_equal(saliency_pages.region_of(case, cohort, "TC"), np.isin(label, (1, 3)))
    np.testing.assert_array_equal(saliency_pages.region_of(case, cohort, "oedema"), label == 2)


def test_the_layers_of_each_network(targets):
    text = saliency_pages.layers(targets, ["Paper A", "2D", "3D"])
    assert "- **Paper A**: `first`, `encoder.0`, `down.0`, `encoder.1`" in text
    assert "; deepest `encoder.3`, last `decoder.2`." in text
    assert "- **3D** finds none of the region" in text


def test_where_maps_lie(records, cohort):
    found = saliency_pages.where_maps_lie(records, cohort, "WT")
    places = found["places"]
    assert list(places.columns) == [*PARTS, "cases"]
    assert found["skipped"] == []
    for name in records:
        weights = [(of, by) for of in (SALIENCY, DEEPEST) for by in ("trained", "untrained")]
        assert list(places.loc[name].index) == [("even", ""), *weights]
        assert (places.loc[name].cases <= 2).all()
        for _, row in places.loc[name].iterrows():
            if row.cases:
                assert sum(row[part].mean for part in PARTS) == pytest.approx(1)
    near = {by: places.loc["2D", SALIENCY, by] for by in ("trained", "untrained")}
    means = [row["inside"].mean + row["rim"].mean for row in near.values()]
    assert found["differences"]["2D", SALIENCY].mean == pytest.approx(means[0] - means[1])
    shares = found["modalities"]
    assert list(shares.columns) == ["t1ce", "flair", "cases"]
    for _, row in shares.iterrows():
        assert row.t1ce.mean + row.flair.mean == pytest.approx(1)
    # These were never trained: drawn with the seed of their first weights, trained and untrained are one network.
    assert shares.loc["2D", "trained"].t1ce == shares.loc["2D", "untrained"].t1ce
    other = saliency_pages.where_maps_lie({"2D": records["2D"]}, cohort, "WT", seed=1)["modalities"].loc["2D"]
    assert other.loc["trained"].t1ce == shares.loc["2D", "trained"].t1ce
    assert other.loc["untrained"].t1ce != other.loc["trained"].t1ce


def test_cases_without_the_region_are_named(records, cohort):
    found = saliency_pages.where_maps_lie({"Paper A": records["Paper A"]}, cohort, "ET")
    assert len(found["skipped"]) == 2
    assert "Paper A: case phantom" in found["skipped"][0]
    text = saliency_pages.in_words(found)
    assert text.count("Left out") == 2
    assert found["places"].empty


def test_words_are_of_the_table():
    def row(inside, rim):
        values = (inside, rim, 1 - inside - rim, 0.0)
        return {part: Interval(of, np.nan, np.nan, 1) for part, of in zip(PARTS, values, strict=True)} | {"cases": 1}

    keys = [("3D", "even", ""), ("3D", SALIENCY, "trained"), ("3D", SALIENCY, "untrained")]
    index = pd.MultiIndex.from_tuples(keys, names=["network", "map", "weights"])
    places = pd.DataFrame([row(0.02, 0.04), row(0.5, 0.2), row(0.1, 0.2)], index)
    differences = pd.Series({("3D", SALIENCY): Difference(0.4, 0.3, 0.5, 4)})
    text = saliency_pages.in_words({"places": places, "differences": differences, "skipped": []})
    assert "**3D, saliency**: 70% inside the region or at its rim, which are 6% of the volume; 30% with" in text
    assert "untrained weights, a difference of +0.400 (+0.300 to +0.500)." in text


def test_the_strongest_voxels_of_the_brain():
    of = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    brain = of < 80
    found = saliency_pages.strongest(of, brain, 0.1)
    assert np.flatnonzero(found).tolist() == list(range(72, 80))
    assert not saliency_pages.strongest(np.zeros_like(of), brain).any()


def test_the_viewer_has_maps_as_pictures_and_overlays(targets, cohort, case):
    maps = saliency_pages.smoothed(targets["Paper A"], samples=2)
    native = saliency_pages.in_native_space(targets["Paper A"], maps)
    assert list(native) == ["saliency", "SmoothGrad", DEEPEST, LAST]
    for of in native.values():
        assert of.shape == case.shape
        assert of.min() >= 0
        assert of.max() == pytest.approx(100) or of.max() == 0
    spec = saliency_pages.view(targets["Paper A"], case, cohort, native, "WT").spec
    assert [image["name"] for image in spec["images"]] == ["t1ce", "flair", *native]
    assert [overlay["name"] for overlay in spec["overlays"]] == [slice_viewer.TRUTH, slice_viewer.PREDICTION, *native]
    classes = {of["value"]: of["name"] for of in spec["classes"]}
    assert classes == {1: "WT"} | {n: f"strongest 5% of {name}" for n, name in enumerate(native, 2)}


def test_the_figures(targets, records, cohort, case, monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    native = {name: saliency_pages.in_native_space(of, saliency_pages.maps_of(of)) for name, of in targets.items()}
    figure = pictures.maps(case, native, saliency_pages.region_of(case, cohort, "WT"))
    assert [axis.get_title() for axis in figure.axes][:2] == [f"Paper A\n{SALIENCY}", f"Paper A\n{DEEPEST}"]
    tables = {"Paper A": saliency_pages.sanity(records["Paper A"], targets["Paper A"], case, seed=3)}
    table = tables["Paper A"]
    assert list(table.columns) == [(place, of) for place in (BRAIN, NEAR) for of in (SALIENCY, DEEPEST, LAST)]
    assert (table.iloc[0] == 1).all()
    assert table.index[1] == "output"
    curves = saliency_figures.sanity(tables)
    assert len(curves.data) == 6
    np.testing.assert_array_equal(curves.data[0].y, table[BRAIN, SALIENCY])
    assert curves.data[0].x[-1] == "first"
    assert f"{SALIENCY} {table.iloc[-1][BRAIN, SALIENCY]:.2f} (" in saliency_pages.left_over(tables)


def test_a_case_in_which_no_network_finds_anything_is_shown_all_the_same(cohort, case):
    assert len(pictures.maps(case, {}, saliency_pages.region_of(case, cohort, "WT")).axes) == 1
    assert len(saliency_figures.sanity({}).data) == 0
    assert "nothing to check" in saliency_pages.left_over({})


def test_maps_are_the_same_again(targets):
    one, again = (saliency_pages.smoothed(targets["2D"], samples=2) for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)
