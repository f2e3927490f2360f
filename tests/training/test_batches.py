"""Training batches: which cases, where in them, augmented or not; and an interrupted training by such batches."""

from dataclasses import replace

import pytest
import torch

from gbmlib.augment import nnunet, spatial
from gbmlib.study import Experiment
from gbmlib.training import batches, loop, patches
from gbmlib.training.samples import Sample, encode

CPU = torch.device("cpu")


def configured(**changes):
    """A U-Net of two levels with the second paper's batches, at a tiny size."""
    fields = {
        "model": "unet",
        "options": {"filters": 2, "pools": (1, 1, 1)},
        "cohort": "phantom:cases=4,spacing=6,seed=0",
        "regions": "labels",
        "patch_size": 8,
        "batch_size": 2,
        "batches": 3,
        "foreground": "paper",
        "augmentation": "nnunet",
        "loss": "dice_ce",
        "epochs": 2,
        "learning_rate": 1e-2,
        "threads": 1,
    }
    return Experiment(**fields | changes)


def sample_of(name="a", size=(20, 22, 18), seed=0, nested=False):
    """A small tumour in a volume of noise: three labels, exclusive or nested."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
    distance = sum((axis - n * 0.7) ** 2 for axis, n in zip(grid, size, strict=True)).sqrt()
    within = torch.stack([distance < radius for radius in (5, 3.5, 2)])
    target = within if nested else within & ~torch.cat([within[1:], torch.zeros_like(within[:1])])
    return Sample(name, torch.randn((2, *size), generator=generator) + target.sum(0), target)


@pytest.fixture
def samples():
    return [sample_of(name, seed=number) for number, name in enumerate("abcd")]


# ---------------------------------------------------------------------------------------------------------- which cases


def test_every_crop_of_every_case_once_in_random_order():
    experiment = configured(batches=None, foreground="none", crops=3, batch_size=4)
    generator = torch.Generator().manual_seed(0)
    first, second = (list(batches.choose(experiment, 5, generator)) for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 4, 3]
    assert len(first) == batches.per_epoch(experiment, 5)
    everything = [(crop, case) for crop in range(3) for case in range(5)]
    for epoch in (first, second):
        assert sorted(chosen for batch in epoch for chosen in batch) == everything
    assert first != second


def test_so_many_batches_of_cases_drawn_at_random():
    experiment = configured(batches=200, batch_size=3)
    assert batches.per_epoch(experiment, 4) == batches.per_epoch(experiment, 4000) == 200
    epoch = list(batches.choose(experiment, 4, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in epoch] == [3] * 200
    assert {crop for batch in epoch for crop, _ in batch} == {0}
    cases = torch.tensor([case for batch in epoch for _, case in batch])
    assert (cases.bincount() / 600).tolist() == pytest.approx([0.25] * 4, abs=0.06)
    assert any(len(set(batch)) < 3 for batch in epoch)  # drawn with replacement, as in the public code


def test_so_many_batches_of_fixed_crops_draw_every_crop_of_every_case():
    experiment = configured(batches=400, foreground="none", crops=3, fixed_crops=True, batch_size=1)
    epoch = list(batches.choose(experiment, 4, torch.Generator().manual_seed(0)))
    assert len(epoch) == batches.per_epoch(experiment, 4) == 400
    counts = {chosen: epoch.count([chosen]) for (chosen,) in epoch}
    assert sorted(counts) == [(crop, case) for crop in range(3) for case in range(4)]
    assert min(counts.values()) > 400 / 12 / 2


# ------------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize(("rule", "forced"), [("none", 0), ("paper", 2)])
def test_the_last_of_a_batch_hold_foreground(rule, forced, samples):
    experiment = configured(foreground=rule, batch_size=4)
    generator = torch.Generator().manual_seed(0)
    held = torch.zeros(4)
    for _ in range(60):
        _, target = batches.draw(experiment, samples, [(0, case) for case in range(4)], generator, augmented=False)
        held += target.flatten(1).any(1)
    assert (held == 60).tolist() == [False] * (4 - forced) + [True] * forced


def test_a_case_without_foreground_is_drawn_anywhere():
    blank = sample_of()
    blank = Sample("blank", blank.images, torch.zeros_like(blank.target))
    generator = torch.Generator().manual_seed(0)
    for augmented in (True, False):
        images, target = batches.draw(configured(), [blank], [(0, 0), (0, 0)], generator, augmented)
        assert images.shape == (2, 2, 8, 8, 8)
        assert not target.any()


def test_an_augmented_patch_that_must_hold_foreground_nearly_always_does(samples):
    """What is drawn into the middle half may still be turned out of a patch's corner."""
    generator = torch.Generator().manual_seed(1)
    drawn = [batches.draw(configured(), samples, [(0, 0), (0, 1)], generator)[1] for _ in range(50)]
    assert sum(bool(target[1].any()) for target in drawn) >= 49


