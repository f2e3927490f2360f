"""The plots of the chapters: seaborn and matplotlib for print, plotly for exploring, one colour for one region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import seaborn as sns

from gbmlib.analysis import scores
from gbmlib.cohorts import Case
from gbmlib.preprocess import pipeline
from gbmlib.study.records import HELD_OUT, TRAIN, Record
from gbmlib.viewer import colours
from gbmlib.viewer.display import show

TRAINING, VALIDATION = colours.GREY, colours.BLUE


def colour_of(regions: Iterable[str]) -> dict[str, str]:
    """A colour for each region: its own, or one of the spare ones in order."""
    spare = iter(colours.SPARE * 20)
    return {name: colours.REGIONS.get(name) or next(spare) for name in regions}


def planes(case: Case, position: Sequence[int] | None = None) -> plt.Figure:
    """Every modality of a case in three planes: axial above, coronal and sagittal below.

    The layout of figure 2 of Adeniji and Liu (2019), in radiological convention: the patient's left is on the right.
    Cropped to what is not zero.

    Args:
        position: voxel (z, y, x) within the brain's box; by default where the label has most voxels in each direction,
            or the middle.
    """
    images = case.images()
    box = pipeline.nonzero_box(images, case.id)
    at = position if position is not None else _most_labelled(case)
    z, y, x = (place - part.start for place, part in zip(at, box, strict=True))
    images = images[(slice(None), *box)]
    dz, dy, dx = case.spacing
    figure = plt.figure(figsize=(4.4 * len(images), 5.6), layout="constrained")
    for part, image, name in zip(
        np.atleast_1d(figure.subfigures(1, len(images))), images, case.modalities, strict=True
    ):
        inside = image[image != 0]
        low, high = np.percentile(inside, [0.5, 99.5]) if inside.size else (0, 1)
        axes = part.subplot_mosaic([["axial", "axial"], ["coronal", "sagittal"]], height_ratios=[1.25, 1])
        cuts = {"axial": (image[z], dy / dx), "coronal": (image[:, y], dz / dx), "sagittal": (image[:, :, x], dz / dy)}
        for plane, (cut, aspect) in cuts.items():
            # Rows run upwards. Columns run to the patient's left on the page's right, and to the back for sagittal.
            axes[plane].imshow(cut[:, ::-1], cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
            axes[plane].set_axis_off()
            axes[plane].set_title(plane, fontsize=9)
        part.suptitle(f"{name}  ({case.id})", fontsize=10)
    return figure


def volumes(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """Volumes of the regions, a point a case, for one or more cohorts (``analysis.cohort_summary.summary``)."""
    long = pd.concat(
        table.melt("case", [c for c in table if c.endswith("_ml") and c != "brain_ml"], "region", "ml").assign(
            cohort=name
        )
        for name, table in tables.items()
    )
    long["region"] = long["region"].str.removesuffix("_ml")
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    order = list(dict.fromkeys(long["region"]))
    style = {"dodge": True, "jitter": 0.2, "alpha": 0.75, "palette": colours.SPARE[: len(tables)]}
    sns.stripplot(long, x="ml", y="region", hue="cohort", order=order, ax=axis, **style)
    # Linear below 1 ml, so that a region that is absent stands at 0.
    axis.set(xlabel="volume (ml)", ylabel="", xscale="symlog", xlim=(-0.3, None))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    sns.despine(figure)
    return figure


def curves(records: Sequence[Record], description: str = "") -> Any:
    """Dice and loss over epochs, training against validation: figures 3 and 4 of Adeniji and Liu (2019), interactive.

    A thin line a run; where there are several, a thick one for their mean.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=("Dice", "Loss"), horizontal_spacing=0.1)
    for column, metric in enumerate(("dice", "loss"), 1):
        for part, name, colour in (("train", "training", TRAINING), ("val", "validation", VALIDATION)):
            runs = [record.history.set_index("epoch")[f"{part}_{metric}"] for record in records]
            # Where folds stopped early, the mean ends with the shortest: a mean over fewer would jump.
            mean = pd.concat(runs, axis=1).dropna().mean(axis=1)
            for run, record in zip(runs, records, strict=True):
                if len(runs) > 1:
                    fold = f"{name}, fold {record.experiment.fold}, seed {record.experiment.seed}"
                    figure.add_trace(_line(run, fold, colour, 1, 0.35, False), 1, column)
            figure.add_trace(_line(mean, name, colour, 3, 1, column == 1), 1, column)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(range=[0, 1], col=1)
    figure.update_layout(
        height=380, margin={"l": 40, "r": 10, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.2}
    )
    return show(figure, description or "Dice and loss over epochs, training against validation")


def per_case(records: Sequence[Record], metric: str = "dice", description: str = "") -> Any:
    """A metric of every case in every region, training and held out: a point a case, named on hover."""
    cases = scores.tidy(records)
    cases = cases[cases.metric == metric]
    cases = cases.groupby(["split", "region", "case"], sort=False).value.mean().reset_index()
    figure = go.Figure()
    for region, colour in colour_of(cases.region.unique()).items():
        for part, symbol in ((TRAIN, "circle-open"), (HELD_OUT, "circle")):
            of = cases[(cases.region == region) & (cases.split == part)]
            figure.add_trace(
                go.Box(
                    x=[f"{region}<br>{part}"] * len(of),
                    y=of.value,
                    text=of.case,
                    name=f"{region}, {part}",
                    boxpoints="all",
                    pointpos=0,
                    jitter=0.5,
                    fillcolor="rgba(0,0,0,0)",
                    line={"color": colour, "width": 1},
                    marker={"color": colour, "symbol": symbol, "size": 7},
                    hovertemplate="%{text}: %{y:.3f}<extra></extra>",
                    showlegend=False,
                )
            )
    figure.update_yaxes(range=[-0.02, 1.02], title_text=metric.capitalize())
    figure.update_layout(height=380, margin={"l": 50, "r": 10, "t": 20, "b": 40})
    return show(figure, description or f"{metric.capitalize()} of every case in every region")


def _line(values: pd.Series, name: str, colour: str, width: int, opacity: float, legend: bool) -> go.Scatter:
    line = {"color": colour, "width": width}
    return go.Scatter(x=values.index, y=values, name=name, line=line, opacity=opacity, showlegend=legend)


def _most_labelled(case: Case) -> tuple[int, int, int]:
    label = case.label() if case.has_label else np.zeros(case.shape, bool)
    if not label.any():
        return tuple(size // 2 for size in case.shape)
    others = ((1, 2), (0, 2), (0, 1))
    return tuple(int((label > 0).sum(axis=axes).argmax()) for axes in others)
