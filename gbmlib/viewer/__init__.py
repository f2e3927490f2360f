"""Looking at cases: slices and volumes, in a page and in JupyterLab."""

from gbmlib.viewer.slice_viewer import view

__all__ = ["view"]
