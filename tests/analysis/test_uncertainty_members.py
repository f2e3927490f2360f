"""Members: probabilities of regions from channels, networks over folds, one network over mirrorings, and the tables."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gbmlib import study
from gbmlib.analysis import uncertainty, uncertainty_members
from gbmlib.analysis.uncertainty_members import by_region, elsewhere, members, mirrorings, over_folds, within_folds
from gbmlib.cohorts import open_cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.preprocess.grids import restore
from gbmlib.study import cross_validation
from gbmlib.study.out_of_fold import Predictor
from gbmlib.study.records import Store

COHORT = open_cohort("phantom:cases=4,spacing=6,seed=0")
UNIT = st.floats(0, 1, width=32)


# ------------------------------------------------------------------------------------------- from channels to regions


@settings(deadline=None)
@given(arrays.arrays(np.float32, (3, 2, 3, 4), elements=UNIT))
def test_nested_probabilities_decide_as_the_label_map_does(volume):
    found = by_region(volume, "brats", COHORT)
    masks = regions.to_channels(regions.to_labels(volume, "brats"), "brats")
    for probability, mask in zip(found.values(), masks, strict=True):
        np.testing.assert_array_equal(probability >= 0.5, mask)
    assert (found["WT"] >= found["TC"]).all()
    assert (found["TC"] >= found["ET"]).all()


def test_a_softmax_is_summed_and_sigmoids_are_not():
    background_first = np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(4, 1, 1, 1)
    found = {name: float(of.item()) for name, of in by_region(background_first, "labels", COHORT).items()}
    assert found == pytest.approx({"WT": 0.9, "TC": 0.6, "ET": 0.4})  # labels 1, 2, 3; the core is 1 and 3
    alone = {name: float(of.item()) for name, of in by_region(background_first[1:], "labels", COHORT).items()}
    assert alone == pytest.approx({"WT": 0.4, "TC": 0.4, "ET": 0.4})


def test_other_patients_like_these():
    unseen = elsewhere(COHORT, cases=2)
    assert unseen.name == "phantom:cases=2,spacing=6,seed=1000"
    assert not {case.id for case in unseen} & {case.id for case in COHORT}
    assert elsewhere(COHORT.__class__(**(vars(COHORT) | {"name": "brats2018-19"}))) is None


# -------------------------------------------------------------------------------------------------------- from networks


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("uncertainty"))
    networks = cross_validation.networks("test", only=("2D", "3D"), epochs=1)
    study.run([run for runs in networks.values() for run in runs], store)
    return store, networks


@pytest.mark.slow
def test_networks_over_folds_are_asked_about_cases_that_none_has_seen(trained):
    store, networks = trained
    unseen = elsewhere(COHORT, cases=1)
    source = over_folds("folds", networks["3D"], unseen)
    ((case, found),) = members(source, store)
    assert (case.id, len(found), source.size) == (unseen.cases[0].id, 2, 2)
    cohort = unseen.with_modalities(networks["3D"][0].modalities)
    for member, experiment in zip(found, networks["3D"], strict=True):
        volume, grid = Predictor(experiment, store, cohort, "cpu")(cohort[case.id], False)
        native = restore(volume, grid)
        np.testing.assert_allclose(member["WT"], np.clip(native[1:].sum(0), 0, 1), atol=1e-6)
        np.testing.assert_allclose(member["TC"], np.clip(native[1] + native[3], 0, 1), atol=1e-6)
        assert member["WT"].shape == case.label().shape


@pytest.mark.slow
def test_within_a_fold_every_case_is_held_out_by_all(trained):
    store, networks = trained
    source = within_folds("kinds", [run for runs in networks.values() for run in runs], COHORT)
    assert len(source.groups) == 2
    for (of, ids), fold in zip(source.groups, (0, 1), strict=True):
        assert of == (networks["2D"][fold], networks["3D"][fold])
        assert ids == split(COHORT, 2, fold)[1]
    assert [case.id for case, _ in members(source, store)] == [*split(COHORT, 2, 0)[1], *split(COHORT, 2, 1)[1]]
    last = split(COHORT, 2, 1)[1][-1]
    assert source.only(last).groups == ((source.groups[1][0], (last,)),)
    with pytest.raises(ValueError, match="case 'nobody' is not among those of kinds, which are "):
        source.only("nobody")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "ways"), [("2D", 4), ("3D", 8)])
def test_the_mean_over_mirrorings_is_the_mirrored_prediction(trained, kind, ways):
    store, networks = trained
    unseen = elsewhere(COHORT, cases=1)
    source = mirrorings("mirrorings", networks[kind], COHORT, unseen)
    ((case, found),) = members(source, store)
    assert len(found) == source.size == ways
    experiment = networks[kind][0]
    cohort = unseen.with_modalities(experiment.modalities)
    assert experiment.mirrored_inference
    volume, grid = Predictor(experiment, store, cohort, "cpu")(cohort[case.id], False)
    expected = by_region(restore(volume, grid), experiment.regions, cohort)["WT"]
    np.testing.assert_allclose(np.mean([member["WT"] for member in found], axis=0), expected, atol=1e-5)
    assert uncertainty.maps([member["WT"] for member in found]).mutual_information.max() > 1e-4


def test_a_mirrored_network_by_hand():
    class First(torch.nn.Module):
        def forward(self, tile):
            return torch.cumsum(tile, dim=-1)

    tile = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 1, 3)
    assert uncertainty_members.Mirrored(First(), (2,))(tile).ravel().tolist() == [6, 5, 3]
    assert uncertainty_members.Mirrored(First(), ())(tile).ravel().tolist() == [1, 3, 6]


@pytest.mark.slow
def test_tables_are_written_and_read_again(trained, tmp_path):
    store, networks = trained
    sources = [
        within_folds("2D and 3D", [run for runs in networks.values() for run in runs], COHORT),
        mirrorings("mirrorings of 3D", networks["3D"], COHORT),
    ]
    cases, counts = uncertainty_members.tables(sources, store, progress=False)
    assert set(cases.source) == {"2D and 3D", "mirrorings of 3D"}
    assert set(cases.members) == {2, 8}
    assert set(cases.region) == {"WT", "TC", "ET"}
    assert cases.case.nunique() == 4
    brain = (COHORT.cases[0].images() != 0).any(0)
    one = counts[(counts.case == COHORT.cases[0].id) & (counts.region == "WT") & (counts.place == "brain")]
    assert one.groupby("source").voxels.sum().tolist() == [brain.sum()] * 2

    assert uncertainty_members.published("phantom", tmp_path) is None
    for table, path in zip((cases, counts), uncertainty_members.paths_of("phantom", tmp_path), strict=True):
        uncertainty_members.write(table, path)
    again, counted = uncertainty_members.published("phantom", tmp_path)
    assert (list(again), list(counted)) == (list(cases), list(counts))
    np.testing.assert_allclose(again.value, cases.value, rtol=1e-5)
    assert (again.place == cases.place).all()


@pytest.mark.slow
def test_a_run_that_is_not_there_is_named(trained, tmp_path):
    _, networks = trained
    source = over_folds("folds", networks["3D"], elsewhere(COHORT, cases=1))
    with pytest.raises(FileNotFoundError, match=f"{networks['3D'][0].id} has not been run"):
        next(members(source, Store(tmp_path)))
    with pytest.raises(FileNotFoundError, match="--only crossvalidation"):
        uncertainty_members.publish(COHORT.name, tmp_path, tmp_path, "test")


@pytest.mark.slow
def test_mirrorings_of_a_cascade_are_refused(trained):
    store, _ = trained
    cascade = cross_validation.networks("test", only=("cascade",))["cascade"]
    with pytest.raises(ValueError, match="second network of a cascade"):
        next(members(mirrorings("mirrorings", cascade, COHORT), store))
