"""The pieces that a reader tries in a chapter: the numbers of the library, by keyboard, on a phone, for everybody."""

import importlib.util
import json
import re
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gbmlib.analysis import factorial, intervals, prevalence, published, spreads
from gbmlib.pages.interactive import repair_table_1, reviewer, script
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.records import Store

_spec = importlib.util.spec_from_file_location("axe", Path(__file__).parent / "axe" / "axe.py")
axe = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(axe)


@pytest.fixture(scope="module")
def store():
    return Store("none", published=Path(__file__).resolve().parents[2] / "book" / "records")


@pytest.fixture(scope="module")
def made(store):
    [review] = reviewer(store)
    return {"repair": repair_table_1(), "reviewer": review}


@pytest.fixture
def opened(browser_page, made, tmp_path):
    def opened(name, **context):
        path = tmp_path / "page.html"
        path.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Page</title>'
            '<meta name="viewport" content="width=device-width"><main><h1>Chapter</h1>'
            f"{made[name]._repr_html_()}</main></html>",
            encoding="utf-8",
        )
        page = browser_page.open(path, **context)
        page.wait_for_selector(".gbm-interactive[data-ready]")
        return page

    return opened


def data_of(piece):
    """What a piece computes from."""
    [found] = re.findall(r'<script type="application/json">(.*?)</script>', piece._repr_html_())
    return json.loads(found)


def evaluated(browser, name, expression, data):
    """What an expression on ``data`` gives beside the piece's script."""
    page = browser.new_page()
    try:
        return page.evaluate(f"(data) => {{ {script(name)}; return {expression}; }}", data)
    finally:
        page.close()


# ---------------------------------------------------------------------------------------------------- repair the table


def test_all_six_orders_imply_what_the_library_says(browser, made):
    expression = "data.readings.map((reading) => examined(data, reading))"
    data = data_of(made["repair"]) | {"readings": list(permutations(prevalence.METRICS))}
    found = evaluated(browser, "repair", expression, data)
    expected = prevalence.examined(published.TABLE_1, published.TABLE_1_ROUNDING)
    assert len(found) == len(expected) == 6
    for ours, (_, theirs) in zip(found, expected.iterrows(), strict=True):
        assert ours["fractions"] == pytest.approx(list(theirs[published.TABLE_1.index]), rel=1e-12)
        assert (ours["possible"], ours["agree"]) == (theirs.possible, theirs.agree)
        if theirs.agree:
            assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_the_reader_repairs_the_table_with_the_keyboard(opened):
    page = opened("repair")
    shares = page.locator("td span")
    assert shares.all_text_contents() == ["124%", "86%", "72%", "67%", "61%"]
    assert page.get_by_role("status").inner_text() == "Impossible. In one row the tumour would fill 124% of the crops."
    assert page.locator(".gbm-impossible").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("r")  # "Precision" is recall, so "Recall" is precision
    heads = [page.get_by_label(f"“{name}” is") for name in ("Precision", "Recall", "Accuracy")]
    assert [head.input_value() for head in heads] == ["recall", "precision", "accuracy"]
    page.keyboard.press("Tab")
    page.keyboard.press("a")
    assert [head.input_value() for head in heads] == ["recall", "accuracy", "precision"]
    assert shares.all_text_contents() == ["0.95%", "1.01%", "0.99%", "1.03%", "0.95%"]
    assert page.get_by_role("status").inner_text().startswith("Possible. One share of tumour, 0.96% to 0.97%, gives")
    assert page.locator(".gbm-impossible").count() == 0
    heads[0].select_option("precision")
    heads[1].select_option("accuracy")
    said = "Impossible. The same crops would be 9.65% tumour in one row and 0.92% in another."
    assert page.get_by_role("status").inner_text() == said


# ----------------------------------------------------------------------------------------------------- be the reviewer


def test_on_all_patients_the_means_are_the_books(browser, made, store):
    settings = data_of(made["reviewer"])["settings"]
    expression = (
        "data.map(({ networks, dice }) => questions(networks).map(([label, , , of]) => [label, of(means(dice))]))"
    )
    for setting, found, wanted in zip(
        settings,
        evaluated(browser, "reviewer", expression, settings),
        (head_to_head.without_vnet, head_to_head.cells),
        strict=True,
    ):
        [(scale, groups)] = catalogue.published(wanted, store).items()
        effects = factorial.effects(groups)
        effects = effects[effects.effect != "interaction"]
        apart = spreads.networks_minus_pipelines(factorial.by_case(groups))
        means = {label: row.difference.mean for label, row in effects.iterrows()}
        assert dict(found) == pytest.approx(means | {"spread of networks − of pipelines": apart.mean}, abs=1e-12)
        assert [label for label, _ in found[:-1]] == list(effects.index)
        assert setting["verdicts"][:-1] == list(effects.decided)
        assert setting["scale"] == scale


