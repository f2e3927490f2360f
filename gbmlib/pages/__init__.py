"""What the chapters show: plots, tables, sentences, and where numbers come from."""
