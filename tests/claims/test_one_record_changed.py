"""One number of one published record changes: what rests on it changes in chapters and claims alike, and nothing else.

The published half of each chapter is run here cell by cell, on the published records and on a copy in which the Dice of
one case of one run is another. Nothing is trained.
"""

import ast
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import claims_text
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy import stats

from gbmlib.analysis import intervals
from gbmlib.analysis.family import contrasts
from gbmlib.claims import ledger, verdicts
from gbmlib.pages import curves
from gbmlib.study import catalogue, cross_validation, scales
from gbmlib.study.records import Store

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "book/records"
CHAPTERS = ("03", "04", "05", "07", "08", "09")

#: Above the part of a chapter in which the reader trains.
READER_TRAINS = "## Train it yourself"

#: Cells of images, patients, plans and untrained networks: they look at no record.
WITHOUT_RECORDS = ("through_depth", "pictures.thicknesses", "planner_pages.", "tables.trained", "patients.")


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """From the repository's root, figures live; what makes no difference here is left out: thousands of draws for the
    intervals of means, and curves over epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.delenv("GBM_STATIC", raising=False)
        few = SimpleNamespace(**vars(stats) | {"bootstrap": partial(stats.bootstrap, n_resamples=199)})
        patch.setattr(intervals, "stats", few)
        patch.setattr(curves, "compared", lambda groups, *_: f"curves of {', '.join(groups)}")
        yield


def chapter(number):
    [path] = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def published_half(number, store):
    """What each cell of a chapter shows of published records, by cell; those before the reader trains."""
    names, shown = {"__name__": "chapter"}, {}
    for cell in chapter(number):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and READER_TRAINS in source:
            return shown
        if cell["cell_type"] != "code" or any(word in source for word in WITHOUT_RECORDS):
            continue
        if "parameters" in cell["metadata"].get("tags", []):
            source += '\nprofile = "test"'
        shown[f"{number} {cell['id']}"] = "\n".join(map(text_of, run(source, names)))
        if "runs" in names:
            names["runs"] = store
    raise AssertionError(f"chapter {number} trains nothing")


def run(source, names):
    """What a cell displays, and its last expression, as a notebook shows them."""
    shown = []
    if "display" in names:
        names["display"] = lambda *parts: shown.extend(parts)
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        shown += [value] if value is not None else []
    return shown


def text_of(part):
    if isinstance(part, go.Figure):
        return part.to_json()
    return part.to_html() if isinstance(part, pd.DataFrame) else str(part)


@pytest.fixture(scope="module")
def chosen():
    """Every claim that records decide."""
    every = ledger.read(ROOT / "book/claims.yml")
    return [claim for claim in every if isinstance(claim.decided_by, ledger.ByRuns | ledger.ByFactorial)]


def everything(store, chosen):
    """All texts: by cell of the chapters, and by claim."""
    shown = {name: text for number in CHAPTERS for name, text in published_half(number, store).items()}
    found = verdicts.decide(chosen, store, ROOT / "book/facts")
    sizes = claims_text.family_sizes(found)
    for name, verdict in found.items():
        shown[name] = "\n".join([verdict.label, claims_text.evidence(verdict), claims_text.details(verdict, sizes)])
    return shown, found


@pytest.fixture(scope="module")
def before(chosen, tmp_path_factory):
    return everything(Store(tmp_path_factory.mktemp("none"), published=RECORDS), chosen)


def changed(folder, *experiments, value=1.0):
    """A store in which the Dice of one held-out case of each of these runs is another; all else is as published."""
    published, ids = folder / "records", {experiment.id for experiment in experiments}
    published.mkdir()
    for path in RECORDS.iterdir():
        if path.name not in ids:
            os.symlink(path, published / path.name)
    for name in ids:
        own = published / name
        own.mkdir()
        for path in (RECORDS / name).iterdir():
            if path.name != "cases.csv":
                os.symlink(path, own / path.name)
        cases = pd.read_csv(RECORDS / name / "cases.csv", dtype=str, keep_default_na=False)
        rows = cases.split == "held out"
        rows &= cases.case == cases.case[rows].iloc[0]
        assert (cases.dice[rows] != str(value)).any()
        cases.loc[rows, "dice"] = str(value)
        cases.to_csv(own / "cases.csv", index=False)
    return Store(folder / "none", published=published)


def differing(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def families_of(experiment, chosen, scale="short"):
    """The claims of every family in which a claim rests on a run."""

    def rests(claim):
        by = claim.decided_by
        groups = catalogue.runs_of(by.source, scale)
        labels = [label for pair in by.pairs for label in pair] if isinstance(by, ledger.ByRuns) else groups
        return experiment.id in {of.id for label in labels for of in groups.get(label, ())}

    touched = {claim.family or claim.id for claim in chosen if rests(claim)}
    return {claim.id for claim in chosen if (claim.family or claim.id) in touched}


def test_a_run_changes_the_pages_that_show_it_and_no_other(before, chosen, tmp_path):
    """Two runs at once, of one choice among gliomas' networks and of the hippocampus: no page shows both."""
    kernel = catalogue.runs_of("choices/kernel", "short")["kernel 5"][0]
    volumes = cross_validation.of_hippocampus("study")["3D"][0]
    shown, found = before
    after, then = everything(changed(tmp_path, kernel, volumes), chosen)
    differs = differing(shown, after)
    sections = {f"05 {cell['id']}" for cell in chapter("05") if '"choices/kernel"' in "".join(cell["source"])}
    assert len(sections) == 1
    of_kernel = sections | {"05 undecided", "kernel-three-beats-five"}
    of_volumes = {name for name in shown if name.startswith("08 ")} | families_of(volumes, chosen, "study")
    assert differs - of_volumes == of_kernel
    assert {"08", "volumes-beat-slices-hippocampus"} <= {name.split()[0] for name in differs}
    # Words follow numbers, and the same word in the chapter and among the claims.
    section = sections.pop()
    for texts, words in ((shown, found), (after, then)):
        assert "**kernel 5**: not decided yet against kernel 3 (undertrained: " in texts[section]
        assert words["kernel-three-beats-five"].word == verdicts.NOT_YET
    assert after[section] != shown[section]


