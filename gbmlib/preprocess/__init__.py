"""From a case to what a network sees, and the exact way back: crop, resample, normalise."""

from gbmlib.preprocess.resampling import resample

__all__ = ["resample"]
