"""What the book's extension mends in written pages; that nothing is left to mend, a browser tests on the whole book."""

from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]

from accessible import mend_pages, mended  # noqa: E402

SIDEBAR = '<div id="pst-primary-sidebar" class="bd-sidebar-primary bd-sidebar"'
FAULTS = {
    '<button class="btn search-button-field pst-js-only" title="Search" aria-label="Search" data-x="1">':
        '<button class="btn search-button-field pst-js-only" title="Search" data-x="1">',
    '<button class="btn theme-switch-button" aria-label="Color mode" data-bs-title="Color mode"  data-x="1">':
        '<button class="btn theme-switch-button" aria-label="Colour mode" data-bs-title="Colour mode"  data-x="1">',
    '<i class="theme-switch fa-sun   fa-lg" data-mode="light" title="Light"></i>':
        '<i class="theme-switch fa-sun   fa-lg" data-mode="light"></i>',
    '<summary aria-label="Toggle hidden content">\n<p>Show</p>': "<summary>\n<p>Show</p>",
    '<div class="citation" id="id24" role="doc-biblioentry">': '<div class="citation" id="id24" role="listitem">',
    "<tr><th></th><th>Dice</th></tr>": "<tr><td></td><th>Dice</th></tr>",
    '<th class="head"><p></p></th>': '<td class="head"></td>',
    SIDEBAR + ">": SIDEBAR + ' role="complementary" aria-label="The book">',
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_mended_once(fault):
    assert mended(fault) == FAULTS[fault]
    assert mended(mended(fault)) == FAULTS[fault]


@pytest.mark.parametrize(
    "fine",
    [
        '<button class="btn search-button" title="Search" aria-label="Search">',  # an icon alone needs its label
        '<summary aria-label="Anything else">',
        '<th scope="row"></th>',
        "<th><p>Dice</p></th>",
        '<i class="fa-sun" title="Light"></i>',
    ],
)
def test_what_is_no_fault_stays(fine):
    assert mended(fine) == fine


def test_pages_at_any_depth_are_mended_and_others_not_even_touched(tmp_path):
    (tmp_path / "deep").mkdir()
    faulty, fine = tmp_path / "deep" / "a.html", tmp_path / "b.html"
    faulty.write_text('<summary aria-label="Toggle hidden content">', encoding="utf-8")
    fine.write_text("<p>Ödem</p>", encoding="utf-8")
    before = fine.stat()
    mend_pages(SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path), None)
    assert faulty.read_text(encoding="utf-8") == "<summary>"
    assert (fine.stat().st_mtime_ns, fine.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert sorted(path.name for path in tmp_path.rglob("*.html")) == ["a.html", "b.html"]


@pytest.mark.parametrize(("form", "exception"), [("latex", None), ("html", RuntimeError("a warning"))])
def test_only_whole_builds_of_pages_are_mended(tmp_path, form, exception):
    page = tmp_path / "a.html"
    page.write_text('<summary aria-label="Toggle hidden content">', encoding="utf-8")
    mend_pages(SimpleNamespace(builder=SimpleNamespace(format=form), outdir=tmp_path), exception)
    assert "aria-label" in page.read_text(encoding="utf-8")
