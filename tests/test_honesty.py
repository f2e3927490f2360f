"""What records hold and lack, by hand from a few of them."""

import json

import pytest

from gbmlib import honesty
from gbmlib.claims import Claim
from gbmlib.experiments import study
from gbmlib.experiments.__main__ import wanted
from gbmlib.honesty import Group
from gbmlib.intervals import Difference
from gbmlib.records import Store
from gbmlib.verdicts import Comparison, Verdict

COHORT = "phantom:cases=4,spacing=6,seed=0"
PAGES = {"page": "[{}](page.md)"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "records")


@pytest.fixture
def put(store):
    """``put(experiment, dice)`` writes a record with a Dice for each held-out case, and two cases trained on."""

    def put(experiment, dice, minutes=3, device="X, 4 cores"):
        path = store.path / experiment.id
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(experiment.model_dump(mode="json")))
        made = {"seconds": 60 * minutes, "device": device, "cases": 4, "epoch_seconds": [1.0] * 5}
        (path / "provenance.json").write_text(json.dumps(made))
        rows = [
            f"{case},held out,{region},dice,{value}" for case, value in dice.items() for region in ("WT", "TC", "ET")
        ]
        rows += [f"{case},held out,oedema,dice,0.0" for case in dice]  # not a nested region: does not count
        rows += [f"{case},train,WT,dice,1.0" for case in ("t1", "t2")]
        (path / "cases.csv").write_text("\n".join(["case,split,region,metric,value", *rows]) + "\n")
        (path / "history.csv").write_text("epoch,train_loss\n" + "".join(f"{epoch},1\n" for epoch in range(5)))
        return store.get(experiment)

    return put


def run(fold=0, seed=0):
    return study.vnet("test", (fold,), cohort=COHORT, seed=seed)[0]


def test_steps_are_those_that_were_made(put):
    assert honesty.steps(put(run(), {"a": 0.5})) == 5 * 2  # epochs, cases with a batch of one


def test_seeds_are_compared_on_the_folds_that_both_have(put):
    records = [
        put(run(0, 0), {"a": 0.5, "b": 0.7}),
        put(run(0, 1), {"a": 0.4, "b": 0.4}),
        put(run(1, 0), {"c": 0.0}),  # the second seed has no such fold
    ]
    found = honesty.spread("x", records)
    assert found.means == pytest.approx({0: 0.6, 1: 0.4})
    assert found.apart == pytest.approx(0.2)
    assert found.of_a_case == pytest.approx(0.2)  # of 0.1 and 0.3
    assert found.folds == 1


def test_one_seed_or_no_common_fold_tell_nothing(put):
    assert honesty.spread("x", [put(run(0, 0), {"a": 0.5})]) is None
    assert honesty.spread("x", [put(run(0, 1), {"a": 0.5}), put(run(1, 0), {"c": 0.5})]) is None


def test_the_table_of_seeds_counts_a_network_once(store, put):
    for seed, value in ((0, 0.5), (1, 0.505)):
        put(run(0, seed), {"a": value})
    for seed, value in ((2, 0.5), (3, 0.55)):
        put(run(0, seed), {"a": value})
    near, far = [run(0, 0), run(0, 1)], [run(0, 2), run(0, 3)]
    groups = [
        Group("first", "page", lambda profile: {"near": near, "far": far}, "vnet"),
        Group("second", "page", lambda profile: {"again": near}, "vae"),
    ]
    text = honesty.seeds(store, PAGES, groups)
    assert text.startswith("1 of 2 networks that were trained with two seeds or more differ")
    assert "| [first](page.md) | 1 | 2 | 0.028 | 0.050 | far | 1 | 0.028 |" in text
    assert "second" not in text
    assert "No network has been published with two seeds" in honesty.seeds(Store("nowhere"), PAGES, groups)


def test_holdings_and_what_is_missing(store, put):
    put(run(0, 0), {"a": 0.5, "b": 0.5}, minutes=4)
    put(run(1, 0), {"c": 0.5}, minutes=2)
    groups = [
        Group(
            "here",
            "page",
            lambda profile: {"x": [run(0, 0), run(1, 0), run(0, 1)]} if profile == "study" else {},
            "vnet",
        ),
        Group("absent", "page", lambda profile: {"x": [run(0, 9)]}, "se"),
    ]
    text = honesty.holdings(store, PAGES, groups)
    assert "| [here](page.md) | study | 2 of 3 | 3 | 2 of 2 | 1 | 10 | 6 |" in text
    assert "| [absent](page.md) | study | 0 of 1 |" in text
    assert "- here, 1 run: `python -m gbmlib.experiments brats:PATH --only vnet`" in text
    assert "--only se`" in text


def test_facts(store, put):
    facts = honesty.facts([put(run(0, 0), {"a": 0.5}, 30), put(run(0, 1), {"a": 0.5}, 60, "Card Y")])
    assert set(facts) == set(honesty.FACTS)
    assert facts["runs"] == "2"
    assert facts["cases"] == "none"  # phantoms are no patients
    assert facts["steps"] == "10 to 10"
    assert facts["hours"] == "1.5"
    assert facts["longest"] == "60"
    assert facts["cards"] == "1 of 2"
    assert facts["seeds"] == "2"
    assert facts["grids"] == "2 on 6 mm"
    assert set(honesty.facts([])) == set(honesty.FACTS)


@pytest.mark.parametrize(
    "group", [of for of in honesty.GROUPS if of.only and of.only != "crossvalidation"], ids=lambda of: of.title
)
def test_a_groups_runs_are_those_that_its_command_makes(group):
    ours = {of.id for runs in group.make("study").values() for of in runs}
    assert ours == {of.id for of in wanted(group.only, "study", "brats2018-19")}


def test_claims_are_listed_by_what_they_lack():
    claim = {"id": "a-claim", "paper": "A", "place": "section 1", "title": "A title", "claim": "Something is better."}
    runs = {"source": "vae", "pairs": [["with VAE", "without VAE"]]}
    one = Claim(**claim, kind="better", chapter="x", family="f", decided_by=runs)
    other = Claim(**claim | {"id": "open"}, kind="better", chapter="x", decided_by={"needs": "more data than we have"})
    compared = Comparison("with VAE", "without VAE", Difference(0.01, -0.02, 0.05, 19), there=20, wanted=20)
    found = {
        "undecided": Verdict(one, "undecided", "the interval holds zero", (compared,), "study"),
        "lacking": Verdict(one, "not decided yet", "0 of 20 runs have a record", (compared,), "study", 20),
        "open": Verdict(other, "not decided yet", "more data than we have"),
    }
    text = honesty.undecided(found)
    assert text.startswith("1 of 3 claims. The median interval of their comparisons is 0.070 wide")
    assert "python -m gbmlib.verdicts a-claim --cohort brats:PATH --profile paper\n" in text
    assert "- {ref}`A title <claim-a-claim>`: +0.010 (-0.020 to +0.050); the interval holds zero" in text
    lacking = honesty.without_records(found, Store("nowhere"))
    assert lacking.startswith("1 of 3 claims.")
    assert "`python -m gbmlib.verdicts --cohort brats:PATH` makes the 20 that these need:" in lacking
    assert honesty.no_runs_defined(found) == "- {ref}`A title <claim-open>`: more data than we have"
    assert honesty.undecided({}) == "Every claim that has its records is decided."
