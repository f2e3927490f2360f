"""A real case at full resolution through plan, preparation, prediction and the way back: in bounds, and in place."""

import subprocess
import sys
import textwrap

import nibabel as nib
import numpy as np
import pytest

from gbmlib.cohorts import open_cohort, regions
from gbmlib.preprocess import grids
from gbmlib.study import nnunet, predicting

CASE = "Brats18_2013_2_1"


def planned(**changes):
    """The planned 3D U-Net at the data's own resolution."""
    return nnunet.glioma("paper", 3, **changes)[0]


@pytest.fixture(scope="module")
def cohort(brats_folder):
    return open_cohort(f"brats:{brats_folder}", planned().modalities)


def test_the_plan_is_for_native_resolution_and_a_perfect_network_comes_back_voxel_for_voxel(cohort, tmp_path):
    experiment, case = planned(), cohort[CASE]
    assert experiment.spacing is None or tuple(experiment.spacing) == tuple(case.spacing) == (1, 1, 1)
    assert experiment.patch_size == (128, 128, 128)
    prepared = predicting.prepare(experiment, case)
    classes = regions.to_channels(prepared.label, "labels", cohort.labels)
    perfect = np.concatenate([~classes.any(0, keepdims=True), classes]).astype(np.float32)
    label_map = predicting.decide(perfect, experiment, cohort, prepared)
    np.testing.assert_array_equal(label_map, case.label())
    case.write(tmp_path / "out.nii.gz", label_map)
    written, image = nib.load(tmp_path / "out.nii.gz"), nib.load(case.files["flair"].path)
    truth = nib.load(case.label_file)
    assert written.shape == image.shape == (240, 240, 155)
    np.testing.assert_array_equal(written.affine, image.affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(truth.dataobj))


def test_a_shifted_prediction_would_be_seen(cohort):
    case = cohort[CASE]
    prepared = predicting.prepare(planned(), case)
    classes = regions.to_channels(np.roll(prepared.label, 1, 2), "labels", cohort.labels)
    perfect = np.concatenate([~classes.any(0, keepdims=True), classes]).astype(np.float32)
    assert (grids.restore_labels(perfect, prepared, lambda p: p.argmax(0)) != case.label()).any()


@pytest.mark.slow
def test_the_memory_of_the_whole_way_is_bounded(brats_folder):
    script = f"""
        import resource, torch
        from gbmlib import models
        from gbmlib.cohorts import open_cohort
        from gbmlib.study import nnunet, predicting

        experiment = nnunet.glioma("paper", 3, filters=8, mirrored_inference=False)[0]
        cohort = open_cohort({f"brats:{brats_folder}"!r}, experiment.modalities)
        network = models.build("unet", 2, 4, experiment.patch_size, **experiment.options).eval()
        prepared = predicting.prepare(experiment, cohort[{CASE!r}])
        volume = predicting.predict(network, experiment, torch.from_numpy(prepared.images))
        label_map = predicting.decide(volume, experiment, cohort, prepared)
        assert label_map.shape == (155, 240, 240)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 8  # GB
