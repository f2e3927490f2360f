"""What chapters show of a comparison: the largest scale first, what is missing, and no verdict on phantoms."""

from types import SimpleNamespace

import pandas as pd
import pytest
from grouped_records import HELD_OUT_IN, configured, hardness, stored

from gbmlib.analysis.family import contrasts
from gbmlib.analysis.intervals import NOT_YET
from gbmlib.evaluation.metrics import NAMES
from gbmlib.pages import comparison, tables, text
from gbmlib.pages.text import Prose
from gbmlib.study import ablations, catalogue, nnunet, nnunet_ablations, run, scales
from gbmlib.study.records import Store


def record(value, fold=0, **fields):
    rows = [(f"{case}{fold}", "held out", "WT", metric, value) for case in "abcdef" for metric in NAMES]
    history = pd.DataFrame({"epoch": [0, 1]})
    for part in ("train", "val"):
        history[f"{part}_dice"] = history[f"{part}_loss"] = 0.5
    return SimpleNamespace(
        id=f"run-{fold}",
        history=history,
        cases=pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        experiment=configured(fold, 0, 5, epochs=2, spacing=3, **fields),
        store=None,
        provenance={"parameters": 1_000_000, "seconds": 90, "cases": 15, "device": "a machine"},
    )


def everywhere(value):
    """A run in every fold."""
    return [record(value, fold) for fold in range(5)]


def prose(shown):
    return "\n".join(part for part in shown if isinstance(part, Prose))


def test_a_comparison_says_where_it_comes_from_what_it_decides_and_what_is_missing():
    groups = {"base": everywhere(0.5), "better": everywhere(0.6)}
    text = prose(comparison.compared(groups, ["base", "better", "diverged"]))
    assert "**some** at 3 x 3 x 3 mm, 15 cases; 10 runs on 5 folds of 5 with 1 seed, 2 epochs; 15 minutes" in text
    assert (
        "**better**: higher Dice than base; +0.100 (+0.100 to +0.100) on 30 cases, 5 folds, 1 seed; p < 0.001" in text
    )
    assert text.endswith(
        "*Dice and loss over epochs. On held-out cases at the end: better: Dice higher by "
        "0.100 (0.100 to 0.100) than base, 30 cases.*"
    )
    assert "did not converge: diverged" in text


def test_the_answer_is_the_verdict_with_its_size_and_once_what_would_decide_it(tmp_path):
    store = Store(tmp_path)
    differences = contrasts({"base": everywhere(0.5), "better": everywhere(0.6)})
    decided = comparison.answer({"Dice": differences}, "vae", store)
    assert decided == "**Higher.** From *base* to *better*, Dice changes by +0.100 (+0.100 to +0.100) on 30 cases."
    unsound = differences.assign(decided="not decided yet", unsound="undertrained: it still rose")
    assert comparison.answer({"Dice": unsound, "the gap": unsound}, "vae", store) == (
        "**Not decided yet.** From *base* to *better*, Dice changes by +0.100 (+0.100 to +0.100) on 30 cases.\n\n"
        "**Not decided yet.** From *base* to *better*, the gap changes by +0.100 (+0.100 to +0.100) on 30 cases.\n\n"
        "These runs decide nothing (undertrained: it still rose). `python -m gbmlib run brats:PATH --only vae "
        "--profile paper` makes runs that can decide it."
    )
    open_still = comparison.answer({"Dice": differences.assign(decided="undecided", detectable=0.05)}, "vae", store)
    assert open_still.endswith(" A study like this finds a difference of 0.05; smaller ones need more runs.")
    assert comparison.answer({"Dice": contrasts({})}, "vae", store) == "*There is nothing to compare yet.*"


def test_a_channel_that_never_learnt_is_told():
    stuck, fine = record(0.1, fold=1), record(0.5)
    for of, best in ((stuck, 0.04), (fine, 0.4)):
        of.history["val_dice_WT"], of.history["val_dice_TC"] = [0.0, 0.5], [0.04, best]
    trained = pd.DataFrame(
        {"case": "z", "split": "train", "region": ["WT", "TC"], "metric": "dice", "value": [0.5, 0.04]}
    )
    stuck.cases = pd.concat([stuck.cases, trained])
    text = prose(comparison.compared({"base": [fine], "stuck": [fine, stuck]}))
    assert "- **stuck**: TC in fold 1, seed 0\n" in text
    assert "**base**: TC" not in text
    assert "WT in" not in text
    assert "Collapsed" not in prose(comparison.compared({"base": [fine], "stuck": [stuck]}, decides=False))
    assert comparison.collapsed({"base": [fine]}) == []


