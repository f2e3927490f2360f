"""From a network to a segmentation, and how well it agrees with the truth."""
