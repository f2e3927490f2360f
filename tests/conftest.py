"""What the tests share: where real data may lie, and skipping with a reason where it does not."""

import os
import sys
from pathlib import Path

import pytest

# Before torch is loaded: on the tests' small tensors a second thread costs more than it gives. (Runs set their own.)
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))  # the modules of the book's directives
DATA = Path(os.environ.get("GBM_DATA", ROOT.parent / "shared" / "data"))


def _needed(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"needs real data in {path} (set GBM_DATA to its parent folder)")
    return path


@pytest.fixture(scope="session")
def brats_folder() -> Path:
    """19 high-grade glioma cases in the BraTS 2018 layout."""
    return _needed(DATA / "BraTS2018")


@pytest.fixture(scope="session")
def hippocampus_folder() -> Path:
    """260 cases of the Decathlon's Task04."""
    return _needed(DATA / "MSD" / "Task04_Hippocampus")
