"""Validation on whole volumes and on fixed crops, against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from gbmlib import metrics, validation
from gbmlib.experiments import study
from gbmlib.validation import Sample


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
    experiment = study.paper_a("test", crops=2)[0]
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
    experiment = study.paper_a("test")[0]
    row = validation.validate(Says(), experiment, samples, ("WT", "TC", "ET"))
    means = []
    for channel, name in enumerate(("WT", "TC", "ET")):
        means.append(np.mean([metrics.dice(s.images[0] >= 0, s.target[channel], 1.0) for s in samples]))
        assert row[f"val_dice_{name}"] == pytest.approx(means[-1])
    assert row["val_dice"] == pytest.approx(np.mean(means))


def test_tiles_may_be_larger_than_training_patches(samples):
    experiment = study.paper_a("test", vae=False)[0]
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
