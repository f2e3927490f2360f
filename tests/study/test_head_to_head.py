"""Three networks under two pipelines, as data: cells that are published elsewhere, and what foreign cells keep."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.study import ablations, head_to_head, nnunet, nnunet_ablations, run, scales
from gbmlib.study.head_to_head import AT_HOME, NETWORKS, OF_NETWORK, PIPELINES
from gbmlib.study.records import Store
from gbmlib.training import loop, losses

ROOT = Path(__file__).resolve().parents[2]
CELLS = [(network, pipeline) for network in NETWORKS for pipeline in PIPELINES]
FOREIGN = [cell for cell in CELLS if cell not in head_to_head.PUBLISHED_ELSEWHERE]


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Published fingerprints lie in the repository, and paths are read from its root."""
    monkeypatch.chdir(ROOT)


def differing(one, other):
    """The fields in which two configurations differ."""
    ours, theirs = one.model_dump(), other.model_dump()
    return {name for name in ours if ours[name] != theirs[name]}


def without_gain(experiment):
    """A network's options, but for how its output begins, which goes with the loss."""
    return {name: value for name, value in experiment.options.items() if name != "output_gain"}


def test_cells_that_other_chapters_publish_are_the_same_runs():
    cells = head_to_head.cells("short")
    assert cells["V-Net", "A"] == scales.vnet("short", range(5))
    assert cells["SegVAE", "A"] == scales.paper_a("short", range(5), [0])
    assert cells["U-Net", "B"] == nnunet.glioma("short", 3, range(5), [0])
    published = set()
    for cell in head_to_head.PUBLISHED_ELSEWHERE:
        for experiment in cells[cell]:
            path = ROOT / "book" / "records" / experiment.id / "config.json"
            if path.exists():
                config = json.loads(path.read_text())
                assert experiment.model_validate(config) == experiment
                published.add(cell)
    assert {("V-Net", "A"), ("SegVAE", "A")} <= published


def test_names_of_published_runs_stay():
    cells = head_to_head.cells("short", folds=[0])
    assert cells["V-Net", "A"][0].id == "vnet-d76d058b9beb"
    assert cells["SegVAE", "A"][0].id == "segvae-4d5e0a72d027"


def test_the_hippocampus_is_asked_the_same_from_where_its_single_choices_start():
    cells = head_to_head.of_hippocampus("study")
    assert list(cells) == [(network, pipeline) for network in ("SegVAE", "U-Net") for pipeline in PIPELINES]
    assert {(run.cohort, run.spacing, run.seed) for runs in cells.values() for run in runs} == {
        (nnunet.HIPPOCAMPUS_COHORT, (2, 2, 2), 0)
    }
    assert all([run.fold for run in runs] == [0, 1, 2, 3, 4] for runs in cells.values())
    at_home = ablations.runs(ablations.choice("kernel", "study"), "study")["kernel 3"]
    assert cells["SegVAE", "A"] == at_home
    planned = nnunet_ablations.runs(nnunet_ablations.COMPARISONS[0], "study")["leaky ReLU"]
    assert [run.changed(mirrored_inference=False, resampling="spline") for run in cells["U-Net", "B"]] == planned
    # Images and labels are averaged under both: on a grid of twice the size splines move labels against images.
    assert {run.resampling for runs in cells.values() for run in runs} == {"average"}
    for pipeline, foreign in (("A", "U-Net"), ("B", "SegVAE")):
        ours, theirs = (cells[name, pipeline][0] for name in (foreign, AT_HOME[pipeline]))
        assert differing(ours, theirs) <= {*OF_NETWORK, "patch_size", "learning_rate", "warmup"}
    assert head_to_head.of_hippocampus("short") == {}


@pytest.mark.parametrize("profile", scales.PROFILES)
def test_every_scale_has_its_cells_of_the_same_cases_folds_and_seeds(profile):
    cells = head_to_head.cells(profile, folds=iter((0, 1)), seeds=iter((0, 3)))
    normalised = [(head_to_head.NORMALISED, pipeline) for pipeline in PIPELINES]
    assert list(cells) == CELLS + (normalised if profile in scales.NORMALISED_VNET else [])
    assert len({e.id for of in cells.values() for e in of}) == len(cells) * 4
    for of in cells.values():
        assert [(e.seed, e.fold) for e in of] == [(0, 0), (0, 1), (3, 0), (3, 1)]
    for name in ("cohort", "folds", "modalities"):
        assert len({getattr(e, name) for of in cells.values() for e in of}) == 1


def test_at_the_studys_scale_all_cells_see_patches_of_one_size_and_equally_many_voxels():
    cells = head_to_head.cells("study", folds=[0])
    runs = [run for (run,) in cells.values()]
    assert {run.patch_size for run in runs} == {(48, 48, 48)}
    seen = {cell: run.epochs * run.batches * run.batch_size for cell, (run,) in cells.items()}
    usual = seen["SegVAE", "A"]
    longer = (*head_to_head.LONGER["study"], (head_to_head.NORMALISED, "A"))
    assert seen == {cell: 2 * usual if cell in longer else usual for cell in cells}
    for network in (*NETWORKS, head_to_head.NORMALISED):
        assert cells[network, "A"][0].learning_rate == cells[network, "B"][0].learning_rate
    for (_, pipeline), (one,) in cells.items():
        assert one.options.get("output_gain") == (scales.OUTPUT_GAIN if pipeline == "A" else None)
    assert cells["V-Net", "A"][0].options.get("norm") is None
    assert cells[head_to_head.NORMALISED, "B"][0].options["norm"] == "instance"


