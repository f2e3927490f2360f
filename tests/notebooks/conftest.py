"""A reader's own data, for the chapters that are run on it."""

import pytest
from small_data import write_brats


@pytest.fixture(scope="session")
def mine(tmp_path_factory):
    """A folder of five cases in the layout of BraTS; nothing is written to it."""
    return write_brats("cases=5,spacing=6,seed=3", tmp_path_factory.mktemp("own") / "mine")
