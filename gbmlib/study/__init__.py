"""What the study runs, and running what is missing.

:class:`Experiment` is one configuration; :func:`run` gives the record of each, training those that the store lacks;
``study.scales`` holds the experiments that the chapters show, at three scales.
"""

from gbmlib.study.runner import run
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

__all__ = ["Ensemble", "Experiment", "run"]
