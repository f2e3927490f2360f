"""Sphinx extension: how to cite, from ``CITATION.cff`` and a record, when the book is built.

Directives: ``cite-plain``, ``cite-bibtex``, ``cite-references`` and ``cite-number``, an example for a single number.
"""

from pathlib import Path

from docutils import nodes
from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from gbmlib.pages import citation
from gbmlib.study import scales
from gbmlib.study.records import Store


class FromFile(SphinxDirective):
    """What they share: no arguments, no content, and the file that they depend on."""

    def run(self) -> list[Node]:
        path = Path(self.env.srcdir) / citation.FILE
        self.env.note_dependency(str(path))
        return self.shown(citation.read(path))


class Plain(FromFile):
    def shown(self, of) -> list[Node]:
        return [block(citation.plain(of))]


class Bibtex(FromFile):
    def shown(self, of) -> list[Node]:
        return [block(citation.bibtex(of), "bibtex")]


class References(FromFile):
    def shown(self, of) -> list[Node]:
        items = (nodes.list_item("", nodes.paragraph(text=one)) for one in citation.references(of))
        return [nodes.bullet_list("", *items, classes=["gbm-citation"])]


class Number(FromFile):
    """Of the first fold of the published baseline; without a record, nothing."""

    def shown(self, of) -> list[Node]:
        store = Store(Path(self.env.srcdir) / "book/records")
        records = (store.get(scales.vnet(scale)[0]) for scale in (scales.DEFAULT, "short"))
        record = next((record for record in records if record), None)
        if record is None:
            return [nodes.paragraph(text="No record is published yet.")]
        self.env.note_dependency(str(record.path / "cases.csv"))
        return [block(citation.of_number(of, record, "WT"))]


def block(text: str, language: str = "none") -> Node:
    """Text to copy; long lines wrap."""
    return nodes.literal_block(text, text, language=language, classes=["gbm-citation"])


def setup(app):
    directives = {"plain": Plain, "bibtex": Bibtex, "references": References, "number": Number}
    for name, directive in directives.items():
        app.add_directive(f"cite-{name}", directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
