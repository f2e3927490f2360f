"""What the chapter on the head to head shows of its cells, (network, pipeline) -> records; some may be missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import product
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gbmlib.analysis import factorial, intervals, scores, spreads
from gbmlib.analysis.factorial import Cells, margin
from gbmlib.analysis.intervals import HIGHER, LOWER, NONE, NOT_YET, UNDECIDED, Difference, mean_interval
from gbmlib.analysis.scores import UnpairedError
from gbmlib.analysis.spreads import Apart
from gbmlib.files import counted, few, listed
from gbmlib.pages import comparison, curves, plots, provenance, tables, text
from gbmlib.pages.text import Prose
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.head_to_head import named

EFFECTS = {"architecture": "the architecture", "pipeline": "the pipeline", "interaction": "both together"}

#: What the spread of the networks minus that of the pipelines decides.
MATTERS = {HIGHER: "the architecture", LOWER: "the pipeline", NONE: "neither"}

WORDS = {
    "architecture": {HIGHER: "the plain U-Net is better", LOWER: "theirs is better"},
    "pipeline": {HIGHER: "nnU-Net's way is better", LOWER: "theirs is better"},
}
#: A network's colour is its place here, whichever others are shown.
COLOURED = (*head_to_head.WITHOUT_VNET, *head_to_head.NETWORKS[:1], head_to_head.NORMALISED)
SAME = {NONE: "no difference that matters", UNDECIDED: "too close to tell", NOT_YET: "not decided yet"}


def _or_why_not(show: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """What a function shows of groups, or a sentence that says why they cannot be compared."""

    @wraps(show)
    def shown(groups: Cells, *args: Any, **kwargs: Any) -> list[Any]:
        try:
            return show(groups, *args, **kwargs)
        except UnpairedError as error:
            return [Prose(f"*Nothing can be compared yet: {error}.*")]

    return shown


# -------------------------------------------------------------------------------------------------------------- answer


def sentences(effects: pd.DataFrame, apart: Apart) -> list[str]:
    """The study's answer in three sentences, in Markdown: what the network changes, what everything around it changes,
    and which of the two changes more.

    Args:
        effects: of the two networks that the papers put forward (``analysis.factorial.effects``).
        apart: how much further these lie from their mean than the two pipelines.
    """
    [network], [pipeline] = ([row for _, row in effects.iterrows() if row.effect == effect] for effect in WORDS)
    each = [
        f"**{name}: {(WORDS[row.effect] | SAME)[row.decided]}{text.because(row)}.** {what} Dice by {row.difference}."
        for name, row, what in (
            ("The network", network, "A plain U-Net in place of Adeniji and Liu's network changes"),
            (
                "Everything around it",
                pipeline,
                "nnU-Net's augmentation, loss, schedule and averaging over mirrored images in place of theirs change",
            ),
        )
    ]
    # Two levels lie twice as far from each other as from their mean.
    change = apart.change
    twice = Difference(2 * change.mean, 2 * change.low, 2 * change.high, change.cases)
    first, second = ("pipeline", "network") if change.mean < 0 else ("network", "pipeline")
    more = f"changing the {first} moves Dice by {-twice if change.mean < 0 else twice} more than changing the {second}"
    if NOT_YET in (pipeline.decided, network.decided, apart.decided):
        return [*each, f"**Which matters more: not decided yet.** So far {more}."]
    if apart.decided != UNDECIDED:
        which = {HIGHER: "the network", LOWER: "everything around it", NONE: "neither"}[apart.decided]
        return [*each, f"**Which matters more: {which}.** {more[0].upper()}{more[1:]}."]
    if apart.carried_by:
        without = f"once any one of {counted(len(apart.carried_by), 'patient')} is left out"
        return [*each, f"**Which matters more cannot be told yet**: {more}, but {without}, the interval holds zero."]
    return [*each, f"**Which matters more cannot be told**: {more}."]


def answer(groups: Cells) -> Prose:
    """The study's answer (:func:`sentences`), as a list; of all four cells of the two networks."""
    apart = spreads.apart(factorial.by_case(groups), groups)
    return Prose("\n".join(f"- {sentence}" for sentence in sentences(factorial.effects(groups), apart)))


# ------------------------------------------------------------------------------------------------------------- results


def results(groups: Cells, wanted: head_to_head.Cells, decides: bool = True) -> list[Any]:
    """Where the runs come from, what is missing, Dice of every cell as a figure and a table, and collapsed runs."""
    shown = [provenance.about(groups), *missing(groups, wanted), *levels(groups)]
    return shown + comparison.collapsed({named(cell): group for cell, group in groups.items()}) if decides else shown


