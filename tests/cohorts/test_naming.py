"""What names mean: of modalities, labels and cases."""

from pathlib import Path

import pytest

from gbmlib.cohorts import CaseError
from gbmlib.cohorts.layouts import naming


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        *((name, "t1ce") for name in ("T1CE", "t1c", "T1Gd", "t1_gd", "T1-post", "T1w+CE", "T1 contrast")),
        *((name, "flair") for name in ("FLAIR", "Flair", "t2f", "T2_FLAIR")),
        *((name, "t1") for name in ("T1", "t1n", "T1w")),
        *((name, "t2") for name in ("t2", "T2w")),
        *((name, None) for name in ("swi", "ct", "t1map", "")),
    ],
)
def test_synonyms_of_modalities(name, modality):
    assert naming.modality(name) == modality


@pytest.mark.parametrize(
    ("name", "kind", "asked"),
    [
        *(
            (name, "CT", False)
            for name in ("CT", "ct", "CTA", "CT_venous", "CBCT", "Computed Tomography", "venous-NCCT")
        ),
        *((name, "MR", True) for name in ("PET/CT", "PETCT", "CT1", "tomography")),
        *((name, "MR", False) for name in ("MRI", "T1", "PET", "positron emission tomography", "ADC", "OCT", "struct")),
    ],
)
def test_ct_by_its_name(name, kind, asked):
    assert (naming.kind(name), naming.perhaps_ct(name)) == (kind, asked)


@pytest.mark.parametrize(
    ("stem", "meaning"),
    [
        *((stem, "label") for stem in ("p1_mask", "p1-Segmentation", "p1.GT", "tumour")),
        *((stem, "t1ce") for stem in ("p1_t1ced", "p1_tlce")),
        *((stem, "") for stem in ("brain_mask", "p1_swi", "notes")),
    ],
)
def test_what_a_file_that_is_not_read_may_be(stem, meaning):
    assert naming.likely(stem) == meaning


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ({0: "background"}, "labels name no value from 1 to 255"),
        ({1: "a", 300: "b"}, "labels name 1, 300, not from 1 to 255"),
        ({1: "Tumour", 2: "tumour ", 3: "b"}, "two labels are called tumour"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(names, what):
    with pytest.raises(CaseError, match=rf"x\.json cannot be used: {what}"):
        naming.convention(names, "Decathlon", Path("x.json"))
