"""Validation on whole volumes, on fixed crops and on random patches, against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from gbmlib.cohorts import regions
from gbmlib.evaluation import metrics
from gbmlib.study import Experiment, scales
from gbmlib.training import batches, losses, validation
from gbmlib.training.validation import Sample


class Says(torch.nn.Module):
    """A network whose logits are its first input channel, three times."""

    def forward(self, x):
        return x[:, :1].repeat(1, 3, 1, 1, 1)


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    out = []
    for name in ("a", "b"):
        images = torch.randn((2, 32, 40, 32), generator=generator)
        target = torch.randn((3, 32, 40, 32), generator=generator) > torch.tensor([0.5, 1.0, 1.5]).view(3, 1, 1, 1)
        out.append(Sample(name, images, target))
    return out


def test_counts_agree_with_the_metrics_of_each_channel():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 4, 5, 6), torch.rand(2, 3, 4, 5, 6) > 0.7
    ours = validation.counts(logits, target)
    pairs = zip((logits >= 0).flatten(0, 1), target.flatten(0, 1), strict=True)
    assert [metrics.Counts(*of) for of in ours.tolist()] == [metrics.count(p, t) for p, t in pairs]


def test_on_crops_dice_is_a_mean_and_the_rest_is_pooled(samples):
    experiment = scales.paper_a("test", crops=2)[0]
    crops = validation.fixed_crops(experiment, samples)
    assert [tuple(images.shape) for images, _ in crops] == [(2, 32, 32, 32)] * 4
    row = validation.validate_crops(Says(), experiment, crops)
    pairs = [((images[:1] >= 0).repeat(3, 1, 1, 1), target) for images, target in crops]
    dices = [metrics.dice(p[c], t[c], 1.0) for p, t in pairs for c in range(3)]
    assert row["crops_dice"] == pytest.approx(np.mean(dices))
    predicted, true = (torch.cat([pair[n].flatten() for pair in pairs]) for n in (0, 1))
    for name in ("precision", "recall"):
        assert row[f"crops_{name}"] == pytest.approx(getattr(metrics, name)(predicted, true, 1.0))
    assert row["crops_accuracy"] == pytest.approx(metrics.accuracy(predicted, true))


def test_whole_volumes_are_averaged_over_cases_and_regions(samples):
    experiment = scales.paper_a("test")[0]
    row = validation.validate(Says(), experiment, samples, ("WT", "TC", "ET"))
    means = []
    for channel, name in enumerate(("WT", "TC", "ET")):
        means.append(np.mean([metrics.dice(s.images[0] >= 0, s.target[channel], 1.0) for s in samples]))
        assert row[f"val_dice_{name}"] == pytest.approx(means[-1])
    assert row["val_dice"] == pytest.approx(np.mean(means))


def test_tiles_may_be_larger_than_training_patches(samples):
    experiment = scales.paper_a("test", vae=False)[0]
    seen = []

    class Sees(Says):
        def forward(self, x):
            seen.append(tuple(x.shape[2:]))
            return super().forward(x)

    for tile, expected in ((None, (32, 32, 32)), ((40, 40, 40), (40, 40, 40))):
        seen.clear()
        out = validation.predict(Sees(), samples[0].images, experiment.changed(tile_size=tile))
        assert set(seen) == {expected}
        torch.testing.assert_close(out[0], torch.sigmoid(samples[0].images[0]))


# ----------------------------------------------------------------------------------------- classes that exclude others

NAMES = ("necrosis", "oedema", "enhancing")


class Scores(torch.nn.Module):
    """A network of three classes and the background, whose logits are made of its two channels, voxel by voxel."""

    def forward(self, x):
        first, second = x[:, :1], x[:, 1:]
        return torch.cat([torch.ones_like(first), first, second, first + second], 1)


@pytest.fixture
def labelled(samples):
    """The same cases with exclusive regions."""
    before = [torch.cat([torch.zeros_like(s.target[:1]), s.target[:-1].cumsum(0) > 0]) for s in samples]
    return [Sample(s.id, s.images, s.target & ~taken) for s, taken in zip(samples, before, strict=True)]


def softmaxed(**changes):
    fields = {
        "model": "unet",
        "options": {"filters": 2, "pools": (1, 1, 1)},
        "cohort": "phantom:cases=4,spacing=6,seed=0",
        "regions": "labels",
        "patch_size": 16,
        "batch_size": 3,
        "foreground": "paper",
        "batches": 2,
        "validation_batches": 4,
        "augmentation": "nnunet",
        "loss": "dice_ce_batch",
        "epochs": 2,
        "learning_rate": 1e-3,
        "seed": 3,
    }
    return Experiment(**fields | changes)


def test_of_a_softmax_probabilities_have_the_background_first_and_add_up(labelled):
    images = labelled[0].images
    out = validation.predict(Scores(), images, softmaxed())
    assert out.shape == (4, 32, 40, 32)
    torch.testing.assert_close(out, torch.softmax(Scores()(images[None]), 1)[0])
    torch.testing.assert_close(out.sum(0), torch.ones(32, 40, 32))


def test_of_a_softmax_the_largest_is_what_is_measured(labelled):
    row = validation.validate(Scores(), softmaxed(), labelled, NAMES)
    logits = [Scores()(s.images[None]) for s in labelled]
    for channel, name in enumerate(NAMES):
        predicted = [of.argmax(1)[0] == channel + 1 for of in logits]
        dices = [metrics.dice(p, s.target[channel], 1.0) for p, s in zip(predicted, labelled, strict=True)]
        assert row[f"val_dice_{name}"] == pytest.approx(np.mean(dices))
    of_cases = [float(losses.dice_ce_loss(of, s.target[None])) for of, s in zip(logits, labelled, strict=True)]
    assert row["val_loss"] == pytest.approx(np.mean(of_cases), abs=1e-4)  # of a batch of one both readings agree


def test_counts_of_a_softmax_are_those_of_its_largest():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 4, 5, 6)
    target = torch.nn.functional.one_hot(torch.randint(4, (2, 4, 5, 6)), 4).permute(0, 4, 1, 2, 3)[:, 1:] > 0
    ours = validation.counts(logits, target, "dice_ce")
    pairs = [(logits[n].argmax(0) == c + 1, target[n, c]) for n in range(2) for c in range(3)]
    assert [metrics.Counts(*of) for of in ours.tolist()] == [metrics.count(p, t) for p, t in pairs]


# ------------------------------------------------------------------------------------------------------ random patches


def test_on_random_patches_each_region_is_pooled_and_regions_averaged(labelled):
    experiment = softmaxed()
    row = validation.validate_patches(Scores(), experiment, labelled, NAMES, epoch=5)
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 5)
    drawn = []
    for _ in range(4):
        chosen = [(0, case) for case in torch.randint(2, (3,), generator=generator).tolist()]
        drawn.append(batches.draw(experiment, labelled, chosen, generator, augmented=False))
    logits = [Scores()(images) for images, _ in drawn]
    targets = [target for _, target in drawn]
    expected = [float(losses.dice_ce_batch_loss(*pair)) for pair in zip(logits, targets, strict=True)]
    assert row["val_loss"] == pytest.approx(np.mean(expected))
    predicted, true = torch.cat(logits).argmax(1), torch.cat(targets)
    for name in metrics.NAMES:
        each = [getattr(metrics, name)(predicted == c + 1, true[:, c]) for c in range(3)]
        assert row[f"val_{name}"] == pytest.approx(np.mean(each))
    assert row["val_dice_oedema"] == pytest.approx(metrics.dice(predicted == 2, true[:, 1]))


def test_random_patches_depend_on_the_seed_and_the_epoch_alone(labelled):
    def row(epoch=0, **changes):
        torch.manual_seed(epoch)
        return validation.validate_patches(Scores(), softmaxed(**changes), labelled, NAMES, epoch)

    assert row() == row()
    assert row() == row(learning_rate=1.0)
    assert row() != row(epoch=1)
    assert row() != row(seed=4)


def test_random_patches_are_placed_upon_foreground_as_those_of_training():
    """A lesion of one voxel in a large volume is met by patches that are placed upon it, and hardly by others."""
    images, target = torch.zeros(2, 64, 64, 64), torch.zeros(3, 64, 64, 64, dtype=torch.bool)
    target[0, 40, 20, 30] = True
    for rule, expected in (("paper", 0), ("none", 1)):  # of a lesion that is missed, and where there is none
        experiment = softmaxed(foreground=rule, patch_size=4, validation_batches=8)
        row = validation.validate_patches(Scores(), experiment, [Sample("a", images, target)], NAMES, epoch=0)
        assert row["val_dice_necrosis"] == expected


# -------------------------------------------------------------------------------------------------- slices and mirrors


class Leans(torch.nn.Module):
    """Its logits grow along x, y and z of a tile, so that each mirroring shows."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        ramp = sum(
            torch.arange(n).view([-1 if a == axis else 1 for a in range(3)]) for axis, n in enumerate(x.shape[2:])
        )
        return torch.cat([torch.zeros_like(x[:, :1]), (ramp + x[:, :1]).repeat(1, 3, 1, 1, 1)], 1)


