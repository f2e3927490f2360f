"""The claims of the two papers as data, what decides them, and their verdicts."""
