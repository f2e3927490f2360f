"""From a data set's fingerprint to the networks that nnU-Net (Isensee et al. 2018) would train on it.

:func:`plan` is the way in; ``rule`` has its arithmetic, ``words`` its reasons, ``memory`` what a plan needs, and
``table_1`` what the paper prints.
"""

from gbmlib.planner.planning import PATCH_VOXELS, Network, Plan, plan
from gbmlib.preprocess.fingerprint import Fingerprint, Intensities, fingerprint

__all__ = ["PATCH_VOXELS", "Fingerprint", "Intensities", "Network", "Plan", "fingerprint", "plan"]
