"""Sphinx extension: the search shows excerpts of the pages it finds, also where the book is opened from the disk.

Sphinx's search fetches each page that it found, which a browser refuses below ``file://``. So the text of all pages is
written into one script, which the search page alone loads, and which answers in place of ``fetch``.
"""

import json
from pathlib import Path

from bs4 import BeautifulSoup

from gbmlib.files import written

SCRIPT = "search_excerpts.js"

#: What readers do not see as text.
HIDDEN = "script, style, svg, template, .headerlink, .cell_input, details.hide > summary"

ANSWERS = """\
const pages = {pages};
window.fetch = (address) => Promise.resolve({{ text: () => pages[address.replace(/^[.][/]/, "")] }});
"""


def excerpt(html: str) -> str:
    """The text of a page, in its sections: what Sphinx's search looks for in a page that it has fetched."""
    article = BeautifulSoup(html, "html.parser").select_one("article")
    for hidden in article.select(HIDDEN):
        hidden.decompose()
    for block in article.select("p, dt, dd, li, td, th, summary, h1, h2, h3"):
        block.append(" ")  # or the words of two would run together
    for tag in article.find_all(True):
        if tag.name != "section":
            tag.unwrap()
    text = " ".join(article.decode_contents().split())
    return f'<main role="main">{text}</main>'


def load(app, pagename, templatename, context, doctree) -> None:
    """The search page loads the script."""
    if pagename == "search":
        app.add_js_file(SCRIPT)


def write(app, exception) -> None:
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    addresses = [app.builder.get_target_uri(name) for name in sorted(app.env.found_docs)]
    pages = {address: excerpt((out / address).read_text(encoding="utf-8")) for address in addresses}
    with written(out / "_static" / SCRIPT) as unfinished:
        unfinished.write_text(ANSWERS.format(pages=json.dumps(pages, ensure_ascii=False)), encoding="utf-8")


def setup(app):
    app.connect("html-page-context", load)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