def test_phantoms_give_no_verdict():
    groups = {"base": [record(0.5)], "better": [record(0.6)]}
    shown = comparison.compared(groups, decides=False)
    assert "higher" not in prose(shown)
    assert any(isinstance(part, pd.DataFrame) for part in shown)


def test_the_gap_is_worded_as_every_comparison_is():
    def group(trained, even=0):
        runs = everywhere(0.5)
        for fold, one in enumerate(runs):
            held = pd.concat([other.cases[other.cases.split == "held out"] for other in runs[:fold] + runs[fold + 1 :]])
            values = trained + 0.003 * held.case.str[0].map(dict(zip("abcdef", (1, -1) * 3, strict=True))) * even
            one.cases = pd.concat([one.cases, held.assign(split="train", value=values)])
        return runs

    groups = {"base": group(0.6), "worse": group(0.8), "better": group(0.55), "the same": group(0.6, even=1)}
    table, words = comparison.memorised(groups)
    assert table.gap["worse"].mean == pytest.approx(0.3)
    assert table["decided"].tolist() == ["", "higher", "lower", "no difference"]
    worse, better, same = words.splitlines()
    assert "a larger gap than base; +0.200" in worse
    assert "a smaller gap than base; -0.050" in better
    assert "no difference above 0.01 from base" in same
    assert "(Holm, 3 comparisons)" in same
    assert len(comparison.memorised(groups, decides=False)) == 1


def test_without_its_base_nothing_is_subtracted():
    shown = comparison.compared({"better": [record(0.6)], "other": [record(0.5)]}, ["base", "better", "other"])
    table = next(part for part in shown if isinstance(part, pd.DataFrame))
    assert list(table.columns) == ["Dice"]
    assert "than" not in prose(shown)


def test_two_fields_side_by_side():
    groups = {
        f"{rate}, {warmup}": [record(rate * 1e4 / (1 + warmup), learning_rate=rate, warmup=warmup)]
        for rate in (1e-4, 1e-5)
        for warmup in (0, 10)
    }
    table = tables.two_by_two(groups, "learning_rate", "warmup")
    assert table.loc[1e-5, 10].mean == pytest.approx(0.1 / 11)
    assert (table.index.name, table.columns.name) == ("learning rate", "warmup")


def test_an_empty_store_says_how_to_fill_it(tmp_path):
    store = Store(tmp_path)
    asked, command = comparison.choice("choices/order", store)
    assert "sections 3.2.6 and 6" in asked
    assert "--only choices/order" in command
    found = comparison.contrasts_of("choices", store)
    assert found.empty
    assert list(found.columns) == list(contrasts({}).columns)
    assert comparison.overview("choices", store) == ([text.NOTHING_YET], [])


def test_gliomas_are_shown_on_the_nested_regions(tmp_path):
    groups = {
        f"{number}D": [
            stored(Store(tmp_path), run, lambda case, region, up=up: (0.5 + up - hardness(case)) * (region in "WTCET"))
            for run in nnunet.glioma("short", number)
        ]
        for number, up in ((2, 0), (3, 0.2))
    }
    nested = comparison.nested(groups)
    assert list(nested["2D"][0].cases.region.unique()) == ["WT", "TC", "ET"]
    assert len(groups["2D"][0].cases.region.unique()) == 6  # the record itself stays whole
    table = tables.comparison(nested)
    assert table.loc["3D", "Dice"].mean == pytest.approx(0.6)
    assert table.loc["3D", "difference"].mean == pytest.approx(0.2)


def test_other_regions_are_left_as_they_are(tmp_path):
    of = nnunet.hippocampus("study", 3)[0]
    groups = {"3D": [stored(Store(tmp_path), of, lambda *_: 0.9, ("Anterior", "Posterior"))]}
    assert list(comparison.nested(groups)["3D"][0].cases.region.unique()) == ["Anterior", "Posterior"]


