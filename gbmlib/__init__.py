"""gbmlib: the thin library under the study of glioblastoma segmentation.

A case flows down through small rooms and leaves as a record: cohorts, preprocess, patches, models, losses, training,
inference, metrics; ``experiments`` says what to run and ``records`` keeps what came out. Tensors are
(batch, channel, z, y, x); spacing is in millimetres in the same order.
"""

__version__ = "0.1.0"

#: Bumped by hand whenever a change alters what a run computes; a record made under another number is shown as stale.
NUMERICS = 1
