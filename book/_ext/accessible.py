"""Sphinx extension: mends what theme and builders write against the rules for accessible pages.

Each mend is for a finding of axe-core on the pages themselves (tests/book/test_accessibility.py looks at all of them).
Names that screen readers say must hold the words that are seen, or a reader who speaks to the computer cannot name the
button; a list must hold list items.
"""

import re
from pathlib import Path

from gbmlib.files import written

_MENDS = [
    # Shown is "Search Ctrl+K"; without a label of its own, the button is called by what it shows.
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="[^"]*"'), r"\1"),
    # Its icons bring names of their own, "Light" and "Dark", for a button that is called by what it does.
    (re.compile(r'(<i class="theme-switch [^>]*?) +title="[^"]*"'), r"\1"),
    (re.compile(r'(<button [^>]*theme-switch-button[^>]*?)aria-label="Color mode" data-bs-title="Color mode"'),
     r'\1aria-label="Colour mode" data-bs-title="Colour mode"'),
    # "Show code", the summary says, or what is folded; the label hid that.
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # The corner of a table, above its first column, heads nothing.
    (re.compile(r'<th(| class="head")>(<p></p>)?</th>'), r"<td\1></td>"),
    # What lies beside the pages belongs to a landmark, the book's title above its contents included.
    (re.compile(r'(<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar")>'),
     r'\1 role="complementary" aria-label="The book">'),
    # A role that has been withdrawn, within a list.
    (re.compile(r'(<div class="citation"[^>]*) role="doc-biblioentry"'), r'\1 role="listitem"'),
]  # fmt: skip


def mended(html: str) -> str:
    """The page with everything mended; what is mended already stays as it is."""
    for fault, mend in _MENDS:
        html = fault.sub(mend, html)
    return html


def mend_pages(app, exception) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        before = path.read_text(encoding="utf-8")
        after = mended(before)
        if after != before:
            with written(path) as unfinished:
                unfinished.write_text(after, encoding="utf-8")


def setup(app):
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
