"""Sphinx extension: ``{answer}`` is the study's answer in three sentences, from the published records.

With the option ``basis`` it is what they rest on.

What the network changes, what everything around it changes, and which of the two changes more. The V-Net is left out:
it is far behind and would answer for the others.
"""

from pathlib import Path
from typing import ClassVar

import pandas as pd
from docutils.nodes import Node
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from gbmlib.analysis import factorial
from gbmlib.analysis.intervals import HIGHER, LOWER, NONE, NOT_YET, UNDECIDED, Difference
from gbmlib.files import counted, number
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.records import Store

#: What each decision is called in a sentence's first half: of the network, and of what is around it.
WORDS = {
    "architecture": {HIGHER: "the plain U-Net is better", LOWER: "theirs is better"},
    "pipeline": {HIGHER: "nnU-Net's way is better", LOWER: "theirs is better"},
}
SAME = {NONE: "no difference that matters", UNDECIDED: "too close to tell", NOT_YET: "not decided yet"}


def sentences(effects: pd.DataFrame, apart: Difference) -> list[str]:
    """The three sentences, in Markdown.

    Args:
        effects: as ``factorial.effects`` has them.
        apart: how much further the two networks lie apart than the two pipelines.
    """
    [network], [pipeline] = ([row for _, row in effects.iterrows() if row.effect == effect] for effect in WORDS)
    each = [
        f"**{name}: {(WORDS[row.effect] | SAME)[row.decided]}.** {what} Dice by {row.difference}."
        for name, row, what in (
            ("The network", network, "A plain U-Net in place of Adeniji and Liu's network changes"),
            (
                "Everything around it",
                pipeline,
                "nnU-Net's way of preparing, training and predicting in place of theirs changes",
            ),
        )
    ]
    if unsound := [row.unsound for row in (pipeline, network) if row.decided == NOT_YET]:
        return [*each, f"**Which matters more: not decided yet**, because of networks that were {unsound[0]}."]
    if apart.high < 0:
        return [*each, f"**So here it is everything around it**: it moves Dice by {-apart} more than the network does."]
    if apart.low > 0:
        return [*each, f"**So here it is the network**: it moves Dice by {apart} more than everything around it does."]
    return [*each, f"**Which matters more cannot be told**: the difference between the two is {apart}."]


def answer(store: Store) -> str:
    """The sentences as a list in Markdown.

    Raises:
        ValueError: no scale has records of all four cells.
    """
    [cells] = catalogue.published(head_to_head.without_vnet, store).values()
    apart = factorial.networks_minus_pipelines(factorial.by_case(cells))
    return "\n".join(f"- {sentence}" for sentence in sentences(factorial.effects(cells), apart))


def basis(store: Store) -> str:
    """What they rest on, in Markdown."""
    [cells] = catalogue.published(head_to_head.without_vnet, store).values()
    records = next(iter(cells.values()))
    devices = ", ".join(sorted({record.provenance["device"] for record in records}))
    patients, grid = len(factorial.by_case(cells)), number(records[0].experiment.spacing[0])
    return (
        f"The answer rests on {counted(patients, 'patient')}, each predicted by networks that did not train on them, "
        f"at {grid} mm on {devices}: far below the papers' own scale. Dice is the mean over whole tumour, tumour core "
        "and enhancing tumour; brackets hold 95 % intervals over patients. {doc}`runs/09_head_to_head` has the whole "
        "story, the V-Net included."
    )


class Answer(SphinxDirective):
    option_spec: ClassVar = {"basis": directives.flag}

    def run(self) -> list[Node]:
        root = Path(self.env.srcdir)
        for path in root.glob("book/records/*/cases.csv"):
            self.env.note_dependency(str(path))
        store = Store(root / "book/records")
        return self.parse_text_to_nodes(basis(store) if "basis" in self.options else answer(store))


def setup(app):
    app.add_directive("answer", Answer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
