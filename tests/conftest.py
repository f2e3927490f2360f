"""What the tests share: where real data may lie, and skipping with a reason where it does not."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

# Before torch is loaded: on the tests' small tensors a second thread costs more than it gives. (Runs set their own.)
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))  # the modules of the book's directives
DATA = Path(os.environ.get("GBM_DATA", ROOT.parent / "shared" / "data"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With two processes (``-n 2``) the tests of the built book, which takes minutes to make, go to one of them, and
    all others file by file."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "the built book" if file.startswith("tests/book/") else file

    return ByFile(config, log)


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


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory):
    """Two seeds and two folds of a small network, their average, a cascade; and a store that has them published."""
    from gbmlib.study import Ensemble, nnunet, run, scales
    from gbmlib.study.records import Store

    folder = tmp_path_factory.mktemp("small_runs")
    store = Store(folder / "runs")
    zero, other = (scales.vnet("test", epochs=1, seed=seed)[0] for seed in (0, 1))
    (second,) = scales.vnet("test", folds=(1,), epochs=1)
    wanted = {
        "zero": zero,
        "other": other,
        "second": second,
        "pair": Ensemble(members=(zero, other), single_components=True),
        "cascade": nnunet.glioma("test", "cascade", (0,), cohort=zero.cohort)[0],
    }
    records = dict(zip(wanted, run(wanted.values(), store, progress=False), strict=True))
    for record in records.values():
        store.publish(record, folder / "published")
    return SimpleNamespace(store=store, bare=Store(folder / "fresh", folder / "published"), **records)


@pytest.fixture(scope="session")
def turned_files(tmp_path_factory):
    """A phantom as files by modality, in a scanner's orientation that is not the library's."""
    import nibabel as nib
    from small_data import write_brats

    from gbmlib.cohorts import open_cohort

    folder = write_brats("cases=2,spacing=6,seed=4", tmp_path_factory.mktemp("turned"))
    turned = {}
    for name, file in open_cohort(f"brats:{folder}").cases[0].files.items():
        turned[name] = folder / f"turned_{name}.nii.gz"
        nib.save(nib.as_closest_canonical(nib.load(file.path)).slicer[::-1], turned[name])
    return turned


@pytest.fixture(autouse=True)
def _a_cohort_opened_by_a_test_is_known_to_it_alone(monkeypatch):
    """Two data sets of one name cannot stand side by side in a process."""
    from gbmlib.cohorts import opening

    monkeypatch.setattr(opening, "_opened", {name: dict(specs) for name, specs in opening._opened.items()})
