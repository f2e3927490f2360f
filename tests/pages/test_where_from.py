"""Where numbers come from: the line, the list behind it, and that each cell of a page gets its own."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from gbmlib.files import NETWORKS
from gbmlib.pages import provenance
from gbmlib.study import Ensemble, nnunet, records, scales
from gbmlib.study.records import Record, Store

ROOT = Path(__file__).resolve().parents[2]
COHORT = "phantom:cases=4,spacing=6,seed=0"


@pytest.fixture
def record(tmp_path):
    """``record(experiment, …)`` writes a record of which all but the configuration is made up."""

    def record(experiment, minutes=2.0, began="2026-03-01T10:20:30+00:00", published=True, numerics=1, **more):
        path = tmp_path / ("published" if published else "own") / experiment.id
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(experiment.model_dump(mode="json")))
        made = {"seconds": 60 * minutes, "began": began, "device": "X, 4 cores", "gbmlib": "0.1.0", "commit": "abc"}
        (path / "provenance.json").write_text(json.dumps(made | {"numerics": numerics, "fingerprint": "f"} | more))
        (path / "cases.csv").write_text("case,split,region,dice\na,held out,WT,0.5\n")
        (path / "history.csv").write_text("epoch,train_loss\n0,1.0\n")
        return Record(path, published)

    return record


def test_one_published_record(record):
    of = record(scales.vnet("test", cohort=COHORT)[0])
    assert provenance.line([of]) == (
        f"1 published record; data {COHORT}; made 1 March 2026; code 0.1.0; 2.0 minutes in all on X, 4 cores"
    )
    assert provenance.rows([of]) == [
        (of.id, "vnet", "0", "0", "2026-03-01 10:20", "0.1.0, commit abc", "2.0", "X, 4 cores")
    ]


def test_several_records_of_both_kinds_days_and_machines(record):
    first, second = scales.vnet("test", (0, 1), cohort=COHORT)
    own = record(second, 15, "2026-04-02T00:00:00+00:00", published=False, numerics=99, device="Card <Y>")
    line = provenance.line([record(first), own])
    assert "1 published record and 1 run of the local store; " in line
    assert "made 1 March 2026 to 2 April 2026; " in line
    assert "17 minutes in all on Card <Y>, X, 4 cores; 1 made by another version of the numerics" in line


def test_what_is_made_of_networks_says_of_how_many(record):
    members = tuple(nnunet.glioma("test", kind, cohort=COHORT)[0] for kind in (2, 3))
    [row] = provenance.rows([record(Ensemble(members=members))])
    assert row[1] == "made of 2 networks"


def test_old_provenance_without_a_date_or_commit_is_no_hindrance(record, tmp_path):
    of = record(scales.vnet("test", cohort=COHORT)[0])
    (of.path / "provenance.json").write_text('{"seconds": 60, "device": "m", "numerics": 1}')
    assert provenance.line([of]) == f"1 published record; data {COHORT}; code unknown; 1.0 minutes in all on m"
    assert provenance.rows([of])[0][4:6] == ("", "unknown, commit unknown")


def test_html_is_escaped_and_reached_by_keyboard(record):
    shown = provenance.where_from([record(scales.vnet("test", cohort=COHORT)[0], device="<b>")] * 2)
    page = shown._repr_html_()
    assert page.startswith('<details class="gbm-sources"><summary>Where from: 1 published record;')
    assert "<b>" not in page
    assert page.count("<tr>") == 2  # the head, and a record that was given twice
    assert 'tabindex="0" role="region" aria-label=' in page
    assert shown._repr_mimebundle_()["text/plain"].startswith("Where from: 1 published record")


def test_no_record_is_refused():
    with pytest.raises(ValueError, match="no record at all"):
        provenance.where_from([])


def test_outside_a_notebook_nothing_is_remembered(record, monkeypatch):
    monkeypatch.setenv("GBM_STATIC", "1")
    provenance.watch()
    assert record(scales.vnet("test", cohort=COHORT)[0]).cases.value.sum() == 0.5
    assert provenance._read == {}


def test_every_published_record_can_be_named():
    every = Store("runs-that-nobody-made", published=ROOT / "book/records").all()
    assert len(every) > 100
    assert len(provenance.rows(every)) == len(every)
    assert f"{len(every)} published records" in provenance.line(every)


CELLS = (
    "from gbmlib.pages import provenance\nfrom gbmlib.study.records import Store\nimport pandas as pd\n"
    "provenance.watch()\n"
    "one, other = Store({store!r}, published={published!r}).all()",
    "one.id, one.experiment.fold",  # no number of the record
    "len(one.cases)",
    "display(len(other.history), len(one.cases))",
    "len(other.history)",  # read before, and again
    "pd.DataFrame({{'epochs': [len(one.history)]}}, index=pd.Index([one.id], name='run'))",
)


@pytest.fixture
def shell(monkeypatch):
    """A stand-in for the IPython of a notebook that is executed for the book; what it shows is in ``shown``."""
    import IPython

    of = SimpleNamespace(events=SimpleNamespace(register=lambda name, end: of.ended.append(end)), ended=[], shown=[])
    monkeypatch.setenv("GBM_STATIC", "1")
    monkeypatch.setattr(IPython, "get_ipython", lambda: of)
    monkeypatch.setattr("IPython.display.display", of.shown.append)
    monkeypatch.setattr(records, "on_read", [])
    monkeypatch.setattr(provenance, "_watched", [])
    monkeypatch.setattr(provenance, "_read", {})
    return of


def end(shell, shown=None, success=True):
    """End a cell; the ids that are named below it."""
    del shell.shown[:]
    shell.ended[0](SimpleNamespace(result=shown, success=success))
    return [of.id for sources_of in shell.shown for of in sources_of.records]


def test_a_cell_ends_with_what_was_read_in_it(record, shell):
    one, other = (record(of) for of in scales.vnet("test", (0, 1), cohort=COHORT))
    provenance.watch()
    provenance.watch()  # of a notebook whose first cells are run again
    assert len(shell.ended) == 1
    assert one.experiment.fold + other.provenance["seconds"]
    assert end(shell) == []  # no number of a record was read yet
    assert len(one.cases) == len(one.history) == 1
    assert end(shell) == [one.id]
    assert end(shell) == []
    assert len(other.history) + len(one.history) == 2  # the second was read before, and is again
    assert end(shell) == [other.id, one.id]


def test_a_failed_cell_and_a_table_of_runs_have_no_line(record, shell):
    of = record(scales.vnet("test", cohort=COHORT)[0])
    provenance.watch()
    assert len(of.cases) == 1
    assert end(shell, success=False) == []
    assert len(of.cases) == 1
    assert end(shell, pd.DataFrame({"epochs": [1]}, index=pd.Index([of.id], name="run"))) == []
    assert len(of.cases) == 1
    assert end(shell, pd.DataFrame({"Dice": [1]}, index=pd.Index(["WT"], name="region"))) == [of.id]


def test_in_jupyterlab_there_is_no_line(record, shell, monkeypatch):
    monkeypatch.delenv("GBM_STATIC")
    provenance.watch()
    assert len(record(scales.vnet("test", cohort=COHORT)[0]).cases) == 1
    assert shell.ended == []


@pytest.mark.slow
def test_in_an_executed_notebook_the_line_is_below_what_its_cell_shows(record, tmp_path, monkeypatch):
    first, second = scales.vnet("test", (0, 1), cohort=COHORT)
    ids = [record(first, published=False).id, record(second).id]
    folders = {"store": str(tmp_path / "own"), "published": str(tmp_path / "published")}
    monkeypatch.setenv("GBM_STATIC", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(of.format(**folders)) for of in CELLS])
    NotebookClient(notebook, kernel_name="python3", timeout=600).execute()
    named = []
    for cell in notebook.cells:
        pages = [of["data"]["text/html"] for of in cell.outputs if "gbm-sources" in str(of.get("data"))]
        assert len(pages) <= 1
        named.append({of for of in ids for page in pages if re.search(rf"<td>{of}</td>", page)})
        if pages:
            assert "gbm-sources" in str(cell.outputs[-1])
    assert named == [set(), set(), {ids[0]}, set(ids), {ids[1]}, set()]


def test_the_networks_that_come_with_the_study_are_published():
    assert provenance.line(Store(NETWORKS).all()).startswith("2 published records;")