def test_without_augmentation_a_batch_is_cut_out_as_it_is(samples):
    experiment = configured()
    images, target = batches.draw(
        experiment, samples, [(0, 2), (0, 1)], torch.Generator().manual_seed(3), augmented=False
    )
    generator = torch.Generator().manual_seed(3)
    corners = [
        patches.draw_corner((20, 22, 18), (8, 8, 8), generator),
        patches.draw_foreground_corner(samples[1].foreground, (20, 22, 18), (8, 8, 8), generator),
    ]
    for number, (sample, corner) in enumerate(zip((samples[2], samples[1]), corners, strict=True)):
        window = (slice(None), *(slice(at, at + 8) for at in corner))
        assert torch.equal(images[number], sample.images[window])
        assert torch.equal(target[number], sample.target[window])


def test_augmentation_that_leaves_out_everything_changes_nothing(samples):
    plain, moved = configured(), configured(without=nnunet.TRANSFORMS)
    for chosen in ([(0, 0), (0, 3)], [(0, 1), (0, 1)]):
        one = batches.draw(plain, samples, chosen, torch.Generator().manual_seed(5), augmented=False)
        other = batches.draw(moved, samples, chosen, torch.Generator().manual_seed(5))
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_mirroring_alone_is_a_plain_crop_mirrored(samples):
    experiment = configured(without=("rotation", "scaling", "elastic", "gamma"))
    plain = batches.draw(experiment, samples, [(0, 0), (0, 1)], torch.Generator().manual_seed(5), augmented=False)
    drawn = batches.draw(experiment, samples, [(0, 0), (0, 1)], torch.Generator().manual_seed(5))
    every = [[axis - 3 for axis in range(3) if bits >> axis & 1] for bits in range(8)]
    for number in range(2):
        found = [axes for axes in every if torch.equal(drawn[0][number], plain[0][number].flip(axes))]
        assert len(found) == 1
        assert torch.equal(drawn[1][number], plain[1][number].flip(found[0]))


def always(monkeypatch):
    """Every transform for every sample."""
    settings = nnunet.Settings(spatial.Settings(p_rotation=1, p_scaling=1, p_elastic=1), p_gamma=1)
    monkeypatch.setattr(batches, "settings", lambda experiment: settings)


@pytest.mark.parametrize("nested", [False, True])
def test_regions_stay_exclusive_or_nested_and_none_is_made_up(nested, monkeypatch):
    always(monkeypatch)
    sample = sample_of(nested=nested)
    experiment = configured(patch_size=16, **({"regions": "brats", "loss": "dice"} if nested else {}))
    present = set(sample.code.unique().tolist())
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        images, target = batches.draw(experiment, [sample], [(0, 0), (0, 0)], generator)
        assert images.dtype == torch.float32
        assert (target.dtype, target.shape) == (torch.bool, (2, 3, 16, 16, 16))
        assert set(torch.cat([encode(of).unique() for of in target]).tolist()) <= present
        assert target[1].any()
        if nested:
            assert not (target[:, 1:] & ~target[:, :-1]).any()
        else:
            assert target.sum(1).max() == 1


def test_images_and_target_are_moved_alike(monkeypatch):
    """A channel that is the target itself stays with it under rotation, scaling, elastic deformation and mirroring."""
    always(monkeypatch)
    sample = sample_of(size=(30, 30, 30), nested=True)
    sample = replace(sample, images=sample.target[:1].float())
    experiment = configured(patch_size=16, modalities=("t1ce",), regions="brats", loss="dice")
    images, target = batches.draw(experiment, [sample], [(0, 0), (0, 0)], torch.Generator().manual_seed(0))
    for image, region in zip(images[:, 0], target[:, 0], strict=True):
        if region.any():
            assert ((image > image.max() / 2) == region).float().mean() > 0.97


