"""Numbers with their nouns."""

import numpy as np
import pandas as pd
import pytest

from gbmlib.counts import counted


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
