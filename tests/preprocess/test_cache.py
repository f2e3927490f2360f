"""The cache of prepared cases: equal bit for bit, keyed by all that matters, whole or not there."""

import gzip
import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases_in_memory import bodies, brains, case_of
from small_data import write_brats

import gbmlib
from gbmlib.cohorts import CaseError, open_cohort
from gbmlib.preprocess import cache, normalise, pipeline
from gbmlib.preprocess.grids import restore

HOW = {"spacing": (2, 2, 1.5), "resampling": "spline", "normalisation": "whole", "axes": (1, 0, 2)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two phantoms as files."""
    return write_brats("cases=2,spacing=10,seed=0", tmp_path_factory.mktemp("data") / "phantoms")


@pytest.fixture
def files(written, tmp_path):
    """The same, for a test to change."""
    return Path(shutil.copytree(written, tmp_path / "data"))


@pytest.fixture
def made(monkeypatch):
    """The ids of the cases that were prepared, in order."""
    ids, prepare = [], pipeline.prepare

    def counted(case, spacing=None, resampling="average", statistics=None, normalisation=None, axes=(0, 1, 2)):
        ids.append(case.id)
        return prepare(case, spacing, resampling, statistics, normalisation, axes)

    monkeypatch.setattr(pipeline, "prepare", counted)
    return ids


def one_case(seed=0):
    images = np.random.default_rng(seed).uniform(1, 2, (2, 6, 7, 8)).astype(np.float32)
    label = np.random.default_rng(seed).integers(0, 4, (6, 7, 8)).astype(np.uint8)
    return case_of(np.pad(images, ((0, 0), (1, 0), (0, 2), (0, 0))), np.pad(label, ((1, 0), (0, 2), (0, 0))))


def same(one, other):
    arrays = [(getattr(one, name), getattr(other, name)) for name in ("images", "label")]
    equal = all((a is b is None) or (a.dtype == b.dtype and np.array_equal(a, b)) for a, b in arrays)
    return equal and all(getattr(one, name) == getattr(other, name) for name in ("id", "box", "native_shape", "axes"))


def entries(folder):
    return [path for path in folder.iterdir() if path.is_dir()]


# ---------------------------------------------------------------------------------------------------------------- equal


def test_what_comes_from_disk_is_what_would_be_computed(tmp_path, made):
    case = one_case()
    expected = pipeline.prepare(case, **HOW)
    for _ in range(3):
        found = cache.prepared(case, tmp_path, **HOW)
        assert same(found, expected)
        assert all(isinstance(array, np.memmap) for array in (found.images, found.label))
        assert (found.images.dtype, found.label.dtype) == (np.float32, np.uint8)
        found.images[0, 0, 0, 0] = 1  # and the next one that comes from disk knows nothing of it
        found = cache.prepared(case, tmp_path, **HOW)
        assert same(found, expected)
    assert made == ["case", "case"]
    probabilities = np.random.default_rng(0).random((2, *found.images.shape[1:]), np.float32)
    np.testing.assert_array_equal(*(restore(probabilities, of) for of in (found, expected)))


def test_a_case_without_a_label_and_one_of_a_strange_name(tmp_path):
    case = case_of(one_case().images(), name="a/b:c ü")
    found = cache.prepared(case, tmp_path / "new" / "folder")
    assert found.label is None
    assert same(found, pipeline.prepare(case))
    assert len(entries(tmp_path / "new" / "folder")) == 1


def test_phantoms_and_their_files_are_cached(tmp_path, files, made):
    phantom = open_cohort("phantom:cases=1,spacing=10,seed=0", ("flair",)).cases[0]
    file = open_cohort(f"brats:{files}", ("flair",)).cases[0]
    for case in (phantom, file, phantom, file):
        assert same(cache.prepared(case, tmp_path / "cache"), pipeline.prepare(case))
    assert len(made) == 2 + 4  # those that were compared with, too


def test_a_real_case_is_cached_bit_for_bit(hippocampus_folder, tmp_path):
    case = open_cohort(f"msd:{hippocampus_folder}").cases[0]
    how = {"spacing": (1, 0.9, 1.1), "resampling": "spline", "normalisation": "whole"}
    for _ in range(2):
        assert same(cache.prepared(case, tmp_path, **how), pipeline.prepare(case, **how))


# ---------------------------------------------------------------------------------------------------------------- keyed


def test_what_means_the_same_has_one_entry_and_anything_else_its_own(tmp_path, made):
    case = one_case()
    for how in ({}, {"spacing": None, "resampling": "average"}, {"axes": [0, 1, 2]}):
        cache.prepared(case, tmp_path, **how)
    for spacing in ((2, 2, 2), [2.0, 2.0, 2.0], np.array([2, 2, 2])):
        cache.prepared(case, tmp_path, spacing=spacing)
    assert (len(made), len(entries(tmp_path))) == (2, 2)
    others = [{"spacing": (2, 2, 2.1)}, {"resampling": "spline"}, {"normalisation": "whole"}, {"axes": (0, 2, 1)}]
    for how in others:
        cache.prepared(case, tmp_path, **how)
    assert len(entries(tmp_path)) == 2 + len(others)


def test_other_statistics_are_another_entry():
    cts, mrs = bodies(3, (2, 6, 9, 8)), brains(3)
    several = [normalise.statistics(cts, "ct"), normalise.statistics(cts[:2], "ct")]
    several += [normalise.statistics(mrs, kind) for kind in ("dataset", "position")]
    keys = [cache.key_of(mrs[0], statistics=by) for by in (*several, None)]
    assert len(set(keys)) == 5
    again = normalise.statistics(cts, "ct")
    assert cache.key_of(mrs[0], statistics=again) == keys[0]


def test_other_numerics_or_another_format_are_another_entry(monkeypatch):
    keys = [cache.key_of(one_case())]
    monkeypatch.setattr(gbmlib, "NUMERICS", gbmlib.NUMERICS + 1)
    keys.append(cache.key_of(one_case()))
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    keys.append(cache.key_of(one_case()))
    assert len(set(keys)) == 3


def test_a_changed_file_is_noticed_and_a_moved_one_is_not_another(files, tmp_path):
    def key(folder=files, modalities=("t1ce", "flair")):
        return cache.key_of(open_cohort(f"brats:{folder}", modalities).cases[0])

    first = key()
    assert key() == first
    assert len({first, key(modalities=("flair", "t1ce")), key(modalities=("flair",))}) == 3
    moved = shutil.copytree(files, tmp_path / "moved")
    assert key(moved) == first
    for part in ("t1ce", "seg"):
        [path] = sorted(moved.rglob(f"*_{part}.nii.gz"))[:1]
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[-1] ^= 1
        path.write_bytes(gzip.compress(bytes(content)))
        assert key(moved) != first
        shutil.copy(next(files.rglob(path.name)), path)


def test_another_order_of_modalities_or_meaning_of_labels_is_another_entry(files):
    case = open_cohort(f"brats:{files}").cases[0]
    swapped = replace(case, values={**case.values, 1: 2, 2: 1})
    assert cache.key_of(case) != cache.key_of(swapped)


# ---------------------------------------------------------------------------------------- whole, or not there


def spoil_half(entry):
    path = entry / "images.npy"
    path.write_bytes(path.read_bytes()[:-100])


def spoil_head(entry):
    path = entry / "images.npy"
    path.write_bytes(b"\0" * 200 + path.read_bytes()[200:])


def spoil_text(entry):
    (entry / "entry.json").write_text("[1, 2")


def spoil_list(entry):
    (entry / "entry.json").write_text("[1, 2]")


def spoil_missing(entry):
    (entry / "images.npy").unlink()


def spoil_all(entry):
    for path in entry.iterdir():
        path.unlink()


SPOILS = [spoil_half, spoil_head, spoil_text, spoil_list, spoil_missing, spoil_all]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__.removeprefix("spoil_"))
def test_a_damaged_entry_is_made_anew(tmp_path, made, spoil):
    case = one_case()
    cache.prepared(case, tmp_path, **HOW)
    [entry] = entries(tmp_path)
    spoil(entry)
    assert same(cache.prepared(case, tmp_path, **HOW), pipeline.prepare(case, **HOW))
    assert len(made) == 3
    assert same(cache.prepared(case, tmp_path, **HOW), pipeline.prepare(case, **HOW))
    assert len(made) == 4  # the last is the one compared with
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, after):
    case, save, saved = one_case(), np.save, []

    def interrupted(file, array):
        if len(saved) == after:
            raise KeyboardInterrupt
        saved.append(file)
        save(file, array)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.prepared(case, tmp_path, **HOW)
    assert entries(tmp_path) == []
    assert same(cache.prepared(case, tmp_path, **HOW), pipeline.prepare(case, **HOW))


def test_a_case_that_cannot_be_prepared_is_told_as_ever_and_leaves_nothing(tmp_path):
    with pytest.raises(CaseError, match="case case: the images are zero everywhere"):
        cache.prepared(case_of(np.zeros((1, 2, 2, 2), np.float32)), tmp_path)
    with pytest.raises(TypeError, match="order"):
        cache.prepared(one_case(), tmp_path, order=3)
    assert entries(tmp_path) == []


def in_another_process(folder, started):
    """Prepares the same case; top-level, so that a fresh process can import it."""
    started.wait(60)
    found = cache.prepared(one_case(), folder, **HOW)
    raise SystemExit(0 if same(found, pipeline.prepare(one_case(), **HOW)) else 1)


def test_threads_that_ask_at_once_make_it_once(tmp_path, made):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: cache.prepared(one_case(), tmp_path, **HOW), range(12)))
    assert len(made) == 1
    assert all(same(one, found[0]) for one in found)


@pytest.mark.slow
def test_processes_that_ask_at_once_get_the_same(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    several = [context.Process(target=in_another_process, args=(tmp_path, started)) for _ in range(2)]
    for process in several:
        process.start()
    started.set()
    for process in several:
        process.join(120)
    assert [process.exitcode for process in several] == [0, 0]
    assert len(entries(tmp_path)) == 1
