"""Sphinx extension: the claims of the two papers, decided from the published records when the book is built.

The directive ``claims`` is the table with its filter, ``claims-grid`` a square for each, ``claims-tests`` how
many tests are behind them, ``claims-not-decided`` how many lack a verdict, and why. Each row is a target
(``{ref}`claim-ID```), and each chapter that discusses a claim gets a list of its claims and their verdicts after its
answer, with links to the rows.
"""

import html
from collections.abc import Mapping
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
    """What all of them share: no arguments, no content, and what they depend on."""

    @property
    def verdicts(self) -> dict[str, verdicts.Verdict]:
        root = Path(self.env.srcdir)
        for path in (root / "book/claims.yml", *root.glob("book/records/*/cases.csv")):
            self.env.note_dependency(str(path))
        return decided(str(root))


class Claims(FromClaims):
    """The table: a row a claim, below its chapter. A claim's title opens what is behind its verdict."""

    def run(self) -> list[Node]:
        found, std = self.verdicts, self.env.get_domain("std")
        titles, families = claims_text.titles(self.env.srcdir), claims_text.family_sizes(found)
        group = nodes.tgroup(cols=len(claims_text.COLUMNS))
        group += [nodes.colspec(colwidth=width) for width in (48, 20, 32)]
        head, body = nodes.row(), nodes.tbody()
        head += [nodes.entry("", nodes.paragraph(text=name)) for name in claims_text.COLUMNS]
        for chapter in sorted({verdict.claim.chapter for verdict in found.values()}):
            link = f"[{titles[chapter]}]({_document(self.env.srcdir, chapter)})"
            whole = nodes.entry("", *self.parse_text_to_nodes(link), morecols=len(claims_text.COLUMNS) - 1)
            body += nodes.row("", whole, classes=["gbm-claims-chapter"])
            body += [self.row(of, families) for of in found.values() if of.claim.chapter == chapter]
        for claim in (verdict.claim for verdict in found.values()):
            std.note_hyperlink_target(claim.anchor, self.env.docname, claim.anchor, claim.title)
        group += [nodes.thead("", head), body]
        table = nodes.table("", group, classes=["gbm-claims"])
        return [nodes.raw("", claims_text.controls(found, titles), format="html"), table]

    def row(self, verdict: verdicts.Verdict, families: Mapping[str, int]) -> nodes.row:
        title = html.escape(verdict.claim.title)
        behind = [
            nodes.raw("", f"<details><summary>{title}</summary>", format="html"),
            *self.parse_text_to_nodes(claims_text.details(verdict, families)),
            nodes.raw("", "</details>", format="html"),
        ]
        word = nodes.paragraph(text=f"{claims_text.MARKS[verdict.word]} {verdict.label}")
        evidence = nodes.paragraph(text=claims_text.evidence(verdict))
        row = nodes.row(ids=[verdict.claim.anchor], classes=claims_text.classes(verdict))
        row += [nodes.entry("", *cell) for cell in (behind, [word], [evidence])]
        return row


class Grid(FromClaims):
    """``claims_text.grid``."""

    def run(self) -> list[Node]:
        return [nodes.raw("", claims_text.grid(self.verdicts), format="html")]


class Tests(FromClaims):
    """``claims_text.tests``."""

    def run(self) -> list[Node]:
        return self.parse_text_to_nodes(claims_text.tests(self.verdicts))


class NotDecided(FromClaims):
    """``claims_text.not_decided``."""

    def run(self) -> list[Node]:
        return self.parse_text_to_nodes(claims_text.not_decided(self.verdicts))


def _document(root: Path, chapter: str) -> str:
    """The path of a chapter's source from the page of the claims."""
    return f"{chapter}.md" if (Path(root) / f"book/{chapter}.md").exists() else f"runs/{chapter}.ipynb"


def list_in_chapter(app, document: nodes.document) -> None:
    """After a chapter's answer, or before its first section, the claims that it discusses."""
    name = app.env.docname
    if PAGE not in app.env.found_docs or name == PAGE:
        return
    here = [of for of in decided(str(app.srcdir)).values() if of.claim.chapter == name.rsplit("/", 1)[-1]]
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
        said = nodes.Text(f": {claims_text.MARKS[verdict.word]} {verdict.word}")
        items += nodes.list_item("", nodes.paragraph("", "", link, said))
    note = nodes.admonition(
        "", nodes.title(text="Claims that this chapter discusses"), items, classes=["gbm-claims-of", "dropdown"]
    )
    sections = [child for child in chapter.children if isinstance(child, nodes.section)]
    answers = [section for section in sections if section.next_node(nodes.title).astext() == "Answer"]
    if answers:
        answers[0] += note
    else:
        chapter.insert(chapter.index(sections[0]) if sections else len(chapter.children), note)
    app.env.note_dependency(str(Path(app.srcdir) / "book/claims.yml"))


def setup(app):
    directives = {"claims": Claims, "claims-grid": Grid, "claims-tests": Tests, "claims-not-decided": NotDecided}
    for name, directive in directives.items():
        app.add_directive(name, directive)
    app.connect("doctree-read", list_in_chapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