def test_by_default_the_folds_of_the_profile_and_one_seed():
    for of in head_to_head.cells("short").values():
        assert [(e.seed, e.fold) for e in of] == [(0, fold) for fold in range(5)]


@pytest.mark.parametrize("cell", FOREIGN, ids=" ".join)
@pytest.mark.parametrize("profile", ["demo", "short"])
def test_a_foreign_cell_differs_from_its_pipelines_own_in_the_network_alone(profile, cell):
    network, pipeline = cell
    cells = head_to_head.cells(profile, folds=[0])
    of, home = cells[cell][0], cells[AT_HOME[pipeline], pipeline][0]
    allowed = set(OF_NETWORK) | ({"learning_rate", "warmup"} if network == "V-Net" else set())
    assert differing(of, home) <= allowed
    # … and from the network at home only in what is the pipeline's.
    own = cells[network, "B" if pipeline == "A" else "A"][0]
    assert not differing(*(one.changed(options=without_gain(one)) for one in (of, own))) & set(OF_NETWORK)


def test_the_branch_comes_along_and_the_penalty_stays():
    cells = head_to_head.cells("short", folds=[0])
    vae, unet = cells["SegVAE", "B"][0], cells["U-Net", "A"][0]
    assert (vae.reconstruction_weight, vae.kl_weight, vae.kl_voxels) == (0.1, 0.1, losses.PAPER_VOXELS)
    assert (vae.l2, vae.loss, vae.regions) == (0, "dice_ce", "labels")
    assert (unet.l2, unet.kl_voxels, unet.loss, unet.regions) == (1e-5, None, "dice", "brats")


def test_the_v_net_has_a_rate_of_its_own_and_its_share_of_warm_up():
    cells = head_to_head.cells("short", folds=[0])
    own, foreign = cells["V-Net", "A"][0], cells["V-Net", "B"][0]
    assert (own.warmup, own.epochs, foreign.warmup, foreign.epochs) == (10, 60, 1, 8)  # 10 / 60 of 8 is 1.3
    assert own.learning_rate < foreign.learning_rate == 1e-4 < cells["U-Net", "B"][0].learning_rate
    demo = head_to_head.cells("demo", folds=[0])  # where no other was tried, its own
    assert demo["V-Net", "B"][0].learning_rate == demo["V-Net", "A"][0].learning_rate
    assert cells["SegVAE", "B"][0].learning_rate == cells["U-Net", "B"][0].learning_rate
    # The plateau of the paper's scale knows no warm-up.
    assert head_to_head.cells("paper", folds=[0])["V-Net", "B"][0].warmup == 0


def test_patches_at_3_mm_fit_as_they_are_and_elsewhere_are_the_nearest():
    for (_, pipeline), (of,) in head_to_head.cells("short", folds=[0]).items():
        assert of.patch_size == (48, 48 if pipeline == "A" and of.model != "vnet" else 64, 48)
    paper = head_to_head.cells("paper", folds=[0])
    assert paper["U-Net", "A"][0].patch_size == (128, 160, 160)  # 144 lies in the middle of 128 and 160
    assert paper["SegVAE", "B"][0].patch_size == (128, 128, 128)


@given(st.lists(st.integers(1, 300), min_size=3, max_size=3), st.lists(st.integers(1, 64), min_size=3, max_size=3))
@settings(deadline=None)
def test_the_nearest_patch_divides_and_none_is_nearer(patch, by):
    for size, part, found in zip(patch, by, head_to_head.nearest(patch, by), strict=True):
        assert found > 0
        assert found % part == 0
        every = [part * n for n in range(1, size // part + 2)]
        assert abs(found - size) == min(abs(other - size) for other in every)
        assert found >= max(other for other in every if abs(other - size) == abs(found - size))


def test_changes_reach_all_cells_and_regions_and_flips_pipeline_a_alone():
    cells = head_to_head.cells("test", regions="labels", flips=0.5, epochs=3, spacing=None, modalities=("flair",))
    for (network, pipeline), (of,) in cells.items():
        assert (of.epochs, of.modalities, of.regions) == (3, ("flair",), "labels")
        assert of.flips == (0.5 if pipeline == "A" else type(of).model_fields["flips"].default), network
    with pytest.raises(ValueError, match="epohcs"):
        head_to_head.cells("test", epohcs=3)


@pytest.mark.parametrize("cell", FOREIGN, ids=" ".join)
def test_a_foreign_cell_trains_and_is_measured_on_the_nested_regions(cell, tmp_path):
    experiment = head_to_head.cells("test", folds=[0])[cell][0]
    record = run([experiment], Store(tmp_path), progress=False)[0]
    assert {"WT", "TC", "ET"} <= set(record.cases.region)
    assert np.isfinite(record.history.to_numpy()).all()
    terms = {name for name in record.history if name.startswith("train_")}
    assert ({"train_reconstruction", "train_kl"} <= terms) == (cell[0] == "SegVAE")
    assert ("train_l2" in terms) == (cell[1] == "A")
    assert not (record.path / loop.CHECKPOINT).exists()
