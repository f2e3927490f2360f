"""Table 1 of Isensee et al. (2018), every cell: from its medians alone, and from the geometry of all 1,271 cases."""

import csv
import json
import os
from pathlib import Path

import pytest

from gbmlib.planner import Fingerprint, plan

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "book" / "facts"
DATA = Path(os.environ.get("GBM_DATA", ROOT.parent / "shared" / "data"))
CASES = {
    "BrainTumour": 484, "Heart": 20, "Liver": 131, "Hippocampus": 260, "Prostate": 32, "Lung": 63, "Pancreas": 281,
}  # fmt: skip
NETWORKS = {"2D": "two_d", "3D": "three_d", "3D low resolution": "low_res"}


def numbers(cell: str) -> tuple[int, ...]:
    return tuple(map(int, cell.split("x")))


def printed() -> dict[str, dict[str, dict[str, tuple[int, ...]]]]:
    """Task to network to column to what the table prints."""
    table = {}
    with (FOLDER / "isensee2018_table_1.csv").open() as lines:
        for row in csv.DictReader(lines):
            cells = {column: numbers(cell) for column, cell in row.items() if column not in ("task", "network")}
            table.setdefault(row["task"], {})[row["network"]] = cells
    return table


PRINTED = printed()
CELLS = [
    (task, network, column) for task, rows in PRINTED.items() for network, cells in rows.items() for column in cells
]


def geometry(task: str) -> Fingerprint:
    return Fingerprint.read(FOLDER / "fingerprints" / f"{task}.json")


def medians(task: str) -> Fingerprint:
    """What table 1 itself says, with the median spacing, which it does not print."""
    return Fingerprint([PRINTED[task]["3D"]["median_shape"]], [geometry(task).spacing], cases=CASES[task])


@pytest.fixture(scope="module")
def plans():
    return {(task, of): plan(of(task)) for task in PRINTED for of in (geometry, medians)}


def test_the_table_is_whole():
    assert set(PRINTED) == set(CASES)
    assert len(CELLS) == (7 + 7 + 4) * 4


@pytest.mark.parametrize("source", [geometry, medians], ids=["geometry", "medians"])
@pytest.mark.parametrize(("task", "network", "column"), CELLS)
def test_a_cell_of_table_1(plans, source, task, network, column):
    value = getattr(getattr(plans[task, source], NETWORKS[network]), column)
    assert (value if isinstance(value, tuple) else (value,)) == PRINTED[task][network][column]


@pytest.mark.parametrize("source", [geometry, medians], ids=["geometry", "medians"])
@pytest.mark.parametrize("task", CASES)
def test_a_task_has_a_cascade_where_the_table_has_one(plans, source, task):
    assert (plans[task, source].low_res is not None) == ("3D low resolution" in PRINTED[task])


def test_the_texts_reading_misses_three_tasks_and_those_alone():
    """Proportions in voxels, as section 2.1 says, instead of millimetres."""
    wrong = {
        task
        for task, rows in PRINTED.items()
        for network in set(rows) - {"2D"}
        if getattr(plan(geometry(task), aspect="voxels"), NETWORKS[network]).patch_size != rows[network]["patch_size"]
    }
    assert wrong == {"Prostate", "Lung", "Pancreas"}
    prostate = plan(geometry("Prostate"), aspect="voxels").three_d
    assert prostate.patch_size == (20, 320, 320)


@pytest.mark.parametrize("task", CASES)
def test_the_committed_geometry_is_that_of_the_references(task):
    references = sorted((DATA / "references" / "msd_fingerprints").glob(f"*_{task}.json"))
    if not references:
        pytest.skip(f"needs references/msd_fingerprints in {DATA} (set GBM_DATA to its parent folder)")
    source = json.loads(references[0].read_text())
    ours = geometry(task)
    assert [list(shape) for shape in ours.shapes] == source["shapes_after_crop"]
    for mine, theirs in zip(ours.spacings, source["spacings_mm"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
    assert ours.cases == CASES[task] == len(source["shapes_after_crop"])
    assert ours.labels == len(source["labels"]) - 1
    assert ours.kinds == tuple("CT" if name == "CT" else "MR" for name in source["modality"].values())
    full = Fingerprint(source["shapes_after_crop"], source["spacings_mm"])
    assert plan(full).three_d.patch_size == plan(ours).three_d.patch_size


def test_another_number_of_cases_gives_other_batches():
    """5 % of 208 cases of 63,000 voxels are 655,200: 7.3 patches of 89,600. The table's 9 are of all 260 cases."""
    assert plan(Fingerprint([(36, 50, 35)], [(1, 1, 1)], cases=208)).three_d.batch_size == 7
