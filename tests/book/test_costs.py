"""What runs cost, by hand from a few records, and of the published ones."""

import json
from pathlib import Path

import pytest

from gbmlib.study import Ensemble, catalogue, nnunet, scales
from gbmlib.study.records import Record, Store

ROOT = Path(__file__).resolve().parents[2]

import costs  # noqa: E402

CPU, CARD = "Processor X, 4 cores", "Card Y"
COHORT = "phantom:cases=4,spacing=6,seed=0"


@pytest.fixture
def record(tmp_path):
    """``record(experiment, minutes, memory, device)`` writes what of a record is read here."""

    def record(experiment, minutes, memory, device=CPU, epochs=2):
        path = tmp_path / f"{experiment.id}-{device}"
        path.mkdir()
        (path / "config.json").write_text(json.dumps(experiment.model_dump(mode="json")))
        made = {
            "seconds": 60 * minutes,
            "peak_memory_mb": memory,
            "device": device,
            "cases": 4,
            "epoch_seconds": [1.0] * epochs,
        }
        (path / "provenance.json").write_text(json.dumps(made))
        return Record(path)

    return record


def test_runs_of_one_kind_share_a_row(record):
    runs = [scales.vnet("test", seed=seed, cohort=COHORT)[0] for seed in range(3)]
    records = [
        record(run, minutes, 1024 * minutes, epochs=minutes) for run, minutes in zip(runs, (2, 4, 9), strict=True)
    ]
    [row] = costs.table(records)
    assert row == {
        "network": "V-Net",
        "cases": "4 phantoms at 6 mm",
        "computed on": "Processor X, 4 cores, 1 thread",
        "runs": "3, of 2 to 9 epochs",
        "minutes a run": "4 (2 to 9)",
        "memory": "9.0 GiB",
    }


def test_networks_and_devices_have_rows_of_their_own(record):
    (flat,), (cascade,) = (nnunet.glioma("test", kind, cohort=COHORT) for kind in (2, "cascade"))
    rows = costs.table([record(flat, 1, 512), record(flat, 0.25, 2048, CARD), record(cascade, 12.3, 512)])
    assert [(row["network"], row["computed on"], row["minutes a run"], row["memory"]) for row in rows] == [
        ("2D U-Net", "Card Y", "0.25", "2.0 GiB"),
        ("2D U-Net", "Processor X, 4 cores, 1 thread", "1", "0.5 GiB"),
        ("3D U-Net, second of a cascade", "Processor X, 4 cores, 1 thread", "12", "0.5 GiB"),
    ]


def test_ensembles_are_left_out(record):
    (flat,) = nnunet.glioma("test", 2, cohort=COHORT)
    one = record(flat, 1, 512)
    both = [one, record(Ensemble(members=(flat,), single_components=True), 100, 512)]
    assert costs.table(both) == costs.table([one])
    assert "All 1 together: 0.0167 hours on Processor X, 4 cores." in costs.markdown(both)


def test_what_was_not_measured_is_said(record):
    (flat,) = nnunet.glioma("test", 2, cohort=COHORT)
    slow, fast = record(flat, 1, 512), record(flat, 1, 512, CARD)
    assert "has not been measured yet" in costs.markdown([slow])
    assert "measured" not in costs.markdown([slow, fast])
    assert "No run has been published yet" in costs.markdown([])


def test_the_published_records_make_a_table():
    published = Store(ROOT / "book" / "records").all()
    lines = [line for line in costs.markdown(published).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(costs.table(published))
    assert {line.count("|") for line in lines} == {len(costs.COLUMNS) + 1}
    assert sum(int(row["runs"].split(",")[0]) for row in costs.table(published)) == len(catalogue.trained(published))
