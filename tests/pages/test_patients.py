"""The patients that the book carries."""

import numpy as np
import pytest

from gbmlib.analysis import factorial
from gbmlib.cohorts import regions
from gbmlib.evaluation import metrics
from gbmlib.files import CASES
from gbmlib.pages import patients
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.records import BOOK, Store

NAMES = sorted(path.name for path in patients.SCANS.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_each_has_images_labels_and_predictions_that_fit(name):
    patient = patients.case(name)
    assert patient.modalities == ("flair", "t1ce")
    assert patient.spacing == (1, 1, 1)
    truth, drawn = patient.label(), patients.predictions(patient)
    assert set(drawn) >= {"SegVAE, pipeline A", "U-Net, pipeline B"}
    for label_map in drawn.values():
        assert label_map.shape == truth.shape
        assert 0.2 < metrics.dice(label_map > 0, truth > 0) < 1
    # What lies outside of the brain is empty.
    assert not truth[~(patient.images() != 0).any(0)].any()


def test_predictions_come_in_the_order_that_is_asked_for():
    patient = patients.case(NAMES[0])
    drawn = patients.predictions(patient, ("U-Net-B", "SegVAE-A"))
    assert list(drawn) == ["U-Net, pipeline B", "SegVAE, pipeline A"]
    np.testing.assert_array_equal(drawn["U-Net, pipeline B"], patients.predictions(patient)["U-Net, pipeline B"])
    assert patients.folder_of("V-Net, normalised", "A") == "V-Net-normalised-A"
    with pytest.raises(KeyError, match="BRATS_000"):
        patients.case("BRATS_000")


def test_the_label_maps_have_the_dice_of_the_published_records():
    """So they are of the same networks, and the two names of a patient belong together."""
    assert sorted(patients.NUMBERS.values()) == NAMES
    [cells] = catalogue.published(head_to_head.without_vnet, Store("none", published=BOOK)).values()
    dice = factorial.by_case(cells)
    for name, number in patients.NUMBERS.items():
        patient = patients.case(number)
        for cell in cells:
            [label_map] = patients.predictions(patient, (patients.folder_of(*cell),)).values()
            drawn, truth = (regions.to_channels(each, "brats", patient.labels) for each in (label_map, patient.label()))
            values = [metrics.dice(one, other) for one, other in zip(drawn, truth, strict=True)]
            assert np.mean(values) == pytest.approx(dice.loc[name, cell], abs=1e-6)


def test_they_are_small_and_say_where_they_come_from():
    assert sum(path.stat().st_size for path in CASES.rglob("*") if path.is_file()) < 12e6
    assert "CC BY-SA 4.0" in (CASES / "README.md").read_text()
