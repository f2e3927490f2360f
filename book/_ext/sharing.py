"""Sphinx extension: what is shown where somebody passes a page's link on: its title, its first paragraph and, where the
configuration says at which address the book is published (``html_baseurl``), a picture, which needs a whole address."""

from html import escape
from textwrap import shorten
from urllib.parse import urljoin

from docutils import nodes

PICTURE, SAYS = "_static/viewer.png", "A brain tumour in three planes, with what experts and a network drew in it"
LONGEST = 200  # characters of a description; more is cut where links are shown


def tags(doctree: nodes.document, base: str | None) -> str:
    """The ``meta`` elements of a page."""
    title = next(doctree.findall(nodes.title), None)
    paragraph = next((one for one in doctree.findall(nodes.paragraph) if isinstance(one.parent, nodes.section)), None)
    said = {"og:type": "article", "og:title": title, "og:description": paragraph, "description": paragraph}
    if base:
        said |= {"og:image": urljoin(base, PICTURE), "og:image:alt": SAYS}
    return "\n".join(
        f'<meta {"property" if ":" in name else "name"}="{name}" content="{escape(_plain(value))}" />'
        for name, value in said.items()
        if value is not None
    )


def _plain(value: nodes.Element | str) -> str:
    return shorten(value if isinstance(value, str) else value.astext(), LONGEST, placeholder=" …")


def describe(app, pagename, templatename, context, doctree) -> None:
    if doctree is not None:
        context["metatags"] += tags(doctree, app.config.html_baseurl)


def setup(app):
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
