"""The cascade and ensembles, run through: what they need comes first, and nobody sees what he should not."""

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gbmlib.cohorts import open_cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.evaluation import components
from gbmlib.study import Ensemble, fit, nnunet, out_of_fold, predicting, run, runner, scales
from gbmlib.study.records import Store
from gbmlib.training import batches
from gbmlib.training.loop import TrainingError
from gbmlib.training.samples import Sample, one_hot

COHORT = "phantom:cases=4,spacing=6,seed=0"


def unet(kind, folds=(0,), **changes):
    return nnunet.glioma("test", kind, folds, cohort=COHORT, **changes)


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(COHORT, ("t1ce", "flair"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A cascade's second network and the 3D one, with what was made of them."""
    store = Store(tmp_path_factory.mktemp("runs"))
    (cascade,), (three,) = unet("cascade"), unet(3)
    made = {
        "cascade": cascade,
        "3D": three,
        "pair": Ensemble(members=(three, cascade)),
        "plain": Ensemble(members=(cascade,), mirrored=False),
        "post": Ensemble(members=(three,), single_components=True),
        "elsewhere": Ensemble(members=(three,), elsewhere="phantom:cases=2,spacing=6,seed=5"),
    }
    open_cohort("phantom:cases=2,spacing=6,seed=5", ("t1ce", "flair"))
    return store, made, dict(zip(made, run(made.values(), store, progress=False), strict=True))


def test_a_cascade_needs_all_folds_of_its_first_network():
    (cascade,) = unet("cascade", (1,))
    assert [need.fold for need in cascade.dependencies] == [0, 1]
    assert {need.previous for need in cascade.dependencies} == {None}
    assert all(n.spacing == tuple(2 * mm for mm in cascade.spacing) for n in cascade.dependencies)
    assert unet(3)[0].dependencies == ()


def test_what_is_needed_comes_first_and_once(tmp_path):
    wanted = [*unet("cascade", (0, 1)), Ensemble(members=(unet(3)[0], unet("cascade")[0]))]
    order = runner.to_do(wanted, Store(tmp_path))
    assert len({e.id for e in order}) == len(order) == 2 + 2 + 1 + 1
    there = set()
    for experiment in order:
        assert {need.id for need in experiment.dependencies} <= there
        there.add(experiment.id)


def test_a_published_record_is_enough_to_read_and_not_to_build_upon(finished, tmp_path):
    store, made, records = finished
    published = tmp_path / "published"
    store.publish(records["3D"], published)
    fresh = Store(tmp_path / "fresh", published)
    assert runner.to_do([made["3D"]], fresh) == []
    assert runner.to_do([made["post"]], fresh) == [made["3D"], made["post"]]
    assert fresh.local(made["3D"]) is None
    assert store.local(made["3D"]) is not None


def test_each_case_is_given_what_was_predicted_of_it_unseen(finished, cohort):
    store, made, _ = finished
    maps = out_of_fold.label_maps(made["cascade"].dependencies, cohort, store)
    assert sorted(maps) == sorted(case.id for case in cohort)
    for need in made["cascade"].dependencies:
        record = store.get(need)
        for case_id in split(cohort, need.folds, need.fold)[1]:
            assert record.probabilities(case_id) is not None
            volume, grid = out_of_fold.load(record.probabilities(case_id))
            np.testing.assert_array_equal(maps[case_id], predicting.decide(volume, need, cohort, grid))
        for case_id in split(cohort, need.folds, need.fold)[0]:
            assert record.probabilities(case_id) is None


def test_the_second_network_sees_the_first_ones_result_on_its_own_grid(finished, cohort):
    store, made, records = finished
    case = cohort.cases[0]
    prepared = predicting.prepare(made["cascade"], case)
    given = predicting.inputs(made["cascade"], cohort, case, prepared, case.label())
    assert given.shape == (5, *prepared.shape)
    # The true label stands for a perfect first network: it arrives as the network's own target does.
    target = regions.to_channels(prepared.label, "labels", cohort.labels)
    np.testing.assert_array_equal(given[2:].numpy(), target)
    np.testing.assert_array_equal(given[:2].numpy(), prepared.images)
    network = predicting.load_network(records["cascade"], cohort)
    assert next(network.parameters()).shape[1] == 5
    held_out = split(cohort, 2, 0)[1][0]
    again = out_of_fold.segment([records["cascade"]], store, cohort, held_out)
    volume, grid = out_of_fold.load(records["cascade"].probabilities(held_out))
    assert (again == predicting.decide(volume, made["cascade"], cohort, grid)).mean() > 0.999  # half precision on disk
    with pytest.raises(ValueError, match="second network of a cascade: give what"):
        predicting.inputs(made["cascade"], cohort, case, prepared)
    with pytest.raises(ValueError, match="it takes no prediction of another"):
        predicting.inputs(made["3D"], cohort, case, prepared, case.label())


def test_labels_that_are_not_counted_from_one_keep_their_channels(cohort, finished):
    _, made, _ = finished
    case = cohort.cases[0]
    prepared = predicting.prepare(made["cascade"], case)

    other = SimpleNamespace(labels={2: "a", 7: "b"})
    values = np.where(case.label() == 1, 7, np.where(case.label() == 2, 2, 0)).astype(np.uint8)
    found = predicting.on_grid(made["cascade"], other, case, prepared, values)
    np.testing.assert_array_equal(found == 2, prepared.label == 1)
    np.testing.assert_array_equal(found == 1, prepared.label == 2)


def test_training_disturbs_what_was_predicted_and_validation_does_not():
    (experiment,) = unet("cascade")
    rng = np.random.default_rng(0)
    label = torch.from_numpy(rng.integers(0, 4, (28, 30, 26)).astype(np.uint8)).repeat_interleave(1, 0)
    label[8:20, 8:20, 8:20] = 1
    images = torch.randn(2, *label.shape)
    sample = Sample("a", images, one_hot(label, 3), label)
    seen = []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        inputs, target = batches.draw(experiment, [sample], [(0, 0), (0, 0)], generator)
        assert inputs.shape == (2, 5, *experiment.patch_size)
        assert target.shape == (2, 3, *experiment.patch_size)
        assert set(inputs[:, 2:].unique().tolist()) <= {0, 1}
        assert inputs[:, 2:].sum(1).max() <= 1
        # Image and target moved alike: where nothing was disturbed the two label maps are still the same.
        seen += [(one == other).all().item() for one, other in zip(inputs[:, 2:] > 0, target, strict=True)]
    assert 0.2 < np.mean(seen) < 0.8  # (1 - 0.4) (1 - 0.2) = 0.48 of them
    inputs, target = batches.draw(experiment, [sample], [(0, 0)], torch.Generator().manual_seed(0), augmented=False)
    torch.testing.assert_close(inputs[:, 2:], target.float())


def test_members_without_a_cascade_draw_as_they_always_did():
    (three,) = unet(3)
    sample = Sample("a", torch.randn(2, 28, 30, 26), torch.rand(3, 28, 30, 26) > 0.9)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    one, other = (batches.draw(three, [sample], [(0, 0)], generator) for generator in generators)
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_the_average_is_that_of_the_members_probabilities(finished, cohort):
    _, made, records = finished
    for case_id in split(cohort, 2, 0)[1]:
        of = [out_of_fold.load(records[name].probabilities(case_id)) for name in ("3D", "cascade")]
        assert of[0][1] == of[1][1]
        expected = predicting.decide((of[0][0] + of[1][0]) / 2, made["3D"], cohort, of[0][1])
        rows = predicting.measure(expected, cohort[case_id], "brats", cohort, "held out")
        table = records["pair"].cases.query("case == @case_id").set_index(["region", "metric"]).value
        for row in rows:
            np.testing.assert_equal(table[row["region"], row["metric"]], row["value"])


def test_ensembles_say_what_they_did_and_have_no_history(finished):
    _, made, records = finished
    assert records["pair"].provenance["members"] == [made["3D"].id, made["cascade"].id]
    assert records["pair"].experiment == made["pair"]
    assert records["pair"].history.empty
    assert set(records["pair"].cases.split) == {"held out"}


def test_without_mirroring_it_is_another_prediction_of_the_same_weights(finished):
    _, made, records = finished
    assert made["cascade"].mirrored_inference
    plain, mirrored = (
        records[name].cases.query("split == 'held out' and metric == 'dice'").set_index(["case", "region"]).value
        for name in ("plain", "cascade")
    )
    assert set(plain.index) == set(mirrored.index)
    assert not plain.equals(mirrored.loc[plain.index])


def test_single_components_are_learned_on_the_training_cases(finished, cohort):
    _, _, records = finished
    held_in, held_out = split(cohort, 2, 0)
    rule = components.learn(cohort[case_id].label() for case_id in held_in)
    assert records["post"].provenance["single_components"] == list(rule)
    for case_id in held_out:
        volume, grid = out_of_fold.load(records["3D"].probabilities(case_id))
        before = predicting.decide(volume, records["3D"].experiment, cohort, grid)
        after = components.apply(before, rule)
        rows = predicting.measure(after, cohort[case_id], "labels", cohort, "held out")
        table = records["post"].cases.query("case == @case_id").set_index(["region", "metric"]).value
        for row in rows:
            np.testing.assert_equal(table[row["region"], row["metric"]], row["value"])


def test_another_cohort_is_measured_whole(finished):
    _, _, records = finished
    cases = records["elsewhere"].cases
    assert set(cases.split) == {"phantom:cases=2,spacing=6,seed=5"}
    assert cases.case.nunique() == 2
    assert cases.query("metric == 'dice'").value.max() > 0


class Immediate(Executor):
    """Runs at once, and notes the order."""

    def __init__(self, fails=()):
        self.order, self.fails = [], fails

    def submit(self, function, experiment, *arguments):
        self.order.append(experiment.id)
        future = Future()
        if experiment.id in self.fails:
            future.set_exception(RuntimeError(f"{experiment.id} broke"))
        else:
            future.set_result(None)
        return future


def test_an_executor_is_given_a_run_when_what_it_needs_is_done(monkeypatch, tmp_path):
    wanted = [*unet("cascade", (0, 1)), *unet(3)]
    tasks = {e.id: (e, None, {}, None) for e in runner.to_do(wanted, Store(tmp_path))}
    executor = Immediate()
    runner._side_by_side(tasks, executor, False, 60)
    assert sorted(executor.order) == sorted(tasks)
    firsts = [need.id for need in wanted[0].dependencies]
    assert max(executor.order.index(name) for name in firsts) < min(executor.order.index(e.id) for e in wanted[:2])


def test_what_needs_a_failed_run_is_not_tried_and_named(tmp_path):
    cascade, other = unet("cascade")[0], unet(3)[0]
    pair = Ensemble(members=(cascade, other))
    broken = cascade.dependencies[1].id
    tasks = {e.id: (e, None, {}, None) for e in runner.to_do([pair], Store(tmp_path))}
    executor = Immediate(fails=(broken,))
    with pytest.raises(RuntimeError, match="broke") as caught:
        runner._side_by_side(tasks, executor, False, 60)
    assert caught.value.__notes__ == [f"not run, since they need what failed: {cascade.id}, {pair.id}"]
    assert other.id in executor.order
    assert cascade.id not in executor.order


def test_a_first_network_without_predictions_is_said(cohort, tmp_path):
    with pytest.raises(FileNotFoundError, match="has not been run in"):
        fit._previous(unet("cascade")[0], cohort, Store(tmp_path))


def test_one_run_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    good, bad, worse = (scales.paper_a("test", epochs=1, seeds=[seed])[0] for seed in (0, 1, 2))
    true = runner._run

    def breaks(experiment, *given):
        if experiment.seed:
            raise TrainingError(f"seed {experiment.seed} breaks")
        return true(experiment, *given)

    monkeypatch.setattr(runner, "_run", breaks)
    store = Store(tmp_path)
    with pytest.raises(ExceptionGroup, match="2 of 3 runs failed"):
        run([bad, worse, good], store, ThreadPoolExecutor(1), progress=False)
    assert store.get(good) is not None
    with pytest.raises(TrainingError, match="seed 1 breaks"):
        run([bad, good], store, ThreadPoolExecutor(1), progress=False)