@_or_why_not
def levels(groups: Cells) -> list[Any]:
    """Mean Dice of every cell as a figure and as a table."""
    table = factorial.by_case(groups)
    return [interaction(table), dice(table)]


def interaction(table: pd.DataFrame) -> Any:
    """Mean Dice of every cell (``analysis.factorial.by_case``) over the pipelines, a line a network.

    Lines that run in parallel do not interact. Bars are intervals over cases. Cases differ by more than cells do, so
    bars that overlap say nothing of a difference: that is what the paired ones are for.
    """
    figure = go.Figure()
    networks, pipelines = (list(table.columns.unique(level)) for level in factorial.FACTORS)
    for number, network in enumerate(networks):
        known = {p: mean_interval(table[network, p]) for p in pipelines if (network, p) in table}
        places = [pipelines.index(p) + (number - (len(networks) - 1) / 2) * 0.04 for p in known]
        colour = plots.series(COLOURED.index(network))
        style = {"mode": "lines+markers", "line": {"color": colour, "width": 2.5}, "marker": {"size": 9}}
        style |= {"name": network, "hovertemplate": "%{text}<extra>" + network + "</extra>", "showlegend": True}
        figure.add_trace(plots.means(places, list(known.values()), thickness=1.5, **style))
    figure.update_xaxes(
        tickvals=list(range(len(pipelines))),
        ticktext=[f"pipeline {p}" for p in pipelines],
        range=[-0.4, len(pipelines) - 0.6],
    )
    figure.update_yaxes(title_text="mean Dice of held-out cases")
    cell_means = "; ".join(f"{' under pipeline '.join(cell)}: {table[cell].mean():.3f}" for cell in table)
    return plots.finish(figure, f"Mean Dice of every cell. {cell_means}", 420, -0.15)


def missing(groups: Cells, wanted: head_to_head.Cells) -> list[Prose]:
    """Which runs of which cells have no record, and on which folds the comparison rests then; empty if all have."""
    lines = []
    for cell, experiments in wanted.items():
        recorded = {record.id for record in groups.get(cell, ())}
        lacking = dict.fromkeys(str(e.fold) for e in experiments if e.id not in recorded)
        if lacking:
            lines.append(f"- {named(cell)}: {'fold' if len(lacking) == 1 else 'folds'} {listed(list(lacking))}")
    if not lines:
        return []
    kept = ", ".join(str(fold) for fold, _ in factorial.shared_folds(groups)) or "none"
    return [
        Prose(
            f"*Some runs have no record yet; `{catalogue.command('headtohead')}` makes them. "
            f"Cells are compared on the folds that all of those with a record share: {kept}. Missing:*\n\n"
            + "\n".join(lines)
        )
    ]


