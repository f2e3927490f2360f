"""Making the book: what is made anew and what is not, and that a fault anywhere stops it."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from making import SMALL, make

ROOT = Path(__file__).resolve().parents[2]

from offline import outside_assets  # noqa: E402

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """The addresses in a page and the anchors that it offers."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs.get("id"), attrs.get("name")}
        self.links += [attrs[name] for name in ("href", "src") if attrs.get(name)]


def test_every_chapter_has_its_page(pages):
    assert (pages / "index.html").is_file()
    made = {path.relative_to(pages).with_suffix("").as_posix() for path in pages.glob("book/**/*.html")}
    notebooks = {f"book/runs/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    prose = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert made == prose | notebooks
    assert len(prose) >= 5


def test_no_page_or_style_refers_to_an_asset_elsewhere(pages):
    for path in [*pages.rglob("*.html"), *pages.rglob("*.css")]:
        assert outside_assets(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        "<script async\n src='//cdn.example/x.js'></script>",
        '<img alt="a" src="http://example.org/a.png">',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link href="https://fonts.example/css" rel="stylesheet">',
        "a { background: url(https://example.org/a.png) }",
        "@import 'https://example.org/a.css';",
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_an_asset_elsewhere_is_recognised(text):
    assert len(outside_assets(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://example.org">a link</a>',
        '<script src="../_static/x.js"></script>',
        '<link rel="canonical" href="https://example.org/page.html">',
        '<img alt="a" src="data:image/png;base64,AAAA">',
        "<p>https://example.org/x.js</p>",
    ],
)
def test_a_link_or_a_local_file_is_no_such_asset(text):
    assert outside_assets(text) == []


def test_every_address_within_the_book_leads_somewhere(pages):
    parsed = {path: Page(path) for path in pages.rglob("*.html") if "_static" not in path.parts}
    for path, page in parsed.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            address, anchor = urldefrag(link)
            target = (path.parent / unquote(address.split("?")[0])).resolve() if address else path
            assert target.exists(), f"{path.name}: {link}"
            if anchor and target in parsed:
                assert unquote(anchor) in parsed[target].anchors, f"{path.name}: {link}"


def test_pages_are_not_rendered_again_where_nothing_has_changed(changeable):
    page = changeable / "_build/html/book/intro.html"
    (changeable / "book/intro.md").touch()
    before = page.stat().st_mtime_ns
    done = make(changeable, "book", SMALL)
    assert (done.returncode, "== No page has changed" in done.stdout) == (0, True), done.stdout + done.stderr
    assert page.stat().st_mtime_ns == before


def test_executed_copies_follow_contents_and_not_dates(changeable):
    inputs, code = changeable / "book/runs/.inputs", changeable / "gbmlib/__init__.py"

    def asked(*arguments):
        make(changeable, "book/runs/.inputs", *arguments)
        return inputs.stat().st_mtime_ns

    before = asked(SMALL)
    code.touch()
    assert asked(SMALL) == before
    code.write_text(code.read_text() + "\n# more\n")
    after_code = asked(SMALL)
    assert after_code > before
    (changeable / "book/records").mkdir(exist_ok=True)
    (changeable / "book/records/new.json").write_text("{}")
    after_record = asked(SMALL)
    assert after_record > after_code
    assert asked("PARAMETERS=-p profile demo -p case 'a b'") > after_record


def test_faults_in_a_page_stop_the_build_and_leave_the_last_good_pages(changeable):
    """And nothing is executed again, since no notebook changed."""
    faults = {
        "See [this](nowhere.md).": "nowhere.md",
        "See {ref}`nothing-of-this-name`.": "nothing-of-this-name",
        "See {cite}`nobody1900nothing`.": "nobody1900nothing",
        '<script src="https://cdn.example/x.js"></script>': "https://cdn.example/x.js",
    }
    page = changeable / "book" / "intro.md"
    page.write_text(page.read_text() + "\n" + "\n\n".join(faults))
    old = (changeable / "_build/html/book/intro.html").read_text()
    done = make(changeable, "book", SMALL)
    assert done.returncode != 0
    assert "== notebooks/" not in done.stdout
    assert "== Rendering" in done.stdout
    assert [complaint for complaint in faults.values() if complaint not in done.stderr] == []
    assert "The book is ready" not in done.stdout
    assert (changeable / "_build/html/book/intro.html").read_text() == old


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook of code cells, the first of them the parameters."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)


def test_a_notebook_that_crashes_stops_the_build_and_is_kept_to_be_read(changeable):
    write_notebook(
        changeable / "notebooks" / "00_crash.ipynb", "luck = 'no such'", "raise RuntimeError(luck + ' luck')"
    )
    done = make(changeable, "book", SMALL)
    assert done.returncode != 0
    assert "no such luck" in done.stderr
    assert "== Rendering" not in done.stdout
    assert not (changeable / "book/runs/00_crash.ipynb").exists()
    kept = nbformat.read(changeable / "book/runs/00_crash.failed.ipynb", 4)
    assert any("no such luck" in str(cell.get("outputs")) for cell in kept.cells)


def test_rerun_keeps_a_copy_named_by_the_time(changeable):
    show = "import os; print('hello', who, os.path.exists('_toc.yml'))"
    write_notebook(changeable / "notebooks" / "00_hello.ipynb", "who = 'nobody'", show)
    done = make(changeable, "rerun", "NOTEBOOK=00_hello", 'ARGS=-p who "a reader, say"')
    assert done.returncode == 0, done.stderr
    (copy,) = (changeable / "runs" / "notebooks").iterdir()
    assert re.fullmatch(r"00_hello-\d{8}T\d{6}Z\.ipynb", copy.name)
    assert f"runs/notebooks/{copy.name}" in done.stdout
    assert "hello a reader, say True" in done.stderr  # what a notebook says is shown while it runs
    assert "hello a reader, say True" in str(nbformat.read(copy, 4).cells[-1].outputs)