@pytest.mark.parametrize("count", [3, 7, 19])
def test_intervals_leave_each_patient_out_once(browser, made, count):
    data = data_of(made["reviewer"])
    of = "data.settings.map(({ networks, dice }) => questions(networks).map((one) => interval(one[3], dice, data.t)))"
    for setting in data["settings"]:
        setting["dice"] = setting["dice"][:count]
    for setting, found in zip(data["settings"], evaluated(browser, "reviewer", of, data), strict=True):
        dice = np.array(setting["dice"])
        differences = dice[:, -1].mean(1) - dice[:, -2].mean(1)
        pipelines = dice[..., 1].mean(1) - dice[..., 0].mean(1)
        for ours, values in ((found[-3], differences), (found[-2], pipelines)):
            low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
            assert ours == pytest.approx({"mean": values.mean(), "low": low, "high": high}, abs=1e-12)
        if count >= intervals.LEAST_FOLDS:
            columns = pd.MultiIndex.from_product([setting["networks"], ["A", "B"]], names=factorial.FACTORS)
            table = pd.DataFrame(dice.reshape(count, -1), columns=columns)
            whole = intervals.jackknife(table, _apart, {case: case for case in table.index}).difference
            assert found[-1] == pytest.approx({"mean": whole.mean, "low": whole.low, "high": whole.high}, abs=1e-12)


def _apart(table):
    """The spread of the networks minus that of the pipelines, as the chapter's formula has it."""
    means = table.mean()
    networks, pipelines = (means.groupby(level=factor).mean() for factor in factorial.FACTORS)
    return networks.std(ddof=0) - pipelines.std(ddof=0)


def test_words_follow_interval_and_margin(browser):
    ends = [(-0.02, 0.02), (0.001, 0.02), (-0.02, -0.001), (-0.04, 0.01), (0.0, 0.02)]
    several = [{"low": low, "high": high} for low, high in ends]
    found = evaluated(browser, "reviewer", "data.map((one) => decided(one, 0.03))", several)
    assert found == [intervals.outcome([intervals.Difference(0.0, *pair, 19)], 0.03) for pair in ends]
    assert set(found) == {intervals.HIGHER, intervals.LOWER, intervals.NONE, intervals.UNDECIDED}


def test_few_patients_decide_little(opened):
    page = opened("reviewer")
    patients, margin = page.get_by_label("patients"), page.get_by_label("margin")
    rows = page.locator(".gbm-reviewer li")
    bars = page.locator(".gbm-interval i:nth-child(2)")
    all_patients = [bar.bounding_box()["width"] for bar in bars.all()]
    verdicts = rows.locator("strong").all_text_contents
    patients.focus()
    page.keyboard.press("Home")
    assert "patients: 3 of 19" in page.locator("form").inner_text()
    undecided = verdicts().count("undecided")
    assert undecided > 0
    said = f"3 of 19 patients leave {undecided} of 3 questions undecided."
    assert page.get_by_role("status").inner_text().startswith(said)
    three = [bar.bounding_box()["width"] for bar in bars.all()]
    assert all(narrow < wide for narrow, wide in zip(all_patients, three, strict=True))
    band = page.locator(".gbm-interval i:first-child").first
    before = band.bounding_box()["width"]
    margin.focus()
    page.keyboard.press("ArrowRight")
    assert "margin: 0.04" in page.locator("form").inner_text()
    assert band.bounding_box()["width"] > before


def test_the_vnet_comes_in(opened, made):
    page = opened("reviewer")
    assert page.locator(".gbm-reviewer li").count() == 3
    page.get_by_label("networks").select_option(index=1)
    networks = data_of(made["reviewer"])["settings"][1]["networks"]
    labels = page.locator(".gbm-reviewer li span:first-child").all_text_contents()
    assert "V-Net" in networks
    assert len(labels) == len(networks) * (len(networks) - 1) / 2 + 2
    assert "SegVAE − V-Net" in labels


@pytest.mark.parametrize(("name", "width"), [*product(["repair", "reviewer"], [1280, 390])])
def test_a_piece_fits_and_is_accessible(opened, name, width):
    page = opened(name, width=width)
    assert axe.findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
