"""What the chapters show: plots, tables, sentences, and where numbers come from."""

from gbmlib.pages import sources as sources  # it notes which records are read from now on
