"""What speaks against a comparison, told from records: each reason by hand, and on the published ones."""

from pathlib import Path

import pandas as pd
import pytest
from few_records import put, run

from gbmlib.analysis import paired, soundness, treatments
from gbmlib.analysis.soundness import between, collapsed, dead_regions, rise, undertrained
from gbmlib.analysis.treatments import differing, overlap, unequal, vacuous
from gbmlib.study import scales
from gbmlib.study.records import Store, steps_of, voxels_of
from gbmlib.training.ensemble import Ensemble

ROOT = Path(__file__).resolve().parents[2]
CASES = ("a", "b", "c")


def record(store, experiment, held=0.5, trained=0.9, channel=None, training=(0.5, 0.5), validation=(0.5, 0.5), **more):
    """A record of a real configuration: Dice of each region in held-out cases and in two that were trained on, and
    training and validation Dice in both halves of its epochs."""
    trained = trained if isinstance(trained, dict) else dict.fromkeys(("WT", "TC", "ET"), trained)
    rows = [(case, "held out", region, "dice", held) for case in CASES for region in trained]
    rows += [(case, "train", region, "dice", value) for case in "yz" for region, value in trained.items()]
    rows += [
        (case, "train", region, "channel_dice", value) for case in "yz" for region, value in (channel or {}).items()
    ]
    epochs = range(12)
    history = pd.DataFrame({"epoch": epochs})
    for name, (first, last) in (("train_dice", training), ("val_dice", validation)):
        history[name] = [first] * 10 + [last] * 2
    for region in trained:
        history[f"val_dice_{region}"] = [0.4 + 0.01 * epoch for epoch in epochs]
    made = {"seconds": 60, "device": "X", "cases": 5} | more
    columns = ["case", "split", "region", "metric", "value"]
    return store.finish(experiment, history, pd.DataFrame(rows, columns=columns), made)


def in_five(fold, **changes):
    """A run of a cross-validation in five folds."""
    return run(**changes).changed(fold=fold, folds=5)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_sound_comparison_has_nothing_against_it(store):
    pair = [[record(store, run(options={"filters": filters}), 0.5 + 0.01 * filters)] for filters in (4, 6)]
    assert between(*pair, change=[0.02, 0.03]) == soundness.Soundness()


def test_a_region_that_was_not_learned_on_its_own_cases_collapsed(store):
    one = record(store, run(), trained={"WT": 0.8, "TC": 0.09, "ET": 0.6})
    assert dead_regions(one) == ["TC"]
    assert collapsed([one]) == ["collapsed: a channel never learned in 1 run (TC)"]
    # The channel counts, where it is recorded: another one may have overwritten it in the label map.
    channels = {"WT": 0.8, "TC": 0.7, "ET": 0.05}
    other = record(store, run(seed=1), trained={"WT": 0.04, "TC": 0.09, "ET": 0.6}, channel=channels)
    assert dead_regions(other) == ["ET"]


def test_a_channel_that_does_not_move_collapsed(store):
    one = record(store, run())
    one.history["val_dice_ET"] = [0.3] * 8 + [0.1] * 4
    assert dead_regions(one) == ["ET"]
    other = record(store, run(seed=1))
    other.history["val_dice_ET"] = [0.3] * 9 + [0.1, 0.1, 0.2]
    assert dead_regions(other) == []


def test_the_scores_of_another_network_are_a_sign_of_collapse(store):
    one, same = record(store, run()), record(store, run(options={"filters": 6}))
    assert soundness.twins_of(one) == [same.id]
    assert collapsed([one, same]) == ["collapsed: 2 runs scored every case exactly as another network did"]
    record(store, run(options={"filters": 6}, seed=3), held=0.51)
    assert soundness.twins_of(store.get(run())) == [same.id]


def test_the_rise_is_from_the_last_sixth_but_one_to_the_last():
    assert rise(pd.Series([0.0] * 8 + [0.1, 0.2, 0.4, 0.5])) == pytest.approx(0.45 - 0.15)
    assert rise(pd.Series([0.1, 0.3])) == pytest.approx(0.2)
    assert pd.isna(rise(pd.Series([0.1])))


@pytest.mark.parametrize(
    ("training", "validation", "said"),
    [
        ((0.5, 0.519), (0.5, 0.509), []),
        ((0.5, 0.53), (0.5, 0.4), ["training Dice by 0.030"]),
        ((0.5, 0.5), (0.5, 0.52), ["validation Dice by 0.020"]),
        ((0.5, 0.53), (0.5, 0.52), ["training Dice by 0.030 and validation Dice by 0.020"]),
    ],
)
def test_what_still_rises_is_undertrained(store, training, validation, said):
    one = record(store, run(), training=training, validation=validation)
    assert undertrained([one]) == [f"undertrained: the last sixth of the epochs still raised {text}" for text in said]