@pytest.mark.slow
def test_a_run_that_many_pages_share_changes_those_and_no_other(before, chosen, tmp_path):
    shared = scales.paper_a("short")[0]
    differs = differing(before[0], everything(changed(tmp_path, shared), chosen)[0])
    assert {"03 cell-15", "beats-the-baseline"} <= differs  # branch and squeeze-excitation have longer runs
    assert {name.split()[0] for name in differs if name.split()[0] in CHAPTERS} <= {"03", "09"}
    assert {name for name in differs if name.split()[0] not in CHAPTERS} <= families_of(shared, chosen)


def test_chapters_and_claims_say_the_same_of_the_same_runs(before, chosen):
    """The same difference, interval and uncorrected p; another word only where the families differ, and never the
    opposite one."""
    store, met = Store(ROOT / "none", published=RECORDS), 0
    tables = {}
    for claim in chosen:
        by = claim.decided_by
        if by.source not in ("vae", "se") and not by.source.startswith("choices/"):
            continue
        if (by.measure, by.split, by.region) != ("dice", "held out", None) or by.that_split:
            continue
        if by.source not in tables:
            scale = before[1][claim.id].scale
            tables[by.source] = contrasts(catalogue.records_of(catalogue.runs_of(by.source, scale), store))
        table = tables[by.source]
        for of in before[1][claim.id].comparisons:
            label, sign = (of.this, 1) if of.this in table.index else (of.that, -1)
            if table.against.get(label) not in (of.this, of.that) or not of.complete:
                continue
            row, met = table.loc[label], met + 1
            there = (of.difference.mean, of.difference.low, of.difference.high)
            here = (row.difference.mean, *(sorted((sign * row.difference.low, sign * row.difference.high))))
            assert there == pytest.approx((sign * here[0], *here[1:]), abs=1e-9), claim.id
            word = replace(of.paired, adjusted=of.adjusted).decided
            turned = {"higher": "lower", "lower": "higher"}.get(row.decided, row.decided) if sign < 0 else row.decided
            assert {word, turned} != {"higher", "lower"}, claim.id
            if of.adjusted == pytest.approx(row.p):
                assert word == turned, claim.id
    assert met > 12
