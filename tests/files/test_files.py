"""Numbers as texts have them."""

import numpy as np
import pandas as pd
import pytest

from gbmlib.files import counted, markdown_table, millimetres, minutes


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 cases"),
        (1, "1 case"),
        (2, "2 cases"),
        (11, "11 cases"),
        ("1", "1 case"),
        ("30", "30 cases"),
        ("1 or 30", "1 or 30 cases"),
        (np.int64(1), "1 case"),
        (np.int64(2), "2 cases"),
        (pd.Series({"cases": 1, "family": 3}).cases, "1 case"),
    ],
)
def test_one_has_no_s(number, said):
    assert counted(number, "case") == said


@pytest.mark.parametrize(("seconds", "said"), [(6, "0.1"), (60, "1.0"), (599, "10.0"), (600, "10"), (5940, "99")])
def test_minutes_below_ten_have_a_decimal(seconds, said):
    assert minutes(seconds) == said


@pytest.mark.parametrize(
    ("spacing", "said"),
    [((3, 3, 3), "3 mm"), ((1.5, 3, 3), "1.5 x 3 x 3 mm"), ((1.0, 1.00001, 1), "1 mm"), ((2 / 3, 2), "0.667 x 2 mm")],
)
def test_spacing_is_one_number_where_axes_share_it(spacing, said):
    assert millimetres(spacing) == said


def test_a_table_has_a_line_a_row():
    assert markdown_table(("a", "b"), [("1", "2"), ("3", "")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |"
    assert markdown_table(("a",), []) == "| a |\n| --- |"