def test_each_choice_is_shown_at_the_largest_scale_that_has_all_of_it(tmp_path, monkeypatch):
    store, known = Store(tmp_path), {one.name: one for one in nnunet_ablations.COMPARISONS}
    choices = [catalogue.FAMILIES[f"untested/{name}"] for name in ("norm", "activation")]
    monkeypatch.setitem(catalogue.SETS, "untested", choices)

    def put(scale, label, down, of="norm"):
        for one in nnunet_ablations.runs(known[of], scale)[label]:
            stored(store, one, lambda case, _: 0.8 - down - hardness(case), cases=HELD_OUT_IN[one.fold])

    for label, down in (("instance norm", 0), ("batch norm", 0.1)):
        put("short", label, down)
    put("study", "instance norm", 0)
    assert comparison.contrasts_of("untested", store).difference["batch norm"].mean == pytest.approx(-0.1)
    (found, figure, caption), folded = comparison.overview("untested", store)
    assert folded == ["*No other figure: all stand above.*"]
    assert found.startswith("On 4 gliomas: **batch norm: ")
    assert list(figure.data[-1].x) == pytest.approx([-0.1])
    assert caption.startswith("*Change in mean Dice of each variant against the paper's network")
    assert " run msd:PATH --only untested` " in comparison.longer_runs("untested", store)
    put("study", "batch norm", 0.3)
    assert comparison.contrasts_of("untested", store).difference["batch norm"].mean == pytest.approx(-0.3)
    put("short", "ReLU", 0.2, "activation")
    both = comparison.contrasts_of("untested", store)
    assert dict(both.asked_of) == {"batch norm": "msd-task04-hippocampus-260", "ReLU": "brats2018-19"}
    (first, _, second, figure, _), _ = comparison.overview("untested", store)
    assert " hippocampi: **batch norm" in first
    assert " gliomas: **ReLU" in second
    assert list(figure.data[-1].x) == pytest.approx([-0.2])
    both["decided"] = ["lower", NOT_YET]
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "contrasts_of", lambda *_: both)
        (_, _, second, caption), [figure] = comparison.overview("untested", store)
    assert "ReLU" in second
    assert list(figure.data[-1].x) == pytest.approx([-0.2])
    put("study", "ReLU", 0.2, "activation")
    assert [len(part) for part in comparison.overview("untested", store)] == [3, 1]
    assert "--only untested --profile paper` " in comparison.longer_runs("untested", store)


def test_a_variant_that_is_whole_at_a_larger_scale_does_not_wait_for_the_others(tmp_path, monkeypatch):
    store, family = Store(tmp_path), catalogue.FAMILIES["untested/augmentation"]
    monkeypatch.setitem(catalogue.SETS, "untested", [family])
    for scale, labels in (
        ("short", {"all of it": 0, "no gamma": 0.1, "no augmentation at all": 0.2}),
        ("study", {"all of it": 0, "no augmentation at all": 0.3}),
    ):
        for label, down in labels.items():
            for one in nnunet_ablations.runs(family.comparison, scale)[label]:
                stored(store, one, lambda case, _, down=down: 0.8 - down - hardness(case), cases=HELD_OUT_IN[one.fold])
    differences = comparison.contrasts_of("untested", store)
    assert {label: round(row.difference.mean, 3) for label, row in differences.iterrows()} == {
        "no augmentation at all": -0.3,  # of the study's scale, which has all five folds of it
        "no gamma": -0.1,
    }
    assert list(differences.asked_of) == ["msd-task04-hippocampus-260", "brats2018-19"]
    shown = comparison.choice("untested/augmentation", store)
    assert sum(isinstance(part, pd.DataFrame) for part in shown) == 2
    [study_scale, short] = (part for part in shown if isinstance(part, pd.DataFrame))
    assert (list(study_scale.index), list(short.index)) == (
        ["all of it", "no augmentation at all"],
        ["all of it", "no gamma"],
    )
    assert any("no rotation" in part for part in shown if isinstance(part, text.Prose))


def test_scales_are_what_the_study_runs():
    table = tables.schedules()
    assert table.loc["paper", ["peak learning rate", "filters", "epochs", "patch (z, y, x)"]].tolist() == [
        "1e-05",
        16,
        300,
        "128 x 144 x 144",
    ]
    assert list(table.index) == ["demo", "short", "study", "paper"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    wanted = ablations.runs(ablations.VAE, "test")
    return store, {label: run(of, store, progress=False) for label, of in wanted.items()}


def test_records_are_found_where_the_store_has_them(trained, monkeypatch):
    store, records = trained
    monkeypatch.setattr(scales, "PUBLISHED", ("demo", "test"))
    found = catalogue.published(lambda profile: ablations.runs(ablations.VAE, profile), store)
    assert list(found) == ["test"]
    assert [record.id for record in found["test"]["with VAE"]] == [record.id for record in records["with VAE"]]
    # Every choice that has its base shows; all share it.
    assert comparison.contrasts_of("choices", store).empty