def test_networks_of_one_configuration_are_judged_together(store):
    up, down = (record(store, run(seed=seed), validation=(0.5, end)) for seed, end in ((0, 0.53), (1, 0.48)))
    assert undertrained([up, down]) == []
    assert undertrained([up]) != []
    other = record(store, run(options={"filters": 6}), validation=(0.5, 0.48))
    assert undertrained([up, other]) != []


def test_twice_the_schedule_outweighs_how_dice_rose(store):
    last = in_five(4)
    rising = record(store, in_five(0), training=(0.5, 0.6))
    assert undertrained([rising]) != []
    record(store, last, held=0.5)
    record(store, scales.doubled(last), held=0.505)
    assert undertrained([rising]) == []
    assert soundness.excused([rising]) == []
    [caution] = soundness.excused([rising, store.get(last)])
    assert caution.endswith(f"rests on {len(CASES)} cases")
    flat = record(store, in_five(1, options={"filters": 6}))
    assert undertrained([flat]) == []
    record(store, in_five(4, options={"filters": 6}), held=0.5)
    record(store, scales.doubled(in_five(4, options={"filters": 6})), held=0.52)
    assert undertrained([flat]) == ["undertrained: twice the schedule changes held-out Dice by +0.020 on fold 4"]


def test_a_difference_that_twice_the_schedule_changes_is_not_final(store):
    """Each side changes by less than the margin, one up and one down."""
    base, other = ([record(store, in_five(4, options={"filters": size}), held=0.5 + size / 100)] for size in (4, 6))
    sides = [(base, -1), (other, 1)]
    assert soundness.drifting(sides) == []
    record(store, scales.doubled(base[0].experiment), held=0.534)
    assert soundness.drifting(sides) == []
    record(store, scales.doubled(other[0].experiment), held=0.566)
    [sentence] = soundness.drifting(sides)
    assert sentence == "undertrained: twice the schedule changes the difference itself by +0.012 on fold 4"
    assert undertrained([*base, *other]) == []
    assert paired.compare(base, other).unsound == (sentence,)


def test_a_gap_may_count_before_the_end_and_a_dead_channel_never(store):
    rising = [record(store, run(), training=(0.5, 0.6))]
    assert between(rising, rising, growing=True).unsound == ()
    dead = [record(store, run(seed=1), trained=0.05)]
    assert between(dead, dead, growing=True).unsound != ()


def test_an_average_inherits_from_its_members(store):
    members = [run(), run(options={"filters": 6})]
    record(store, members[0], training=(0.5, 0.6))
    record(store, members[1], trained={"WT": 0.8, "TC": 0.05, "ET": 0.6})
    average = record(store, Ensemble(members=tuple(members)))
    kinds = [reason.split(":")[0] for reason in between([average], [average]).unsound]
    assert kinds == ["collapsed", "undertrained"]


def test_a_rule_that_learned_nothing_is_vacuous(store):
    base = [record(store, run())]
    empty, full = (Ensemble(members=(run(),), single_components=True, mirrored=of) for of in (None, True))
    [nothing] = vacuous(base, [record(store, empty, single_components=[])])
    assert nothing.startswith("vacuous: no class is a single component")
    assert vacuous(base, [record(store, full, single_components=[2])], [0.02]) == []


def test_what_changes_no_case_is_vacuous(store):
    pair = [[record(store, run(options={"filters": filters}))] for filters in (4, 6)]
    assert vacuous(*pair, [0.0005, -0.001, 0.0]) == [
        "vacuous: no case changes by more than 0.001, as rounding alone may do"
    ]
    assert vacuous(*pair, [0.0005, -0.002]) == []
    assert vacuous(pair[0], pair[0], [0.0, 0.0]) == []  # a run against itself asks something else


@pytest.fixture
def published(tmp_path):
    return Store(tmp_path, published=ROOT / "book/records")


def test_patches_that_cover_their_cases_lie_where_they_must(published):
    short = scales.paper_a("short", (0,), (0,))[0]
    one = record(published, short)
    # Boxes of about 46 x 57 x 47 voxels and a patch of 48 a side: only the second axis has room, for 9 places or so.
    assert overlap(one) == pytest.approx(0.93, abs=0.01)
    other = record(published, short.changed(crops=3))
    assert vacuous([one], [other], [0.1])[0].startswith(
        "vacuous: two random patches of a case share 93% of their voxels"
    )
    whole = [record(published, short.changed(cropping="none", crops=crops)) for crops in (1, 3)]
    assert overlap(whole[0]) == pytest.approx(0.58, abs=0.04)
    assert vacuous(whole[:1], whole[1:], [0.1]) == []


