"""Networks, their averages and the two switches, over a cross-validation."""

from gbmlib.study import cross_validation, nnunet
from gbmlib.study.cross_validation import PLUS, averages, everything, networks, single_components, unmirrored

STUDY = networks("short")


def test_all_folds_of_all_networks():
    assert list(STUDY) == ["2D", "3D", "low resolution", "cascade"]
    for runs in STUDY.values():
        assert [of.fold for of in runs] == [0, 1, 2, 3, 4]
        assert {of.folds for of in runs} == {5}
    assert STUDY["3D"] == nnunet.glioma("short", 3, range(5))
    assert all(of.previous == STUDY["low resolution"][0] for of in STUDY["cascade"])
    # Its first network is trained once, for the row of its own and for the cascade.
    assert {need.id for of in STUDY["cascade"] for need in of.dependencies} == {of.id for of in STUDY["low resolution"]}


def test_pairs_of_candidates_fold_by_fold():
    pairs = averages(STUDY)
    assert list(pairs) == ["2D + 3D", "2D + cascade", "3D + cascade"]
    for label, runs in pairs.items():
        for fold, of in enumerate(runs):
            assert of.members == tuple(STUDY[name][fold] for name in label.split(PLUS))
            assert of.fold == fold


def test_switches_keep_members_and_each_other():
    plain, rule = unmirrored(STUDY), single_components(averages(STUDY), "short")
    assert all(of.mirrored is False and len(of.members) == 1 for runs in plain.values() for of in runs)
    assert all(of.single_components and len(of.members) == 2 for runs in rule.values() for of in runs)
    both = single_components(plain, "short")
    assert all(of.single_components and of.mirrored is False for runs in both.values() for of in runs)


def test_on_the_hippocampus_the_rule_takes_corners_too_at_the_studys_scale():
    def neighbours(of, profile):
        rule = single_components(of | averages(of), profile)
        assert all(run.single_components for runs in rule.values() for run in runs)
        return {run.connectivity for runs in (*rule.values(), *unmirrored(rule).values()) for run in runs}

    assert neighbours(cross_validation.of_hippocampus("study"), "study") == {26}
    assert neighbours(cross_validation.of_hippocampus("short"), "short") == {6}
    assert neighbours(networks("study", only=("2D", "3D")), "study") == {6}


def test_everything_is_each_run_once():
    groups = everything(STUDY, "short")
    assert list(groups)[:5] == ["2D", "3D", "low resolution", "cascade", "2D + 3D"]
    assert {"cascade, once", "3D + cascade, one component"} < set(groups)
    runs = [run for of_label in groups.values() for run in of_label]
    assert len({of.id for of in runs}) == len(runs) == 5 * 18


def test_folds_seeds_and_changes_are_taken_and_none_keeps_the_scales_own():
    of = networks("short", (1, 3), (0, 1), epochs=2, learning_rate=None)
    assert [(one.fold, one.seed, one.epochs, one.learning_rate) for one in of["2D"]] == [
        (fold, seed, 2, 3e-3) for seed in (0, 1) for fold in (1, 3)
    ]
    assert {one.previous.seed for one in of["cascade"]} == {0, 1}


def test_the_demonstration_has_two_folds_and_so_have_its_cascades_needs():
    of = networks("demo")
    assert {(one.folds, one.fold) for runs in of.values() for one in runs} == {(2, 0), (2, 1)}
    assert [need.id for need in of["cascade"][0].dependencies] == [one.id for one in of["low resolution"]]


def test_the_hippocampus_has_the_networks_of_table_2():
    of = cross_validation.of_hippocampus("short")
    assert list(of) == ["2D", "3D"]
    assert of["3D"] == nnunet.hippocampus("short", 3, range(5), **cross_validation.HIPPOCAMPUS["short"])
    longer, own = nnunet.hippocampus("short", 3)[0], of["3D"][0]
    assert own.epochs * own.batches * 3 == longer.epochs * longer.batches
    assert own.options | {"filters": 30} == longer.options | {"filters": 30}
    assert cross_validation.of_hippocampus("paper")["2D"] == nnunet.hippocampus("paper", 2, range(5))
    assert list(averages(of)) == ["2D + 3D"]
