"""Configuration, losses, schedules, batches, and one loop."""

from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

__all__ = ["Ensemble", "Experiment"]
