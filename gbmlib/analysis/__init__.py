"""Analyses of the records of finished runs: scores, paired differences, and their uncertainty."""
