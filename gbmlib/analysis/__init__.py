"""What the records of finished runs say: scores, paired differences, and how sure they are."""
