"""What the study runs, and running what is missing.

:class:`Experiment` is one configuration; :func:`run` gives the record of each, training those that the store lacks;
:mod:`gbmlib.experiments.study` holds the experiments that the chapters show, at three scales.
"""

from gbmlib.configuration import Experiment
from gbmlib.ensemble import Ensemble
from gbmlib.experiments.runner import run

__all__ = ["Ensemble", "Experiment", "run"]