def test_mirrored_predictions_are_averaged_over_probabilities():
    image = torch.randn(2, 8, 8, 8)
    experiment = softmaxed(patch_size=8)
    out = validation.predict(Leans(), image, experiment, mirror_axes=(0, 2))
    each = []
    for axes in ((), (1,), (3,), (1, 3)):
        logits = Leans()(image.flip(axes)[None] if axes else image[None])[0]
        each.append(torch.softmax(logits, 0).flip(axes) if axes else torch.softmax(logits, 0))
    torch.testing.assert_close(out, torch.stack(each).mean(0))
    assert not torch.allclose(out, validation.predict(Leans(), image, experiment))


def test_a_network_of_slices_gets_many_at_once_and_is_not_mirrored_across_them():
    experiment = softmaxed(
        options={"filters": 2, "pools": (0, 1, 1), "dimensions": 2}, patch_size=(1, 8, 8), mirrored_inference=True
    )
    image = torch.randn(2, 20, 8, 8)
    network = Leans()
    out = validation.predict(network, image, experiment, mirror_axes=(0, 1, 2))
    assert set(network.seen) <= {(validation.SLICES, 2, 1, 8, 8), (4, 2, 1, 8, 8)}
    assert len(network.seen) == 2 * 4  # sixteen slices and four, each as it is and mirrored along y, x and both
    torch.testing.assert_close(out, validation.predict(Leans(), image, experiment, mirror_axes=(1, 2)))
    torch.testing.assert_close(out[:, 3:4], validation.predict(Leans(), image[:, 3:4], experiment, (1, 2)))


def test_label_maps_of_a_softmax_are_its_largest(labelled):
    out = validation.predict(Scores(), labelled[0].images, softmaxed()).numpy()
    np.testing.assert_array_equal(regions.to_labels(out, "labels"), out.argmax(0))


@pytest.mark.parametrize(("instructions", "mixed"), [({"avx512_bf16": True}, True), ({"avx2": True}, False)])
def test_a_demonstration_computes_as_fast_as_the_processor_can_under_one_name(instructions, mixed, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    (fast,) = scales.paper_a("demo", folds=(0,), seeds=(0,))
    assert fast.precision == "fast"
    with validation.autocast(fast.precision, torch.device("cpu")):
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == (torch.bfloat16 if mixed else torch.float32)
