"""A reader's own data, for the chapters that are run on it."""

import pytest

from gbmlib.cohorts import phantom


@pytest.fixture(scope="session")
def mine(tmp_path_factory):
    """A folder of five cases in the layout of BraTS; nothing is written to it."""
    return phantom.write_brats("cases=5,spacing=6,seed=3", tmp_path_factory.mktemp("own") / "mine", progress=False)