def test_one_axis_of_an_overlap_by_hand(published):
    """Three places, 0, 1, 2: two random ones are 0, 1 or 2 apart in 3, 4 and 2 of 9 cases, 8/9 on average."""
    short = scales.paper_a("short", (0,), (0,))[0]
    assert treatments._shared((48, 50, 48), short, 1.0) == pytest.approx(1 - 8 / 9 / 48)


def test_budgets_are_counted_in_steps_and_voxels(store):
    base = record(store, run())
    assert steps_of(base) == 12 * 2
    assert voxels_of(base) == 24 * 32**3
    more = record(store, run(batch_size=2))
    assert steps_of(more) == 12
    # As many voxels in larger batches is a way to train; fewer steps of one patch are less training.
    assert unequal([base], [more]) == ((), ("unequal: 12 steps against 24",))
    fewer = record(store, run(crops=2))
    assert unequal([base], [fewer]) == (("unequal: 48 steps against 24, 2 million voxels seen against 1",), ())


def test_what_sets_the_budget_may_be_what_is_compared(store):
    base, other = record(store, run()), record(store, run(crops=2, spacing=4))
    assert unequal([base], [other]) == ((), ("unequal: 48 steps against 24, 2 million voxels seen against 1",))


def test_unequal_budgets_are_fair_once_each_side_is_at_its_plateau(store):
    sides = [record(store, in_five(4)), record(store, in_five(4, crops=2, options={"filters": 6}))]
    [unfair], by_design = unequal(sides[:1], sides[1:])
    assert (unfair.startswith("unequal: 48 steps against 24"), by_design) == (True, ())
    record(store, scales.doubled(sides[0].experiment), held=0.504)
    assert unequal(sides[:1], sides[1:])[0] == (unfair,)  # one side alone is not enough
    record(store, scales.doubled(sides[1].experiment), held=0.504)
    assert unequal(sides[:1], sides[1:]) == ((), (unfair,))


def test_rates_of_two_networks_are_searched_alike(store):
    ours = [record(store, in_five(4))]
    other = scales.paper_a("test", (0,), (0,), cohort=ours[0].experiment.cohort, learning_rate=3e-3)[0]
    theirs = [record(store, other.changed(fold=4, folds=5))]
    [said] = unequal(ours, theirs)[0]
    assert said == "unequal: the networks' learning rates, 0.003 against 0.001, were not searched alike"
    for records in (ours, theirs):
        for factor in (2, 3):
            tried = records[0].experiment
            record(store, tried.changed(learning_rate=factor * tried.learning_rate))
    assert unequal(ours, theirs)[0] == ()
    # Under another pipeline a network keeps its rate, and its output begins as that pipeline's loss has it.
    elsewhere = theirs[0].experiment
    moved = elsewhere.changed(options=elsewhere.options | {"output_gain": 0.05}, flips=0.5)
    assert unequal(ours, [record(store, moved)])[0] == ()


def test_what_differs_between_two_sides(store):
    base = record(store, run(0, 0))
    options = {"forwarding": "add", "filters": 6}
    other = record(store, run(1, 1, options=options, flips=0.5))
    assert differing([base], [other]) == {"options.filters", "flips"}
    ruled = record(store, Ensemble(members=(run(),), single_components=True), single_components=[])
    assert differing([base], [ruled]) == {"single_components"}


def test_a_folder_by_itself_is_judged_by_its_own_numbers(store):
    put(store, run(), {"a": 0.5})
    [alone] = [type(record)(record.path) for record in store.all()]
    assert (alone.store, soundness.twins_of(alone), soundness.doubled(alone)) == (None, [], None)
    assert paired.compare([alone], [alone]).unsound == ()


def test_the_published_short_runs():
    """Of how many of the published networks each reason holds, and the two pairs whose scores are the same. Short runs
    leave as longer ones replace them, so shares are asked for."""
    store = Store(ROOT / "none", published=ROOT / "book/records")
    short = [record for record in store.all() if "members" not in record.provenance]
    short = [record for record in short if record.experiment.draws == "seed"]
    dead = [record.id for record in short if dead_regions(record)]
    twins = {record.id for record in short if soundness.twins_of(record)}
    rising = [record for record in short if soundness.rises([record])]
    assert short
    assert {"segvae-1a5eab2bd59f", "segvae-d74fe67739f6", "segvae-1e3e292c5dd2", "segvae-a7c9b6e05f68"} <= twins
    assert twins <= set(dead)
    assert len(dead) >= len(short) / 6
    assert len(rising) >= 3 / 4 * len(short)
