"""How to cite: by hand, from the repository's file, and as another program reads it."""

from pathlib import Path

import citation
import pytest
import yaml
from pybtex.database import parse_string

import gbmlib
from gbmlib.study import scales
from gbmlib.study.records import Store

ROOT = Path(__file__).resolve().parents[2]
ONE = {
    "title": "Tumours & more",
    "authors": [{"family-names": "Doe", "given-names": "Jane Q."}, {"name": "A Team"}],
    "version": "1.2",
    "date-released": "2026-03-01",
}


def test_plain_by_hand():
    assert citation.plain(ONE) == (
        "Doe, J. Q. and A Team (2026). Tumours & more, version 1.2. Software and Jupyter Book."
    )
    assert citation.plain(ONE | {"repository-code": "https://x.org/y"}).endswith("Jupyter Book. https://x.org/y")
    assert citation.plain(ONE | {"doi": "10.1/2", "url": "https://x.org"}).endswith("https://doi.org/10.1/2")
    assert citation.plain(ONE | {"authors": ONE["authors"] * 2}).startswith("Doe, J. Q. et al. (2026)")


def test_bibtex_as_another_program_reads_it():
    entry = parse_string(citation.bibtex(ONE | {"doi": "10.1/2"}), "bibtex").entries["gbmlib2026"]
    assert entry.fields["title"] == r"{Tumours \& more}"
    assert entry.fields["year"] == "2026"
    assert entry.fields["doi"] == "10.1/2"
    doe, team = entry.persons["author"]
    assert (doe.last_names, doe.first_names) == (["Doe"], ["Jane"])
    assert [str(team)] == ["{A Team}"]


def test_the_repositorys_own_file():
    of = citation.read(ROOT / "CITATION.cff")
    assert of["version"] == gbmlib.__version__
    assert parse_string(citation.bibtex(of), "bibtex").entries
    first, second = citation.references(of)
    assert first.startswith("Adeniji, A. and Liu, V. (2019). Volumetric")
    assert second.startswith("Isensee, F. et al. (2018). nnU-Net")


def test_a_number_with_its_record():
    record = Store(ROOT / "book/records").get(scales.vnet("short")[0])
    dice = record.cases.query("split == 'held out' and region == 'TC' and metric == 'precision'").value
    said = citation.of_number(ONE, record, "TC", "precision")
    assert said.startswith(f"Precision of TC {dice.mean():.3f}, mean over {len(dice)} held-out cases of brats2018-19: ")
    assert record.id in said
    assert record.provenance["commit"] in said
    assert said.endswith(citation.plain(ONE))
    with pytest.raises(ValueError, match="has no dice of LIVER"):
        citation.of_number(ONE, record, "LIVER")


def test_what_is_missing_is_told_together(tmp_path):
    path = tmp_path / "CITATION.cff"
    path.write_text(yaml.safe_dump({"title": "x"}))
    with pytest.raises(citation.CitationError, match="has no authors, version, date-released"):
        citation.read(path)
    path.write_text("{")
    with pytest.raises(citation.CitationError, match="cannot be read"):
        citation.read(path)
    with pytest.raises(citation.CitationError, match="cannot be read"):
        citation.read(tmp_path / "none")
