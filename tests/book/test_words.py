"""The book is short enough to be read: how many words a reader sees without opening anything."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

#: Of a page, and of all pages together.
A_PAGE, ALL = 3_000, 28_000

#: What is no prose, table or caption, what is folded, and what only a reader's own training shows.
NOT_READ = (
    "script, style, template, noscript, svg, .js-plotly-plot, .plotly, .math, .cell_input, .highlight, .headerlink, "
    "details:not([open]) > :not(summary), #train-it-yourself .cell_output"
)


def visible_words(html: str) -> int:
    article = BeautifulSoup(html, "html.parser").select_one("article")
    for hidden in article.select(NOT_READ):
        hidden.decompose()
    return len(re.findall(r"\b\w[\w'’.,-]*", article.get_text(" ")))


def test_words_are_those_that_are_seen():
    assert (
        visible_words("<p>Around it</p><article><h1>Two words</h1> and 0.5 or -1,000.<script>no</script></article>")
        == 6
    )
    folded = "<summary>Three more words</summary><p>Folded.</p><details><summary>Both</summary><p>No</p></details>"
    assert visible_words(f"<article><details>{folded}</details></article>") == 3
    assert visible_words(f"<article><details open>{folded}</details></article>") == 5
    training = '<p>Seen.</p><div class="cell_output">0.5</div>'
    assert visible_words(f'<article>{training}<section id="train-it-yourself">{training}</section></article>') == 3


@pytest.mark.slow
def test_no_page_and_not_all_of_them_are_too_long(pages: Path):
    words = {path.stem: visible_words(path.read_text(encoding="utf-8")) for path in pages.glob("book/**/*.html")}
    assert {name: count for name, count in words.items() if count > A_PAGE} == {}
    assert sum(words.values()) <= ALL, words
