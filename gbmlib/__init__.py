"""gbmlib: the thin library under the study of glioblastoma segmentation.

A case flows down through a few rooms and leaves as a record: cohorts, preprocess, augment, models, planner, evaluation,
training; ``study`` says what to run and keeps what came out, ``analysis`` and ``claims`` compare it. A room imports
those before it alone. Tensors are (batch, channel, z, y, x); spacing is in millimetres in the same order.
"""

__version__ = "0.1.0"

#: Bumped by hand whenever a change alters what a run computes; a record made under another number is shown as stale.
NUMERICS = 1
