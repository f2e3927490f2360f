"""Cases made of arrays, for tests of what is done to a case."""

import numpy as np

from gbmlib.cohorts import Case


def case_of(images, label=None, spacing=(1, 1, 1), name="case"):
    """A case with these images (channel, z, y, x)."""
    case = Case()
    case.id, case.shape, case.spacing, case.has_label = name, images.shape[1:], spacing, label is not None
    case.images, case.label = lambda: images, lambda: label
    return case


def brains(count=4, shape=(2, 5, 4, 3), seed=0, background=0.3):
    """Cases whose channels have scales of their own, some of their voxels background."""
    rng = np.random.default_rng(seed)
    scale = np.array([1, 50], np.float32).reshape(-1, 1, 1, 1)[: shape[0]]
    volumes = [scale * rng.uniform(1, 3, shape) * (rng.uniform(size=shape) >= background) for _ in range(count)]
    return [case_of(volume.astype(np.float32), name=f"case-{n}") for n, volume in enumerate(volumes)]


def bodies(count=3, shape=(1, 6, 9, 8), seed=0):
    """CT cases in whole Hounsfield units: air outside, an organ under the label."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        images = rng.integers(-1024, 1500, shape).astype(np.float32)
        label = (rng.uniform(size=shape[1:]) < 0.3).astype(np.uint8) * rng.integers(1, 3, shape[1:]).astype(np.uint8)
        cases.append(case_of(images, label, name=f"body-{number}"))
    return cases