@pytest.mark.parametrize("augmentation", ["simple", "nnunet"])
def test_the_same_generator_gives_the_same_batch(augmentation, samples):
    experiment = configured(augmentation=augmentation)
    first, again, other = (
        batches.draw(experiment, samples, [(0, 0), (0, 1)], torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_patches_of_a_network_of_slices_are_slices(samples):
    experiment = configured(options={"filters": 2, "pools": (0, 1, 1), "dimensions": 2}, patch_size=(1, 8, 8))
    images, target = batches.draw(experiment, samples, [(0, 0), (0, 1)], torch.Generator().manual_seed(0))
    assert (images.shape, target.shape) == ((2, 2, 1, 8, 8), (2, 3, 1, 8, 8))
    assert batches.settings(experiment).spatial.slices == 0


def test_a_volume_smaller_than_the_patch_is_padded(monkeypatch):
    always(monkeypatch)
    sample = sample_of(size=(6, 20, 12))
    for augmented in (True, False):
        experiment = configured(patch_size=16)
        images, target = batches.draw(
            experiment, [sample], [(0, 0)] * 2, torch.Generator().manual_seed(0), augmented=augmented
        )
        assert images.shape == (2, 2, 16, 16, 16)
        assert torch.isfinite(images).all()
        assert target[1].any()
        if not augmented:
            assert int((images[1] != 0).flatten(1).any(0).sum()) == 6 * 16 * 12


def test_settings_follow_the_configuration():
    cube = (8, 8, 8)
    assert batches.settings(configured()) == nnunet.paper_b(cube, spare_zeros=True)
    assert batches.settings(configured(normalisation="whole")) == nnunet.paper_b(cube)
    flat = configured(patch_size=(2, 6, 6), without=("gamma",))
    assert batches.settings(flat) == nnunet.paper_b((2, 6, 6), ("gamma",), spare_zeros=True)
    assert batches.settings(flat).spatial.slices == 0


# ---------------------------------------------------------------------------------------------------- a whole training


def trained(experiment, samples, folder, checkpoint_seconds=60.0):
    return loop.train(
        experiment, samples[:3], samples[3:], ("a", "b", "c"), folder, CPU, checkpoint_seconds, progress=False
    )


def falling_fast(monkeypatch, **changes):
    """A plateau whose rate falls, and whose training ends, within a few epochs."""
    rule = replace(loop.PLATEAUS["plateau_paper"], threshold=9, patience=1, stop_threshold=9, stop_patience=3)
    monkeypatch.setitem(loop.PLATEAUS, "plateau_paper", replace(rule, **{"least_rate": 1e-4} | changes))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_interrupted_in_the_middle_it_goes_on_as_if_nothing_had_happened(dimensions, samples, tmp_path, monkeypatch):
    """The course of the rate, its end and every draw follow from the history and the generators' states."""
    falling_fast(monkeypatch)
    flat = {"options": {"filters": 2, "pools": (0, 1, 1), "dimensions": 2}, "patch_size": (1, 8, 8)}
    experiment = configured(
        epochs=12, schedule="plateau_paper", validation_batches=2, amsgrad=True, **(flat if dimensions == 2 else {})
    )
    whole = trained(experiment, samples, tmp_path)
    # No epoch but the first counts as progress: every second one after it brings the rate down, to 8e-5 in the end.
    rates = [row["learning_rate"] for row in whole.history]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 2e-3, 2e-3, 4e-4, 4e-4])

    def stop(*given):
        if given[-1] == 4:
            raise KeyboardInterrupt
        return validate(*given)

    validate, parts = loop.validate_patches, tmp_path / "parts"
    parts.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "validate_patches", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(experiment, samples, parts, checkpoint_seconds=0)
    assert loop.tensors.load(parts / loop.CHECKPOINT)["history"] == whole.history[:4]
    again = trained(experiment, samples, parts)
    assert again.history == whole.history
    for one, other in zip(again.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_training_that_has_ended_does_not_begin_again(samples, tmp_path, monkeypatch):
    falling_fast(monkeypatch, least_rate=1.0)
    experiment = configured(epochs=12, schedule="plateau_paper", validation_batches=1)
    first = trained(experiment, samples, tmp_path)
    assert len(first.history) == 5  # the first is the best, then four without progress, more than three
    monkeypatch.setattr(loop, "_epoch", lambda *_: pytest.fail("trained on"))
    assert trained(experiment, samples, tmp_path).history == first.history


def test_a_plateau_ends_with_its_last_epoch_at_the_latest(samples, tmp_path):
    experiment = configured(schedule="plateau_paper", validation_batches=1, batches=1)
    assert len(trained(experiment, samples, tmp_path).history) == 2


def test_it_learns(samples, tmp_path):
    experiment = configured(
        epochs=4, batches=12, validation_batches=1, options={"filters": 4, "pools": (1, 1, 1)}, learning_rate=3e-2
    )
    history = trained(experiment, samples, tmp_path).history
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.1
