"""The study's code against that of others: time and memory, as ratios on one machine."""
