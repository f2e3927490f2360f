"""From a data set's fingerprint to the networks that nnU-Net (Isensee et al. 2018) would train on it.

:func:`plan` is the way in. Beside it: the arithmetic alone (``rule``), its reasons (``words``), the memory that a plan
needs (``memory``), and what the chapter on it shows (``pages``, ``figures``, ``form``).
"""

from gbmlib.planner.planning import ASPECTS, LEAST_VOXELS, PATCH_VOXELS, Network, Plan, plan
from gbmlib.planner.rule import Grid
from gbmlib.preprocess.fingerprint import Fingerprint, Intensities, fingerprint

__all__ = [
    "ASPECTS",
    "LEAST_VOXELS",
    "PATCH_VOXELS",
    "Fingerprint",
    "Grid",
    "Intensities",
    "Network",
    "Plan",
    "fingerprint",
    "plan",
]
