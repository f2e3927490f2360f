"""Slices against volumes and thicker and thicker slices, as the chapters show them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from grouped_records import record as made_up
from grouped_records import rows

from gbmlib.analysis import scores
from gbmlib.analysis.intervals import NOTHING, Difference
from gbmlib.analysis.scores import UnpairedError
from gbmlib.cohorts import GLIOMA, open_cohort
from gbmlib.cohorts.folds import split
from gbmlib.evaluation.metrics import NAMES
from gbmlib.pages import comparison, pictures, tables, thickness_pages, unet_figures, unet_pages
from gbmlib.study import catalogue, nnunet, nnunet_ablations
from gbmlib.study.records import Store

REGIONS = (*GLIOMA.values(), "WT", "TC", "ET")


def record(store, experiment, dice, regions=REGIONS, cases="abcdefghi"):
    """A made-up record of a real configuration: ``dice(case, region)`` in every metric."""
    rows = [
        (case, "held out", region, metric, dice(case, region))
        for case in cases
        for region in regions
        for metric in NAMES
    ]
    history = pd.DataFrame({"epoch": [0, 1], "learning_rate": [1e-3, 5e-4]})
    for part in ("train", "val"):
        history[f"{part}_dice"] = history[f"{part}_loss"] = 0.5
    made = {"parameters": 10**6, "seconds": 60, "cases": 3, "device": "a machine", "numerics": 1, "fingerprint": "x"}
    return store.finish(
        experiment, history, pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]), made
    )


HELD = ("ab", "cd", "ef", "gh", "i")


def hardness(case):
    return 0.1 * ("abcdefghi".index(case) % 3)


@pytest.fixture
def both(tmp_path):
    """2D: 0.5 on nested regions and 0 on exclusive labels; 3D 0.2 more on the nested ones."""
    store = Store(tmp_path)
    runs = {f"{d}D": nnunet.glioma("short", d, range(5)) for d in (2, 3)}

    def dice(case, region, up):
        return (0.5 + up - hardness(case)) * (region in ("WT", "TC", "ET"))

    return {
        name: [record(store, one, partial(dice, up=up), cases=HELD[one.fold]) for one in folds]
        for (name, folds), up in zip(runs.items(), (0, 0.2), strict=True)
    }


def test_gliomas_are_shown_on_the_nested_regions(both):
    nested = comparison.nested(both)
    assert list(nested["2D"][0].cases.region.unique()) == ["WT", "TC", "ET"]
    assert set(both["2D"][0].cases.region) == set(REGIONS)  # the record itself stays whole
    assert scores.levels(nested)["2D"].mean == pytest.approx(0.4)
    text = "".join(part for part in unet_pages.compared(both) if isinstance(part, unet_pages.Prose))
    assert "**3D**: higher Dice than 2D; +0.200" in text


def test_volumes_minus_slices_for_every_region(both):
    table = unet_pages.by_region(both)
    assert list(table.index) == ["WT", "TC", "ET", "mean"]
    assert [of.mean for of in table["3D minus 2D"]] == pytest.approx([0.2] * 4)
    assert set(table.decided) == {"higher"}
    assert "decided" not in unet_pages.by_region(both, decides=False)
    assert "2D has no record yet" in unet_pages.by_region({"3D": both["3D"]})


def test_other_regions_are_left_as_they_are(tmp_path):
    of = nnunet.hippocampus("study", 3)[0]
    groups = {"3D": [record(Store(tmp_path), of, lambda *_: 0.9, ("Anterior", "Posterior"))]}
    assert list(comparison.nested(groups)["3D"][0].cases.region.unique()) == ["Anterior", "Posterior"]


def test_exclusive_labels_stand_beside_the_papers(both):
    table = unet_pages.gliomas(both)
    assert list(table.columns[:3]) == [GLIOMA[2], GLIOMA[1], GLIOMA[3]]
    assert table.loc["2D, Isensee et al. 2018"].tolist() == ["0.7860", "0.5865", "0.7742", 484]
    assert table.loc["3D, Isensee et al. 2018", GLIOMA[1]] == "0.6222"


def test_the_hippocampus_stands_beside_the_paper_and_the_second_version(tmp_path):
    theirs = unet_pages.reference()
    assert len(theirs) == 260
    assert theirs.mean().round(4).tolist() == [0.8985, 0.8823]
    cases = list(theirs.index[:3])
    of = nnunet.hippocampus("study", 3)[0]
    groups = {
        "3D": [record(Store(tmp_path), of, lambda case, region: theirs.loc[case, region] - 0.01, theirs.columns, cases)]
    }
    table = unet_pages.hippocampus(groups)
    assert table.loc["3D, Isensee et al. 2018, five folds", ["Anterior", "Posterior"]].tolist() == ["0.8987", "0.8820"]
    assert table.loc["2D, Isensee et al. 2018, five folds", ["Anterior", "Posterior"]].tolist() == ["0.8852", "0.8670"]
    ours, same = (table.loc[row] for row in ("3D, ours, 1 fold", "3D, nnU-Net v2, our held-out cases"))
    assert same["mean"].mean - ours["mean"].mean == pytest.approx(0.01)
    assert same.cases == 3
    change = unet_pages.against_reference(groups).loc["3D"]
    assert [change[name].mean for name in ("Anterior", "Posterior", "mean")] == pytest.approx([-0.01] * 3)
    assert unet_pages.hippocampus({}).index.str.contains("five folds").all()


def test_a_published_mark_is_the_same_under_every_seed_of_ours():
    ours = [
        made_up(0, seed, [row for case, value in zip("abc", values, strict=True) for row in rows(case, value)])
        for seed, values in enumerate(((0.5, 0.6, 0.7), (0.7, 0.8, 0.9)))
    ]
    found = unet_pages.minus_published(ours, pd.DataFrame({"WT": [0.5, 0.65, 0.95]}, list("abc")))
    assert found.difference.mean == pytest.approx((0.1 + 0.05 - 0.15) / 3)
    assert (found.cases, found.seeds, found.by_seed) == (3, (1, 2), {})
    # Ranks of 0.1, 0.05, -0.15 are 2, 1, 3: three for us, three against.
    assert found.effect == pytest.approx(0)
    with pytest.raises(UnpairedError, match="c"):
        unet_pages.minus_published(ours, pd.DataFrame({"WT": [0.5, 0.65]}, list("ab")))


def test_a_row_has_every_label_their_mean_and_the_cases():
    row = tables.levels(pd.DataFrame({"x": [0.2, 0.4], "y": [0.6, 1.0]}))
    assert list(row) == ["x", "y", "mean", "cases"]
    assert [row[name].mean for name in ("x", "y", "mean")] == pytest.approx([0.3, 0.8, 0.55])
    assert row["cases"] == 2


def test_a_case_that_the_reference_lacks_is_named(tmp_path):
    of = nnunet.hippocampus("study", 3)[0]
    groups = {"3D": [record(Store(tmp_path), of, lambda *_: 0.9, ("Anterior", "Posterior"))]}
    with pytest.raises(ValueError, match="nnU-Net v2 lacks a, b, c"):
        unet_pages.against_reference(groups)


def test_our_folds_are_those_of_the_published_dice(hippocampus_folder):
    cohort = open_cohort(f"msd:{hippocampus_folder}")
    fold_of = pd.read_csv("book/facts/nnunet_v2_hippocampus_dice.csv", comment="#", index_col="case").fold
    for fold in range(5):
        _, held_out = split(cohort, 5, fold)
        assert set(held_out) == set(fold_of.index[fold_of == fold])


def test_how_networks_are_trained():
    table = unet_pages.trained({f"{d}D": nnunet.hippocampus("short", d) for d in (2, 3)})
    assert table.loc["2D", ["patch (z, y, x)", "batch", "Dice of"]].tolist() == ["1 x 56 x 40", 366, "the whole batch"]
    assert table.loc["3D", ["patch (z, y, x)", "batch", "Dice of"]].tolist() == ["40 x 56 x 40", 9, "each sample"]
    assert table.loc["3D", "filters"] == 30


def test_steps_between_slices_are_counted():
    cube = np.zeros((4, 4, 4), np.uint8)
    cube[1:3, 1:3, 1:3] = 2
    # The same voxels, one slice pushed aside by one: 2 voxels above and 2 below are laid bare.
    shifted = np.zeros_like(cube)
    shifted[1, 1:3, 1:3] = shifted[2, 1:3, 2:4] = 1
    table = unet_pages.steps({"gold": cube, "jumps": shifted}, (2, 1, 1))
    # A cube of 2 x 2 x 2 voxels of 2 x 1 x 1 mm: its faces measure 4 mm² across z and 8 across y or x, two of each.
    assert table.loc["gold", ["faces z (mm²)", "faces y or x (mm²)", "ratio"]].tolist() == [8, 16, 0.5]
    assert table.loc["jumps", "faces z (mm²)"] == 12
    assert table.loc["jumps", "ratio over gold's"] == 1.5
    assert np.isnan(unet_pages.steps({"empty": cube * 0}, (1, 1, 1)).ratio["empty"])


@pytest.fixture
def sweep(tmp_path):
    """3D loses 0.02 a mm, 2D begins 0.094 lower and loses nothing: they meet at 4.7 mm over the thinnest slices."""
    store = Store(tmp_path)
    groups = {}
    for (name, at), folds in nnunet_ablations.anisotropy("short", range(5)).items():
        level = 0.506 + 1e-12 * at if name == "2D" else 0.6 - 0.02 * (at - 1.5)  # no two networks score quite alike
        groups[name, at] = [
            record(store, one, lambda case, _, level=level: level - hardness(case), cases=HELD[one.fold])
            for one in folds
        ]
    return groups


def test_the_sweep_is_paired_by_case_and_says_where_slices_overtake(sweep):
    table = thickness_pages.sweep(sweep)
    assert list(table.index) == [1.5, 3, 6, 9, 12]
    assert [of.mean for of in table["2D minus 3D"]] == pytest.approx([-0.094, -0.064, -0.004, 0.056, 0.116])
    assert table["2D"][3].mean == pytest.approx(0.406)
    assert table.decided.tolist() == ["lower", "lower", "lower", "higher", "higher"]
    assert set(table.family) == {5}
    said = thickness_pages.overtaking(table, 3)
    assert "about **6.2 mm**, 2.1 times the spacing within a slice" in said
    assert "2D is higher at 9, 12 mm, and 3D at 1.5, 3, 6 mm" in said


def test_a_thickness_with_one_network_has_no_difference(sweep):
    del sweep["2D", 6]
    table = thickness_pages.sweep(sweep)
    assert np.isnan(table["2D"][6])
    assert table["2D minus 3D"][6] is NOTHING
    assert thickness_pages.thicknesses(sweep)  # and the figure leaves it out


def differences(*means):
    each = [Difference(of, of - 0.01, of + 0.01, 4) for of in means]
    return pd.DataFrame({"2D minus 3D": each, "decided": "undecided"}, [1.0, 2, 4][: len(means)])


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((-0.1, -0.2, -0.1), "**nowhere in the range** of 1 to 4 mm."),
        ((-0.1, 0.1, -0.1), "**nowhere in the range** of 1 to 4 mm, though it is ahead at 2 mm."),
        ((0.1, 0.2, 0.1), "**ahead in the whole range** of 1 to 4 mm"),
        ((-0.1, 0.1, 0.1), "about **1.5 mm**, 1.5 times"),
        ((0.1, -0.1, 0.3), "about **2.5 mm**"),
    ],
)
def test_where_slices_overtake(means, said):
    assert said in thickness_pages.overtaking(differences(*means), 1)


def test_nothing_compared_says_so():
    table = pd.DataFrame({"2D minus 3D": [NOTHING]}, [3.0])
    assert "nothing to compare" in thickness_pages.overtaking(table, 3)


def test_plans_of_the_sweep():
    table = thickness_pages.plans("brats2018-19", [(1.5, 3, 3), (12, 3, 3)])
    assert table.loc[("1.5 x 3 x 3", "2D"), "slices across"] == "y"
    assert table.loc[("12 x 3 x 3", "3D"), ["patch", "augmentation"]].tolist() == ["12 x 64 x 48", "slice by slice"]


def test_without_records_the_pages_say_what_makes_them(tmp_path):
    store = Store(tmp_path)
    asked, command = unet_pages.choice("norm", store)
    assert "Instance norm or batch norm" in asked
    assert "msd:PATH --only untested/norm" in command
    assert "--only anisotropy" in thickness_pages.swept(store)[0]
    assert unet_pages.all_choices(store).empty
    missing = unet_pages.all_published("hippocampus", store)[0]
    assert "python -m gbmlib run msd:PATH --only hippocampus" in missing


def test_records_of_the_study_are_found_and_shown(tmp_path, sweep):
    store = Store(tmp_path)  # where the sweep's records lie, the shared base among them
    of = next(one for one in nnunet_ablations.COMPARISONS if one.name == "norm")
    record(
        store, nnunet_ablations.runs(of, "short")["batch norm"][0], lambda case, _: 0.3 - hardness(case), cases=HELD[0]
    )
    table = unet_pages.all_choices(store)
    assert list(table.index) == ["batch norm"]
    assert table.difference["batch norm"].mean == pytest.approx(0.3 - 0.57)
    text = "".join(part for part in thickness_pages.swept(store) if isinstance(part, unet_pages.Prose))
    assert "1.5 to 12 mm between them; 20 runs of 250 steps; 20 minutes" in text
    assert "overtakes" in text


def test_all_choices_are_shown_at_the_largest_scale_that_has_all_of_them(tmp_path, monkeypatch):
    store, of = Store(tmp_path), next(one for one in nnunet_ablations.COMPARISONS if one.name == "norm")
    monkeypatch.setitem(catalogue.SETS, "untested", [catalogue.FAMILIES["untested/norm"]])

    def put(scale, label, down):
        for run in nnunet_ablations.runs(of, scale)[label]:
            record(store, run, lambda case, _: 0.8 - down - hardness(case), cases=HELD[run.fold])

    for label, down in (("instance norm", 0), ("batch norm", 0.1)):
        put("short", label, down)
    put("study", "instance norm", 0)
    assert unet_pages.all_choices(store).difference["batch norm"].mean == pytest.approx(-0.1)
    put("study", "batch norm", 0.3)
    assert unet_pages.all_choices(store).difference["batch norm"].mean == pytest.approx(-0.3)


def test_figures_hold_what_they_are_given(both, sweep):
    figure = unet_figures.rates(both)
    assert [list(trace.y) for trace in figure.data] == [[1e-3, 5e-4]] * 2
    theirs = pd.DataFrame({"WT": {"a": 0.9, "b": 0.8, "c": 0.7}})
    points = unet_figures.case_by_case({"2D": unet_pages.dices_of(both["2D"]).loc[list("abc")]}, theirs).data[-1]
    assert list(points.x) == [0.9, 0.8, 0.7]
    assert list(points.y) == pytest.approx([0.5, 0.4, 0.3])
    lines = {trace.name: trace for trace in unet_figures.thickness(thickness_pages.sweep(sweep)).data}
    assert list(lines["2D minus 3D"].y) == pytest.approx([-0.094, -0.064, -0.004, 0.056, 0.116])
    assert len(unet_figures.thickness(thickness_pages.sweep(sweep)).layout.shapes) == 2  # the margin and zero


def test_slices_of_a_case_at_each_thickness():
    case = open_cohort("phantom:cases=2,spacing=6,seed=0").cases[0]
    axes = pictures.thicknesses(case, [(6, 6, 6), (12, 6, 6)]).axes
    assert [axis.get_title() for axis in axes] == ["6 mm slices", "12 mm slices"]
    thin, thick = (axis.images[0].get_array().shape[0] for axis in axes)
    assert abs(thin - 2 * thick) <= 1
