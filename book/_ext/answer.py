"""Sphinx extension: ``{answer}`` is the study's answer in three sentences, from the published records.

With the option ``basis`` it is what they rest on.

What the network changes, what everything around it changes, and which of the two changes more. The V-Net is left out:
it is not trained as long and would answer for the others.
"""

from pathlib import Path
from typing import ClassVar

from docutils.nodes import Node
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from gbmlib.analysis import factorial
from gbmlib.files import counted, number
from gbmlib.pages import head_to_head_pages
from gbmlib.study import catalogue, head_to_head
from gbmlib.study.records import Store


def answer(store: Store) -> str:
    """The sentences as a list in Markdown.

    Raises:
        ValueError: no scale has records of all four cells.
    """
    [cells] = catalogue.published(head_to_head.without_vnet, store).values()
    return head_to_head_pages.answer(cells)


def basis(store: Store) -> str:
    """What they rest on, in Markdown."""
    [cells] = catalogue.published(head_to_head.without_vnet, store).values()
    records = next(iter(cells.values()))
    patients, grid = len(factorial.by_case(cells)), number(records[0].experiment.spacing[0])
    return (
        f"The answer rests on {counted(patients, 'patient')}, each predicted by networks that did not train on them, "
        f"at {grid} mm, with one seed: far below the papers' own scale. {{doc}}`nnU-Net v2 <runs/08_2d_3d_cascade>`, "
        "trained on hundreds of others, finds these tumours far better. Dice is the mean over whole tumour, tumour "
        "core and enhancing tumour; brackets hold 95 % intervals over patients, and {ref}`a verdict "
        "<how-a-verdict-comes-about>` asks for more. The V-Net, the first paper's baseline, is left out until it is "
        "trained as long as the others: in shorter, unequal runs it lay so far behind that the networks differed more "
        "than the pipelines. {doc}`runs/09_head_to_head` has the whole story."
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
