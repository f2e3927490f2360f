"""Sphinx extension: how to cite the study and single numbers of it, from ``CITATION.cff`` and a record.

Directives: ``cite-plain``, ``cite-bibtex``, ``cite-references`` and ``cite-number``, an example for a single number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from gbmlib.study import scales
from gbmlib.study.records import HELD_OUT, Record, Store

FILE = Path("CITATION.cff")

#: What a citation needs of the file.
NEEDED = ("title", "authors", "version", "date-released")


class CitationError(ValueError):
    """``CITATION.cff`` lacks what a citation needs; the message lists all of it."""


def read(path: str | Path = FILE) -> dict[str, Any]:
    """The Citation File Format as a mapping.

    Raises:
        CitationError: the file cannot be read, or fields are missing.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CitationError(f"{path} cannot be read: {error}") from error
    missing = [name for name in NEEDED if not (isinstance(content, dict) and content.get(name))]
    if missing:
        raise CitationError(f"{path} has no {', '.join(missing)}; a citation needs {', '.join(NEEDED)}")
    return content


def year(citation: Mapping[str, Any]) -> str:
    """The year of the release."""
    return str(citation["date-released"])[:4]


def plain(citation: Mapping[str, Any]) -> str:
    """A citation as running text."""
    where = (
        (citation.get("doi") and f"https://doi.org/{citation['doi']}")
        or citation.get("repository-code")
        or citation.get("url")
    )
    title = f"{citation['title']}, version {citation['version']}"
    text = f"{_people(citation['authors'])} ({year(citation)}). {title}. Software and Jupyter Book"
    return text + (f". {where}" if where else ".")


def bibtex(citation: Mapping[str, Any], key: str = "gbmlib") -> str:
    """The same as an entry for BibTeX."""
    fields = {
        "author": " and ".join(_for_bibtex(author) for author in citation["authors"]),
        "title": f"{{{_escaped(citation['title'])}}}",
        "year": year(citation),
        "note": f"Version {citation['version']}, software and Jupyter Book",
        "doi": citation.get("doi"),
        "url": citation.get("repository-code") or citation.get("url"),
    }
    lines = [f"  {name:<6} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key}{year(citation)},", *lines, "}"])


def of_number(citation: Mapping[str, Any], record: Record, region: str, metric: str = "dice") -> str:
    """How one number, the mean of a metric over the held-out cases of a run, is cited: with its record and versions.

    Raises:
        ValueError: the record has no such number.
    """
    cases = record.cases
    chosen = cases[(cases.split == HELD_OUT) & (cases.region == region) & (cases.metric == metric)]
    if chosen.empty:
        raise ValueError(f"record {record.id} has no {metric} of {region} in held-out cases")
    provenance = record.provenance
    return (
        f"{metric.capitalize()} of {region} {chosen.value.mean():.3f}, mean over {len(chosen)} held-out cases of "
        f"{record.experiment.cohort}: record {record.id} (code {provenance['gbmlib']}, commit {provenance['commit']}, "
        f"numerics {provenance['numerics']}, data {provenance['fingerprint']}), in {plain(citation)}"
    )


def references(citation: Mapping[str, Any]) -> list[str]:
    """What the study builds on, as running text."""
    return [
        f"{_people(one['authors'])} ({one['year']}). {one['title']}." + (f" {one['url']}" if one.get("url") else "")
        for one in citation.get("references", ())
    ]


def _people(authors: Sequence[Mapping[str, str]]) -> str:
    names = [
        author.get("name") or f"{author['family-names']}, {_initials(author['given-names'])}" for author in authors
    ]
    if len(names) > 3:
        return f"{names[0]} et al."
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _initials(names: str) -> str:
    return " ".join(f"{name[0]}." for name in names.split())


def _for_bibtex(author: Mapping[str, str]) -> str:
    """An organisation is braced, lest its words be taken for first and last names."""
    if "name" in author:
        return f"{{{_escaped(author['name'])}}}"
    return _escaped(f"{author['family-names']}, {author['given-names']}")


def _escaped(text: str) -> str:
    return re.sub(r"([&%#_$])", r"\\\1", text)


# ---------------------------------------------------------------------------------------------------------- directives


class FromFile(SphinxDirective):
    """Base of the directives: no arguments, no content, and the file that they depend on."""

    def run(self) -> list[Node]:
        path = Path(self.env.srcdir) / FILE
        self.env.note_dependency(str(path))
        return self.shown(read(path))


class Plain(FromFile):
    def shown(self, citation) -> list[Node]:
        return [block(plain(citation))]


class Bibtex(FromFile):
    def shown(self, citation) -> list[Node]:
        return [block(bibtex(citation), "bibtex")]


class References(FromFile):
    def shown(self, citation) -> list[Node]:
        items = (nodes.list_item("", nodes.paragraph(text=one)) for one in references(citation))
        return [nodes.bullet_list("", *items, classes=["gbm-citation"])]


class Number(FromFile):
    """A number of the first fold of the published baseline, or a sentence where no record is published."""

    def shown(self, citation) -> list[Node]:
        store = Store(Path(self.env.srcdir) / "book/records")
        records = (store.get(scales.vnet(scale)[0]) for scale in (scales.DEFAULT, "short"))
        record = next((record for record in records if record), None)
        if record is None:
            return [nodes.paragraph(text="No record is published yet.")]
        self.env.note_dependency(str(record.path / "cases.csv"))
        return [block(of_number(citation, record, "WT"))]


def block(text: str, language: str = "none") -> Node:
    """Text to copy; long lines wrap."""
    return nodes.literal_block(text, text, language=language, classes=["gbm-citation"])


def setup(app):
    directives = {"plain": Plain, "bibtex": Bibtex, "references": References, "number": Number}
    for name, directive in directives.items():
        app.add_directive(f"cite-{name}", directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
