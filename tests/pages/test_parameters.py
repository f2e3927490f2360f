"""A chapter's parameters: what papermill or a reader gives, checked before any work."""

import math

import few_records
import pytest
from small_data import write_brats

from gbmlib import cohorts
from gbmlib.pages.parameters import ParameterError, Vocabulary, check, chosen, refuse_faulty, start
from gbmlib.study.records import RecordError, Store

ALLOWED = ("profile", "cohort", "modalities", "spacing", "epochs", "seed", "folds", "seeds", "only")


def test_values_as_a_command_line_gives_them():
    given = {
        "profile": "study",
        "modalities": "t1ce, flair",
        "spacing": 3,
        "folds": "0,1",
        "_": 1,
        "In": [],
        "math": math,
    }
    values = check(given, ALLOWED)
    assert values.profile == "study"
    assert values.modalities == ("t1ce", "flair")
    assert values.spacing == (3, 3, 3)
    assert values.folds == (0, 1)
    assert values.epochs is None
    assert check({"spacing": "3,1,1", "folds": 2}, ALLOWED).spacing == (3, 1, 1)
    assert check({"folds": 2}, ALLOWED).folds == (2,)
    several = check({"seeds": "0, 1", "only": "down, order"}, ALLOWED)
    assert (several.seeds, several.only) == ((0, 1), ("down", "order"))


def test_how_many_folds_there_are_is_not_which_to_run():
    assert check({"n_folds": 3, "folds": "0,2"}, (*ALLOWED, "n_folds")).n_folds == 3
    with pytest.raises(ParameterError, match="folds: 3 of n_folds 3; they are counted from 0"):
        check({"n_folds": 3, "folds": "2,3"}, (*ALLOWED, "n_folds"))


def test_text_that_papermill_took_for_a_number_is_told_with_the_remedy():
    with pytest.raises(ParameterError, match=r"case: .*not 1; give papermill text as it is: -r case 001"):
        check({"case": 1}, ("case",))


def test_everything_wrong_is_told_at_once_with_what_is_allowed():
    given = {"epohcs": 3, "profile": "big", "spacing": -1, "folds": "a", "seed": -2}
    with pytest.raises(ParameterError) as caught:
        check(given, ALLOWED)
    text = str(caught.value)
    for words in ("did you mean 'epochs'?", "profile: ", "'demo'", "spacing: ", "folds: ", "seed: ", "t1ce,flair"):
        assert words in text, words


def test_a_known_parameter_that_this_chapter_lacks_is_refused():
    with pytest.raises(ParameterError, match="precision: this chapter has no such parameter"):
        check({"precision": "float32"}, ALLOWED)


def test_a_chapter_starts_with_its_settings_store_and_cohort(tmp_path):
    given = {"profile": "test", "modalities": "flair", "store": str(tmp_path)}
    settings, store, cohort = start(given, "profile", "cohort", "modalities", "store")
    assert (settings.profile, store.path) == ("test", tmp_path)
    assert (cohort.name, cohort.modalities) == ("phantom:cases=4,spacing=6,seed=0", ("flair",))
    assert store.all()  # the published records
    own = write_brats("cases=2,spacing=8,seed=1", tmp_path / "own")
    _, store, cohort = start({"cohort": f"brats:{own}"}, "profile", "cohort")
    assert (len(cohort), store.path.name) == (2, "runs")
    few_records.put(Store(tmp_path / "old"), tiny := few_records.run(), {"a": 1.0}, fingerprint="0123456789abcdef")
    with pytest.raises(RecordError, match=f"is other data than 1 runs of {tiny.cohort} .*-p store FOLDER"):
        start({"profile": "test", "store": str(tmp_path / "old")}, "profile", "cohort", "store")


def test_nothing_is_trained_on_faulty_data(tmp_path):
    folder = write_brats("cases=2,spacing=8,seed=1", tmp_path / "own")
    cohort = cohorts.open_cohort(f"brats:{folder}")
    refuse_faulty(cohort)
    next(folder.rglob("*flair*")).write_bytes(b"no image")
    with pytest.raises(ValueError, match="nothing is trained on it:"):
        refuse_faulty(cohort)


def test_what_a_chapter_runs_is_picked_by_name():
    among = ("down", "order", "filters")
    assert chosen(None, among, ("order",)) == ["order"]
    assert chosen(("filters", "down"), among, ("order",)) == ["down", "filters"]
    with pytest.raises(
        ParameterError, match=r"no 'filtres'; did you mean 'filters'\?[\s\S]*no 'x'[\s\S]*down, order"
    ) as caught:
        chosen(("down", "filtres", "x"), among, ())
    assert "'down'" not in str(caught.value)
    with pytest.raises(ParameterError, match="picks from"):
        chosen((), among, ("order",))


def test_every_parameter_is_described():
    assert all(field.description for field in Vocabulary.model_fields.values())


def test_a_chapter_trains_where_a_parameter_of_a_training_is_given():
    assert not check({"store": "elsewhere", "case": "a"}, (*ALLOWED, "store", "case")).live
    assert check({}, ALLOWED).profile == "demo"
    for given in ({"profile": "demo"}, {"epochs": 1}, {"cohort": "phantom:cases=2"}, {"only": "order"}, {"seed": 0}):
        assert check(given, ALLOWED).live, given
