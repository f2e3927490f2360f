"""Configurations: validated whole, immutable, and named by what they say."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from gbmlib.study import Ensemble, Experiment

RECORDS = Path(__file__).resolve().parents[2] / "book" / "records"
FIELDS = {"model": "vnet", "cohort": "brats2018-19", "patch_size": 32, "epochs": 2, "learning_rate": 1e-4}


def test_the_name_depends_on_the_meaning_alone():
    one = Experiment(**FIELDS)
    same = Experiment(**dict(reversed(FIELDS.items())) | {"patch_size": (32, 32, 32), "seed": 0})
    assert one == same
    assert one.id == same.id
    assert one.id != one.changed(seed=1).id
    assert one.changed(seed=1).changed(seed=0).id == one.id


def test_the_name_is_pinned():
    """Published records are found by it: a change of the rule would orphan every one of them."""
    assert Experiment(**FIELDS).id == "vnet-9524f2cc4381"


def test_published_records_keep_their_names():
    """A new field leaves them as they are, since its default is what was done before."""
    found = sorted(RECORDS.glob("*/config.json"))
    assert len(found) >= 180
    for path in found:
        said = json.loads(path.read_text(encoding="utf-8"))
        assert (Ensemble if "members" in said else Experiment)(**said).id == path.parent.name


def test_a_field_at_its_default_does_not_enter_the_name():
    assert "warmup" not in Experiment(**FIELDS).canonical
    assert "warmup" in Experiment(**FIELDS, warmup=3).canonical


def test_it_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        Experiment(**FIELDS).seed = 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epohcs": 3}, "epohcs"),
        ({"regions": "nested"}, "brats"),
        ({"fold": 5}, "fold is 5; folds are counted from 0 to 4"),
        ({"cohort": "../data/BraTS"}, "is a path"),
        ({"elsewhere": ("data\\\\BraTS",)}, "is a path"),
        ({"modalities": ("t1ce", "t1ce")}, "once"),
        ({"options": {"filter": 8}}, r"no option \['filter'\]"),
        ({"patch_size": (32, 40, 32)}, r"divisible by 16; the next is \(32, 48, 32\)"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"model": "vnett"}, "'vnett': unknown"),
    ],
)
def test_refusals_name_the_field(changes, words):
    with pytest.raises(ValidationError, match=words):
        Experiment(**FIELDS | changes)


def test_faults_that_go_together_are_told_together():
    with pytest.raises(ValidationError) as caught:
        Experiment(**FIELDS | {"fold": 9, "cohort": "a/b", "options": {"norm": "layer"}})
    for words in ("fold is 9", "is a path", "norm is 'layer'"):
        assert words in str(caught.value)


# ------------------------------------------------------------------------------------------------------- second paper

UNET = {
    "model": "unet",
    "cohort": "brats2018-19",
    "regions": "labels",
    "options": {"pools": (2, 3, 3)},
    "patch_size": (8, 16, 24),
    "loss": "dice_ce",
    "epochs": 2,
    "learning_rate": 1e-3,
}


def test_the_name_of_a_planned_network_is_pinned():
    assert Experiment(**UNET).id == "unet-16dabe54ea3e"


def test_new_fields_enter_the_name_where_they_say_something():
    plain = Experiment(**UNET)
    changes = [
        {"normalisation": "whole"},
        {"axes": (1, 0, 2)},
        {"batches": 250},
        {"foreground": "paper"},
        {"validation_batches": 50},
        {"schedule": "plateau_paper"},
        {"amsgrad": True},
        {"weight_decay": 3e-5},
        {"loss": "dice_ce_batch"},
        {"augmentation": "nnunet"},
        {"augmentation": "nnunet", "without": ("gamma",)},
        {"mirrored_inference": True},
        {"options": {"pools": (2, 3, 3), "down": "stride"}},
    ]
    names = [plain.id, *(plain.changed(**change).id for change in changes)]
    assert len(set(names)) == len(names)
    for change in changes:
        experiment = plain.changed(**change)
        assert Experiment(**json.loads(experiment.canonical)) == experiment


def test_a_normalisation_of_each_channel_enters_the_name_where_they_differ():
    one = Experiment(**FIELDS)
    assert Experiment(**FIELDS, normalisation=("image", "image")) == one
    assert Experiment(**FIELDS, normalisation=["ct", "ct"]).id == Experiment(**FIELDS, normalisation="ct").id
    mixed = Experiment(**FIELDS, normalisation=("ct", "whole"))
    assert mixed.id not in (one.id, Experiment(**FIELDS, normalisation=("whole", "ct")).id)
    assert Experiment(**json.loads(mixed.canonical)) == mixed
    for wrong, words in ((("ct", "whole", "ct"), "for 3 channels, not 2"), (("ct", "dataset"), "need statistics")):
        with pytest.raises(ValidationError, match=words):
            Experiment(**FIELDS, normalisation=wrong)


def test_what_means_the_same_has_one_name():
    one = Experiment(**UNET)
    same = Experiment(**UNET | {"options": {"pools": [2, 3, 3], "filters": 30, "dimensions": 3}})
    assert one.id == same.id
    assert one == same


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"regions": "brats"}, "'dice_ce' has classes that exclude each other; give it regions 'labels'"),
        ({"loss": "dice_ce_batch", "regions": "brats"}, "'dice_ce_batch' has classes that exclude"),
        ({"without": ("gamma",)}, "does not read without"),
        ({"without": ("gama",), "augmentation": "nnunet"}, "without"),
        ({"slicewise": False}, "does not read slicewise"),
        ({"slicewise": False, "augmentation": "nnunet", "patch_size": (1, 16, 16)}, "in their plane alone"),
        ({"batches": 5, "crops": 3}, "crops counts nothing unless they are fixed_crops"),
        ({"composition": "seconded"}, "is of nested regions; leave it out with 'labels'"),
        ({"composition": "outermost"}, "composition"),
        (
            {"watched": "crops_loss", "patience": 2, "validation_batches": 3},
            "no validation_batches in place of the crops",
        ),
        ({"watched": "crops_loss", "validation_batches": None}, "needs patience"),
        ({"cropping": "skull"}, "cropping"),
        ({"draws": "fold"}, "draws"),
        ({"options": {"output_gain": 0}}, "output_gain is 0.*greater than 0"),
        ({"batches": 0}, "batches"),
        ({"validation_batches": 0}, "validation_batches"),
        ({"axes": (0, 1, 1)}, r"axes \(0, 1, 1\): they must be 0, 1 and 2 in some order"),
        ({"axes": (1, 2, 3)}, "0, 1 and 2"),
        ({"axes": (0, 1)}, "axes"),
        ({"schedule": "plateau_paper", "warmup": 3}, "has no warmup; set it to 0"),
        ({"foreground": "half"}, "foreground"),
        ({"normalisation": "z"}, "normalisation"),
        (
            {"patch_size": (8, 20, 24)},
            r"patch_size \(8, 20, 24\) must be divisible by \(4, 8, 8\); the next is .8, 24, 24",
        ),
        ({"tile_size": (6, 16, 24)}, r"tile_size \(6, 16, 24\) must be divisible by"),
        ({"options": {"pools": (2, 3)}}, "pools is .* required"),
        ({"options": {"pools": (1, 2, 2), "dimensions": 2}}, "does not pool z"),
        ({"options": {"kernel": 3}}, r"no option \['kernel'\]"),
    ],
)
def test_refusals_of_the_second_papers_fields(changes, words):
    with pytest.raises(ValidationError, match=words):
        Experiment(**UNET | changes)


def test_all_that_is_wrong_with_a_planned_network_is_told_at_once():
    wrong = {"regions": "brats", "without": ("mirror",), "axes": (2, 2, 2), "batches": 3, "crops": 2}
    with pytest.raises(ValidationError) as caught:
        Experiment(**UNET | wrong | {"schedule": "plateau_paper", "warmup": 1, "patch_size": (3, 16, 24)})
    for words in ("'labels'", "without", "axes (2, 2, 2)", "fixed_crops", "no warmup", "divisible by (4, 8, 8)"):
        assert words in str(caught.value)


def test_what_follows_from_a_configuration():
    plain = Experiment(**UNET)
    assert (plain.softmax, plain.is_2d, plain.tile) == (True, False, (8, 16, 24))
    flat = plain.changed(options={"pools": (0, 3, 3), "dimensions": 2}, patch_size=(1, 16, 24), tile_size=(4, 16, 24))
    assert (flat.is_2d, flat.tile) == (True, (4, 16, 24))
    assert not Experiment(**FIELDS).softmax


def test_what_an_augmentation_does_not_read_is_refused():
    planned = {"model": "unet", "options": {"pools": (1, 1, 1)}, "cohort": "c", "patch_size": 8, "epochs": 1}
    planned |= {"learning_rate": 1e-3, "augmentation": "nnunet"}
    with pytest.raises(ValueError, match="does not read flips, intensity"):
        Experiment(**planned, flips=0.5, intensity=0.1)
    with pytest.raises(ValueError, match="foreground chooses where patches lie"):
        Experiment(**planned, foreground="paper", fixed_crops=True)


CASCADE = UNET | {"augmentation": "nnunet", "previous": UNET | {"spacing": 6}}


def test_a_cascades_second_network_names_its_first():
    experiment = Experiment(**CASCADE)
    assert experiment.previous == Experiment(**UNET | {"spacing": 6})
    assert experiment.id != experiment.changed(previous=None).id
    assert experiment.id != experiment.changed(previous=experiment.previous.changed(seed=1)).id
    assert [need.fold for need in experiment.dependencies] == list(range(experiment.folds))
    assert Experiment(**json.loads(experiment.canonical)) == experiment


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"previous": UNET | {"fold": 1}}, "previous is of fold 1; give fold 0"),
        ({"previous": UNET | {"cohort": "other"}}, "previous has cohort other, this"),
        ({"previous": UNET | {"folds": 3}}, "previous has folds 3, this 5"),
        ({"previous": CASCADE}, "a cascade has two networks"),
        ({"augmentation": "simple"}, "previous needs augmentation 'nnunet'"),
        ({"elsewhere": ("other",)}, "a cascade is measured on its own cohort alone"),
        ({"regions": "brats", "loss": "dice"}, "classes that exclude each other"),
    ],
)
def test_what_is_no_cascade_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Experiment(**CASCADE | changes)


def test_folds_and_seeds_begin_with_weights_of_their_own_where_asked():
    runs = [Experiment(**UNET | {"draws": "seed and fold", "fold": f, "seed": s}) for s in range(3) for f in range(5)]
    assert sorted(run.drawn_from for run in runs) == list(range(15))
    assert {Experiment(**UNET | {"fold": f, "seed": 2}).drawn_from for f in range(5)} == {2}
