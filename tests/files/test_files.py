"""Numbers as texts have them, and files that are there whole or not at all."""

import numpy as np
import pandas as pd
import pytest

from gbmlib.files import FACTS, RECORDS, counted, few, listed, markdown_table, millimetres, minutes, sizes, written


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


def test_lists_and_sizes():
    assert [listed(names) for names in (["z"], ["z", "y"], ["z", "y", "x"])] == ["z", "z and y", "z, y and x"]
    assert sizes((320, 1.3666, 0.7675)) == "320 x 1.367 x 0.768"
    assert (few(["a", "b"]), few(["a", "b", "c"], 2)) == ("a, b", "a, b and 1 more")


def test_a_file_and_a_folder_take_the_place_of_what_was_there(tmp_path):
    for content in ("one", "two"):
        with written(tmp_path / "new" / "file.txt") as path:
            assert path.suffix == ".txt"
            path.write_text(content)
        with written(tmp_path / "folder") as path:
            path.mkdir()
            (path / content).write_text(content)
    assert (tmp_path / "new" / "file.txt").read_text() == "two"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["two"]


def fail(path, make):
    with written(path) as unfinished:
        make(unfinished)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("half"), lambda path: path.mkdir()], ids=["file", "folder"]
)
def test_after_a_failure_nothing_is_left_and_what_was_there_stays(tmp_path, make):
    (tmp_path / "file").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "file", make)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_places_do_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RECORDS.is_dir()
    assert any(FACTS.iterdir())
