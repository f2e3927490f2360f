"""The colours of the book: the eight of Okabe and Ito, which colour-blind readers tell apart, and a grey."""

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
RED = "#D55E00"
PINK = "#CC79A7"
GREY = "#999999"
PALE = "#CCCCCC"

#: Regions of a glioma, wherever they are drawn as lines.
REGIONS = {"WT": BLUE, "TC": ORANGE, "ET": RED}

#: Whatever else is told apart within a figure, in this order.
SERIES = (BLUE, ORANGE, GREEN, RED, SKY, PINK, GREY)

#: Beside the regions.
SPARE = (GREEN, PINK, SKY, GREY)

#: Labels over a grey image, where blue would be too dark.
LABELS = (YELLOW, SKY, RED, GREEN, PINK, ORANGE, BLUE)
