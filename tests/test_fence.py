"""The fence: a number that moves in a page, in a plot or in a verdict is found, and what may differ is not."""

import shutil

import fence
import plotly.graph_objects as go
import pytest

from gbmlib.viewer.display import StaticFigure

PAGE = """<html><body><nav>elsewhere</nav><article>
<h1>A chapter<a class="headerlink" href="#a">#</a></h1>
<p>Dice rose by <strong>{rise}</strong> over 19 cases. Made {day}; {minutes} minutes in all, commit {commit}.</p>
<table><tr><th>run</th><th>Dice</th><th>minutes a run</th></tr><tr><td>vnet-0</td><td>{dice}</td><td>{minutes}</td></tr>
</table>
<div class="cell_input"><pre>code</pre></div>
<div class="gbm-viewer"><script type="application/json" class="gbm-viewer-data">{viewer}</script></div>
<img alt="A slice" src="picture.png">
{figure}
</article></body></html>"""
USUAL = {
    "rise": "0.012",
    "dice": "0.71",
    "day": "1 May 2026",
    "minutes": "3.1",
    "commit": "09a12210971f",
    "viewer": '{"title": "a case", "start": {"position": [1, 2, 3]}}',
}


def figure(point=0.5, high=0.1, name="V-Net"):
    error = {"array": [high, 0.1], "arrayminus": [0.1, 0.1]}
    traces = [go.Scatter(x=["WT", "TC"], y=[point, 0.25], error_y=error, name=name, text=["a", "b"])]
    return StaticFigure(go.Figure(traces, {"yaxis": {"title": {"text": "Dice"}}}), "Dice")._repr_html_()


def pages(folder, picture=b"pixels", plot=None, exact=False, **changes):
    """A gathered folder of one page and one verdict."""
    book = folder / "runs"
    book.mkdir(parents=True)
    (book / "picture.png").write_bytes(picture)
    (book / "chapter.html").write_text(PAGE.format(**USUAL | changes, figure=plot or figure()), encoding="utf-8")
    text, plots = fence.page(book / "chapter.html", exact)
    fence.write(folder / "pages/chapter.txt", text)
    fence.write(folder / "pages/chapter.plots.txt", plots)
    fence.write(folder / "verdicts.txt", ["a-claim: supported, +0.020 (+0.010 to +0.030)", "another: undecided"])
    shutil.rmtree(book)
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return pages(tmp_path_factory.mktemp("before"))


def test_what_a_page_holds_line_by_line(before):
    text = (before / "pages/chapter.txt").read_text(encoding="utf-8")
    assert "Dice rose by 0.012 over 19 cases.\nMade …;\n… minutes in all, commit ….\n" in text
    assert "| run | Dice | minutes a run |\n| vnet-0 | 0.71 | … |\n" in text
    assert "[gbm-viewer-data.start.position[2] 3]\n" in text
    assert not {"elsewhere", "code", "A chapter#"} & set(text.split("\n"))
    plots = (before / "pages/chapter.plots.txt").read_text(encoding="utf-8").split("\n")
    assert {"1 trace[0].y[0] 0.5", "1 trace[0].error_y.array[0] 0.1", "1 trace[0].x[1] TC"} <= set(plots)
    assert {"1 trace[0].name V-Net", "1 layout.yaxis.title.text Dice"} <= set(plots)


def test_two_builds_of_one_source_do_not_differ_but_exactly(before, tmp_path):
    later = {"day": "27 November 2026", "minutes": "12", "commit": "8adc987ccccc with changes"}
    assert fence.compare(before, pages(tmp_path / "same", **later)) == []
    exact = [pages(tmp_path / name, exact=True, **changes) for name, changes in (("one", {}), ("two", later))]
    report = "\n".join(fence.compare(*exact))
    assert all(value in report for value in later.values())


@pytest.mark.parametrize(
    ("changes", "name", "lines"),
    [
        (
            {"rise": "0.013"},
            "pages/chapter.txt",
            ["-Dice rose by 0.012 over 19 cases.", "+Dice rose by 0.013 over 19 cases."],
        ),
        ({"dice": "0.72"}, "pages/chapter.txt", ["-| vnet-0 | 0.71 | … |", "+| vnet-0 | 0.72 | … |"]),
        ({"viewer": USUAL["viewer"].replace("1", "4")}, "pages/chapter.txt", None),
        ({"picture": b"others"}, "pages/chapter.txt", None),
        ({"plot": figure(point=0.501)}, "pages/chapter.plots.txt", ["-1 trace[0].y[0] 0.5", "+1 trace[0].y[0] 0.501"]),
        ({"plot": figure(high=0.2)}, "pages/chapter.plots.txt", None),
        ({"plot": figure(name="U-Net")}, "pages/chapter.plots.txt", None),
    ],
)
def test_what_moved_is_found_where_it_stands(before, tmp_path, changes, name, lines):
    report = fence.compare(before, pages(tmp_path / "after", **changes))
    assert len(report) == 3
    assert report[0].startswith(f"== {name}")
    assert lines in (None, report[1:])


def test_a_changed_verdict_is_found_and_ends_in_an_error(before, tmp_path, monkeypatch, capsys):
    after = shutil.copytree(before, tmp_path / "after")
    for folder in (before, after):
        fence.write(folder / "bits.txt", [])
    arguments = ["fence.py", "compare", str(before), str(after)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        fence.main()
    assert (ended.value.code, capsys.readouterr().out) == (0, "nothing differs\n")
    verdicts = (after / "verdicts.txt").read_text(encoding="utf-8")
    (after / "verdicts.txt").write_text(verdicts.replace("undecided", "supported"), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        fence.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.endswith("-another: undecided\n+another: supported\n")


def test_a_published_run_under_another_id_is_refused(tmp_path, monkeypatch):
    run = next(path.parent for path in fence.RECORDS.glob("vnet-*/config.json"))
    monkeypatch.setattr(fence, "RECORDS", tmp_path)
    shutil.copytree(run, tmp_path / run.name)
    assert [line.split()[0] for line in fence.published()] == [
        f"{run.name}/{name}" for name in ("cases.csv", "config.json", "history.csv", "provenance.json")
    ]
    (tmp_path / run.name).rename(tmp_path / "vnet-000000000000")
    with pytest.raises(ValueError, match=f"has the id {run.name}"):
        fence.published()
