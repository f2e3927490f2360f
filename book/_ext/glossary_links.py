"""Sphinx extension: a page's first use of each glossary term leads to the glossary, and shows the definition on hover.

The sources stay as they are written: a chapter that is a notebook reads the same in JupyterLab, where a role would show
as raw text. Only running prose is linked, not headings, links, code, formulae, tables, captions or what a notebook
computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from docutils import nodes
from sphinx import addnodes

#: The page with the glossary.
PAGE = "book/glossary"

#: Longer definitions are cut at a word when they are shown on hover.
HOVER = 240

#: Entries whose words also have an everyday meaning ("to run", "in this case"): defined, but not linked by themselves.
EVERYDAY = {
    "case",
    "channel",
    "component",
    "loss",
    "margin",
    "record",
    "residual",
    "run",
    "screening",
    "sound",
    "step",
    "undecided",
}

#: Within these nothing is linked. ``cell_output`` is the class of what a notebook's cell gave, ``sd-summary-title`` of
#: what opens a dropdown when it is clicked.
EXCLUDED = (
    nodes.title,
    nodes.subtitle,
    nodes.rubric,
    nodes.caption,
    nodes.reference,
    addnodes.pending_xref,
    addnodes.download_reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.table,
    nodes.term,
    nodes.footnote,
    nodes.citation,
    nodes.comment,
    nodes.Invisible,
)
EXCLUDED_CLASSES = {"cell_output", "cell_input", "gbm-claims-of", "gbm-citation", "sd-summary-title"}


@dataclass(frozen=True)
class Entry:
    """An entry of the glossary, under one or several names.

    Attributes:
        names: the terms that share the definition.
        anchor: of the first of them on the glossary's page.
        definition: as plain text.
    """

    names: tuple[str, ...]
    anchor: str
    definition: str

    @cached_property
    def hover(self) -> str:
        """The definition, short enough for a tooltip."""
        text = " ".join(self.definition.split())
        return text if len(text) <= HOVER else text[:HOVER].rsplit(" ", 1)[0] + " …"


def entries(document: nodes.document) -> list[Entry]:
    """All entries of a document's glossaries, in order."""
    glossaries, listed = document.findall(addnodes.glossary), []
    for item in (item for glossary in glossaries for item in glossary.findall(nodes.definition_list_item)):
        terms = [child for child in item.children if isinstance(child, nodes.term)]
        definition = " ".join(child.astext() for child in item.children if isinstance(child, nodes.definition))
        listed.append(Entry(tuple(term.astext() for term in terms), terms[0]["ids"][0], definition))
    return listed


def pattern(glossary: list[Entry]) -> tuple[re.Pattern[str], dict[str, Entry]]:
    """A pattern that matches any of the terms in a text, and the entries by their names in lower case.

    Longer terms win over shorter ones within them. A plural in s counts. Capitals matter for abbreviations (``ET``, not
    ``et``); all other terms may begin a sentence.
    """
    by_name = {name.lower(): entry for entry in glossary for name in entry.names if name not in EVERYDAY}
    spelled = {name for entry in glossary for name in entry.names if name not in EVERYDAY}
    names = sorted(spelled, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(_spelled, names))})s?(?![\w-])"), by_name


def _spelled(name: str) -> str:
    """A term as a regular expression: line breaks count as spaces."""
    first, rest = name[0], r"\s+".join(map(re.escape, name[1:].split(" ")))
    return (f"[{first.upper()}{first}]" if first.islower() else re.escape(first)) + rest


def link(document: nodes.document, glossary: list[Entry], address: str) -> list[str]:
    """Turn the first mention of each entry into a link to ``address#anchor``; the names that were linked, in order."""
    if not glossary:
        return []
    finder, by_name = pattern(glossary)
    for node in list(document.findall(nodes.TextElement)):
        _join_lines(node)
    seen: set[Entry] = set()
    linked = []
    for text in list(_prose(document)):
        parts: list[nodes.Node] = []
        end = 0
        for match in finder.finditer(text):
            entry = by_name.get(_singular(match[0], by_name))
            if entry is None or entry in seen:
                continue
            seen.add(entry)
            linked.append(match[0])
            target = nodes.reference("", match[0], internal=True, refuri=f"{address}#{entry.anchor}")
            target["reftitle"] = entry.hover
            target["classes"] = ["gbm-term"]
            parts += [nodes.Text(text[end : match.start()]), target]
            end = match.end()
        if parts:
            parent = text.parent
            parent.replace(text, [node for node in (*parts, nodes.Text(text[end:])) if node.astext()])
    return linked


def _join_lines(node: nodes.TextElement) -> None:
    """Make one text of several in a row: Markdown gives each line its own, and a term may reach over two."""
    for number in range(len(node) - 1, 0, -1):
        before, text = node[number - 1], node[number]
        if type(before) is type(text) is nodes.Text:
            node[number - 1 : number + 1] = [nodes.Text(before + text)]


def _singular(mention: str, by_name: dict[str, Entry]) -> str:
    name = " ".join(mention.lower().split())
    return name if name in by_name else name.removesuffix("s")


def _prose(document: nodes.document) -> Iterator[nodes.Text]:
    """The texts of paragraphs that are not within what is excluded."""

    def walk(node: nodes.Node) -> Iterator[nodes.Text]:
        for child in node.children:
            if isinstance(child, nodes.Text):
                yield child
            elif not isinstance(child, EXCLUDED) and not EXCLUDED_CLASSES & set(child.get("classes", ())):
                yield from walk(child)

    yield from walk(document)


def link_page(app, document: nodes.document, name: str) -> None:
    """Link a page of the book, once its own references are resolved."""
    if app.builder.format != "html" or name == PAGE or PAGE not in app.env.found_docs:
        return
    link(document, entries(app.env.get_doctree(PAGE)), app.builder.get_relative_uri(name, PAGE))


def setup(app):
    app.connect("doctree-resolved", link_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
