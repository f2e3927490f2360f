"""Sphinx extension: the claims of the two papers, decided from the published records when the book is built.

The directive ``claims`` is the table with its filter, ``claims-grid`` a square for each, ``claims-tests`` how
many tests are behind them. Each row is a target (``{ref}`claim-ID```), and each chapter that discusses a claim
gets a list of its claims and their verdicts before its first section, with links to the rows.
"""

from contextlib import chdir
from functools import cache
from pathlib import Path

import claims_text
from docutils import nodes
from docutils.nodes import Node
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxDirective

from gbmlib.claims import ledger, verdicts
from gbmlib.study.records import Store

#: Of the page with the table.
PAGE = "book/claims"


@cache
def decided(root: str) -> dict[str, verdicts.Verdict]:
    """The verdicts, once a build; ``root`` is the repository's."""
    with chdir(root):  # fingerprints of published cohorts are looked for from there
        return verdicts.decide(ledger.read(Path("book/claims.yml")), Store("book/records"))


class FromClaims(SphinxDirective):
    """Base of the directives: no arguments, no content, and what they depend on."""

    @property
    def verdicts(self) -> dict[str, verdicts.Verdict]:
        root = Path(self.env.srcdir)
        for path in (root / "book/claims.yml", *root.glob("book/records/*/cases.csv")):
            self.env.note_dependency(str(path))
        return decided(str(root))


class Claims(FromClaims):
    """The table: a row a claim."""

    def run(self) -> list[Node]:
        decisions, std = self.verdicts, self.env.get_domain("std")
        titles, families = claims_text.titles(self.env.srcdir), claims_text.family_sizes(decisions)
        group = nodes.tgroup(cols=len(claims_text.COLUMNS))
        group += [nodes.colspec(colwidth=width) for width in (46, 29, 25)]
        head = nodes.row()
        head += [nodes.entry("", nodes.paragraph(text=name)) for name in claims_text.COLUMNS]
        body = nodes.tbody()
        for verdict in decisions.values():
            claim = verdict.claim
            row = nodes.row(ids=[claim.anchor], classes=claims_text.classes(verdict))
            std.note_hyperlink_target(claim.anchor, self.env.docname, claim.anchor, claim.title)
            link = f"[{titles[claim.chapter]}]({_document(self.env.srcdir, claim.chapter)})"
            row += [nodes.entry("", *self.parse_text_to_nodes(cell)) for cell in claims_text.cells(verdict, link)]
            if more := claims_text.details(verdict, families):
                row[0] += nodes.raw("", "<details><summary>In numbers</summary>", format="html")
                row[0] += self.parse_text_to_nodes(more)
                row[0] += nodes.raw("", "</details>", format="html")
            body += row
        group += [nodes.thead("", head), body]
        table = nodes.table("", group, classes=["gbm-claims"])
        return [nodes.raw("", claims_text.controls(decisions, titles), format="html"), table]


class Grid(FromClaims):
    """``claims_text.grid``."""

    def run(self) -> list[Node]:
        return [nodes.raw("", claims_text.grid(self.verdicts), format="html")]


class Tests(FromClaims):
    """``claims_text.tests``."""

    def run(self) -> list[Node]:
        return self.parse_text_to_nodes(claims_text.tests(self.verdicts))


def _document(root: Path, chapter: str) -> str:
    """The path of a chapter's source from the page of the claims."""
    return f"{chapter}.md" if (Path(root) / f"book/{chapter}.md").exists() else f"runs/{chapter}.ipynb"


def list_in_chapter(app, document: nodes.document) -> None:
    """Before a chapter's first section, the claims that it discusses."""
    name = app.env.docname
    if PAGE not in app.env.found_docs or name == PAGE:
        return
    here = [
        verdict for verdict in decided(str(app.srcdir)).values() if verdict.claim.chapter == name.rsplit("/", 1)[-1]
    ]
    chapter = next(iter(document.findall(nodes.section)), None)
    if not here or chapter is None:
        return
    items = nodes.bullet_list()
    for verdict in here:
        link = pending_xref(
            "",
            nodes.inline(text=verdict.claim.title),
            refdomain="std",
            reftype="ref",
            reftarget=verdict.claim.anchor,
            refexplicit=True,
            refwarn=True,
            refdoc=name,
        )
        answer = nodes.Text(f": {claims_text.MARKS[verdict.word]} {verdict.word}")
        items += nodes.list_item("", nodes.paragraph("", "", link, answer))
    note = nodes.admonition(
        "", nodes.title(text="Claims that this chapter discusses"), items, classes=["gbm-claims-of"]
    )
    sections = [number for number, child in enumerate(chapter.children) if isinstance(child, nodes.section)]
    chapter.insert(sections[0] if sections else len(chapter.children), note)
    app.env.note_dependency(str(Path(app.srcdir) / "book/claims.yml"))


def setup(app):
    for name, directive in (("claims", Claims), ("claims-grid", Grid), ("claims-tests", Tests)):
        app.add_directive(name, directive)
    app.connect("doctree-read", list_in_chapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
