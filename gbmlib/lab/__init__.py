"""The panels of the chapter on exploring, for JupyterLab."""
