"""Checks: each on the real facts, and each able to fail on facts that were changed."""

import shutil
from pathlib import Path

import pytest

from gbmlib.claims.checks import CHECKS

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "book/facts"

EXPECTED = {
    "table 1": (True, "72 of 72"),
    "table 1, aspect ratio in voxels": (False, "of 72"),
    "a small median is the patch": (False, "Prostate 20 x 192 x 192"),
    "poolings in 2D": (True, "14 of 14"),
    "poolings in 3D": (False, "BrainTumour 128: 5 where the words give 4"),
    "patch limit": (True, "2,097,152"),
    "five per cent": (True, "18 of 18"),
    "whole slices": (True, "7 of 7"),
    "cascades": (True, "Heart, Liver, Lung and Pancreas"),
    "64 predictions": (True, "8 tiles x 8 mirrorings"),
    "the cascade leads": (False, "Heart (3D is ahead by 0.0005)"),
    "the test set recovers": (True, "BrainTumour"),
    "recall as printed": (False, "0.666"),
    "strides add parameters": (True, "8.57 against 9.14 million"),
    "transposed convolutions add parameters": (True, "million"),
    "strides make activations grow": (False, "with pooling"),
    "skull-stripped brains": (True, "19 cases"),
    "squeeze-excitation adds few parameters": (True, "8.57 against 8.48 million"),
}


def test_every_check_is_tested():
    assert set(EXPECTED) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_found(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # a published fingerprint is looked for from there
    holds, said = EXPECTED[name]
    found = CHECKS[name](FACTS)
    assert found.holds is holds
    assert said in found.why


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("table 1", "isensee2018_table_1.csv", "Heart,2D,320x232,320x256,33", "Heart,2D,320x232,320x256,34"),
        ("poolings in 2D", "isensee2018_table_1.csv", "192x160,89,5x5", "192x160,89,5x4"),
        ("patch limit", "isensee2018_table_1.csv", "80x192x128", "160x192x128"),
        ("five per cent", "isensee2018_table_1.csv", "40x56x40,9", "40x56x40,10"),
        ("whole slices", "isensee2018_table_1.csv", "169x138,192x160", "169x138,160x160"),
        ("cascades", "isensee2018_table_1.csv", "Lung,3D low resolution,126x256x256,112x128x128,2,4x5x5\n", ""),
        ("the test set recovers", "isensee2018_table_2_test.csv", "Lung,1,69.20", "Lung,1,29.20"),
    ],
)
def test_a_check_can_fail(name, file, old, new, tmp_path):
    folder = shutil.copytree(FACTS, tmp_path / "facts")
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))
    assert CHECKS[name](FACTS).holds
    assert not CHECKS[name](folder).holds


def test_a_check_that_fails_can_hold(tmp_path):
    folder = shutil.copytree(FACTS, tmp_path / "facts")
    table = folder / "isensee2018_table_2.csv"
    table.write_text(table.read_text().replace("Heart,cascade,1,92.40", "Heart,cascade,1,92.50"))
    assert CHECKS["the cascade leads"](folder).holds
