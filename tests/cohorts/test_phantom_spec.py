"""What names a phantom cohort: read in any order and form, written in one, and refused with all that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gbmlib.cohorts import CaseError, open_cohort, phantom


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("", "phantom:cases=24,spacing=3,seed=0"),
        ("seed=7, cases=4", "phantom:cases=4,spacing=3,seed=7"),
        ("spacing=1.50", "phantom:cases=24,spacing=1.5,seed=0"),
        ("spacing=3x1x1,cases=2", "phantom:cases=2,spacing=3x1x1,seed=0"),
        ("spacing=2x2x2", "phantom:cases=24,spacing=2,seed=0"),
    ],
)
def test_a_spec_has_one_canonical_name(rest, name):
    cohort = phantom.cohort(rest)
    assert cohort.name == cohort.spec == name
    assert open_cohort(name).name == name
    assert open_cohort(name).fingerprint == cohort.fingerprint


@given(st.floats(0.5, 10))
def test_the_name_keeps_every_digit_of_the_spacing(step):
    name = phantom.cohort(f"spacing={step!r}").name
    assert phantom.cohort(name.removeprefix("phantom:")).cases[0].spacing == (step,) * 3


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        ("case=3", ["'case' is unknown"]),
        ("cases=0,spacing=nan,sed=1", ["cases=0", "spacing=nan", "'sed' is unknown"]),
        ("cases=1.5", ["cases=1.5"]),
        ("cases=-1", ["cases=-1"]),
        ("cases=²", ["cases=²"]),
        ("spacing=0", ["spacing=0"]),
        ("spacing=1x3", ["spacing=1x3"]),
        ("spacing=11", ["spacing=11"]),
        ("spacing=", ["spacing="]),
        ("seed=one", ["seed=one"]),
        ("cases=3,cases=4", ["cases=4 is given twice"]),
        ("24", ["'24' is unknown"]),
    ],
)
def test_a_bad_spec_names_every_problem_and_what_is_allowed(rest, named):
    with pytest.raises(CaseError) as caught:
        open_cohort(f"phantom:{rest}")
    for text in [*named, "cases=N", "spacing=MM", "seed=N"]:
        assert text in str(caught.value)


def test_fingerprints_differ_between_specs():
    specs = ["", "seed=1", "spacing=2", "cases=23"]
    assert len({phantom.cohort(rest).fingerprint for rest in specs}) == len(specs)
