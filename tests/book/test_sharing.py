"""What is shown of a page where its link is passed on."""

import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """
import sys
sys.path.insert(0, {ext!r})
extensions, html_baseurl = ["myst_parser", "sharing"], {base!r}
"""
PAGE = '# Which "one"?\n\n```{{note}}\nNot this.\n```\n\nBoth < one\nof *them*. {more}\n\nA second paragraph.\n'


@pytest.mark.parametrize("base", ["", "https://example.org/book/"])
def test_a_page_has_a_title_a_description_and_a_picture_where_its_address_is_known(tmp_path, base):
    (tmp_path / "conf.py").write_text(CONFIGURATION.format(ext=str(ROOT / "book/_ext"), base=base))
    (tmp_path / "index.md").write_text(PAGE.format(more="More words. " * 30))
    command = [sys.executable, "-m", "sphinx", "-q", "-W", str(tmp_path), str(tmp_path / "out")]
    subprocess.run(command, check=True)
    html = BeautifulSoup((tmp_path / "out/index.html").read_text(), "html.parser")
    said = {tag.get("property", tag.get("name")): tag["content"] for tag in html.select("head meta[content]")}
    assert said["og:title"] == "Which “one”?"
    assert said["description"] == said["og:description"]
    assert said["description"].startswith("Both < one of them. More words.")
    assert said["description"].endswith(" …")
    assert len(said["description"]) <= 200
    assert said.get("og:image", "") == (f"{base}_static/viewer.png" if base else "")
    assert (ROOT / "book/_static/viewer.png").exists()
