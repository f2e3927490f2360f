"""The runs of the study, their records, and the runner of those that are missing.

:class:`Experiment` is one configuration; :func:`run` gives the record of each, training those that the store lacks;
:func:`load` gives the records of a family of the ``catalogue``, which holds all runs that the book shows.
"""

from gbmlib.study.catalogue import load
from gbmlib.study.runner import run
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

__all__ = ["Ensemble", "Experiment", "load", "run"]