def dice(table: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of every cell with its interval over cases; a row a network, a column a pipeline.

    Where no cell is missing there are means of rows and columns too.

    Args:
        table: ``analysis.factorial.by_case``.
    """
    networks, pipelines = (list(table.columns.unique(level)) for level in factorial.FACTORS)
    rows = {
        network: {f"pipeline {p}": mean_interval(table[network, p]) for p in pipelines if (network, p) in table}
        for network in networks
    }
    if complete(table):
        for network in networks:
            rows[network]["mean"] = mean_interval(table[network].mean(axis=1))
        by_pipeline = {p: table.xs(p, axis=1, level="pipeline").mean(axis=1) for p in pipelines}
        rows["mean"] = {f"pipeline {p}": mean_interval(values) for p, values in by_pipeline.items()}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


@_or_why_not
def changes(groups: Cells, decides: bool = True) -> list[Any]:
    """The effects of both factors and what they do together, as a figure with a caption; without one where nothing is
    decided."""
    effects = factorial.effects(groups)
    if effects.empty:
        return [Prose("*No two cells share a network or a pipeline yet, so there is no difference to show.*")]
    if not decides:
        listed = "; ".join(f"{label}: {difference}" for label, difference in effects.difference.items())
        return [plots.forest(effects, f"Differences in mean Dice. {listed}")]
    description = f"Differences in mean Dice with their intervals. {text.findings(effects.drop(columns='against'))}"
    return [plots.forest(effects, description), text.caption(description)]


@_or_why_not
def details(groups: Cells, networks: Sequence[str] = head_to_head.NETWORKS) -> list[Any]:
    """The same effects by region, and what they decide in words.

    ``networks``: those that are asked about; while one of their cells is missing, which factor matters more is open.
    """
    effects = factorial.effects(groups)
    if effects.empty:
        return []
    return [by_region(groups), Prose(verdict(effects, factorial.by_case(groups), groups, networks))]


def by_region(groups: Cells, decides: bool = True) -> pd.DataFrame:
    """``analysis.factorial.effects`` of the mean over regions, with what it decides, and of each region by itself."""
    effects = factorial.effects(groups)
    shown = tables.decided(effects, "mean") if decides else effects.difference.to_frame("mean")
    out = effects[["effect", "over"]].join(shown)
    for region in scores.common_regions(groups) or ():
        out[region] = factorial.effects(groups, region).difference
    return out.assign(cases=effects.cases, seeds=effects.seeds)


def verdict(effects: pd.DataFrame, table: pd.DataFrame, groups: Cells, networks: Sequence[str]) -> str:
    """What ``analysis.factorial.effects`` decide, as Markdown. For published runs on real cases alone."""
    lines = []
    for effect, name in EFFECTS.items():
        words = {"higher": "a larger gain", "lower": "a smaller gain"} if effect == "interaction" else text.DICE
        rows = effects[effects.effect == effect].drop(columns="against")
        if len(rows):
            lines.append(f"- What {name} change{'' if effect == 'interaction' else 's'}:")
            lines += [f"  {line}" for line in text.verdict(rows, words).splitlines()]
    if not complete(table, networks):
        return "\n".join([*lines, "- Which of them matters more cannot be said before all cells have a record."])
    left_out, apart = spreads.leaving_out(table), spreads.apart(table, groups)
    network, pipeline, change = left_out.iloc[0]
    word, over = MATTERS.get(apart.decided, UNDECIDED), apart.networks
    if apart.unsound:
        word = f"{NOT_YET} ({'; '.join(apart.unsound)})"
    otherwise = [
        f"without {name} it is {_by_cases(difference, groups)}, {difference}"
        for name, difference in spreads.otherwise_without(left_out, apart.margin).items()
    ]
    carried = "The answer is the same without any one of the networks." if len(left_out) > 1 else ""
    if word == UNDECIDED and apart.carried_by:
        without = f"once any one of these cases is left out: {few(apart.carried_by)}"
        word = f"{word}, since the interval holds zero {without}"
    if otherwise:
        carried = f"The answer depends on which networks are compared: {'; '.join(otherwise)}."
    return "\n".join(
        [
            *lines,
            f"- **Which matters more: {word}.** The means of the networks lie "
            f"{network} from their own mean (root mean square, Dice), those of the pipelines "
            f"{pipeline}; the difference is {change}, on {change.cases} cases, "
            f"{text.over_networks(over.difference, over.detectable)}. {carried}",
        ]
    )


@_or_why_not
def far_apart(groups: Cells, decides: bool = True) -> list[Any]:
    """The spreads (``analysis.spreads``), and ``leaving_out`` with what it decides, once all cells have a record."""
    table = factorial.by_case(groups)
    if not complete(table):
        return [Prose("*Not before all cells have a record.*")]
    out = spreads.leaving_out(table).set_axis(["spread of networks", "of pipelines", "difference"], axis=1)
    if decides:
        out.insert(0, "matters more, by cases", [_by_cases(change, groups) for change in out.difference])
    return [spreads.spreads(table), out.set_axis(["all networks", *(f"without {name}" for name in out.index[1:])])]


def _by_cases(change: Difference, groups: Cells) -> str:
    """Which matters more by the interval over cases alone (``analysis.spreads.networks_minus_pipelines``)."""
    return MATTERS.get(intervals.outcome([change], margin(groups)), UNDECIDED)


def complete(table: pd.DataFrame, networks: Sequence[str] = head_to_head.NETWORKS) -> bool:
    """Whether no cell is missing from ``analysis.factorial.by_case``: a smaller factorial asks something else."""
    return set(table) == set(product({*networks, *table.columns.unique("network")}, head_to_head.PIPELINES))


@_or_why_not
def within(groups: Cells, decides: bool = True) -> list[Any]:
    """``analysis.factorial.within``, with what each difference decides."""
    differences = factorial.within(groups)
    shown = tables.decided(differences) if decides else differences[["difference"]]
    return [shown.assign(cases=differences.cases, seeds=differences.seeds)]


def over_epochs(groups: Cells) -> list[Any]:
    """Dice and loss over epochs of the networks, a figure a pipeline: between pipelines neither is on one scale."""
    shown: list[Any] = []
    for pipeline in head_to_head.PIPELINES:
        by_network = {network: records for (network, under), records in groups.items() if under == pipeline}
        if by_network:
            description = f"Dice and loss over epochs under pipeline {pipeline}: {', '.join(by_network)}"
            shown += [Prose(f"**Pipeline {pipeline}**"), curves.compared(by_network, description)]
    return shown
