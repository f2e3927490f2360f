"""Sphinx extension: what the published records hold and lack, computed when the book is built.

Directives: ``holdings`` (what each group of records holds and cost), ``trained-twice-as-long`` (what twice the schedule
changes), ``seeds-apart`` (what another seed changes). The role ``records`` gives one of ``holdings.FACTS`` within a
sentence.
"""

from functools import cache
from pathlib import Path

import claims_text
import costs
import holdings
import seed_spread
from docutils import nodes
from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective, SphinxRole

from gbmlib.analysis import intervals, soundness
from gbmlib.files import markdown_table
from gbmlib.study import catalogue, scales
from gbmlib.study.records import HELD_OUT, Store, steps_of


@cache
def published(root: str) -> Store:
    """The published records, read once a build."""
    return Store(Path(root) / "book" / "records")


@cache
def facts(root: str) -> dict[str, str]:
    return holdings.facts(published(root).all())


def depend(env) -> None:
    """The page that is being read depends on every published record."""
    for path in Path(env.srcdir).glob("book/records/*/cases.csv"):
        env.note_dependency(str(path))


class FromRecords(SphinxDirective):
    """What they share: no arguments, no content."""

    def run(self) -> list[Node]:
        depend(self.env)
        return self.parse_text_to_nodes(self.text(published(str(self.env.srcdir))))

    def pages(self) -> dict[str, str]:
        """A link to each chapter as seen from the page, its text left open."""
        titles = claims_text.titles(self.env.srcdir)
        return {name: f"[{{}}](runs/{name}.ipynb)" for name in titles}


class Holdings(FromRecords):
    def text(self, store: Store) -> str:
        return holdings.markdown(store, self.pages())


#: What else is told of a network, by an option and its value.
VARIANTS = {("vae", False): "without VAE", ("se", "none"): "without SE", ("norm", "instance"): "normalised"}


class TrainedTwiceAsLong(FromRecords):
    """A row for each published run that was also made with twice its schedule."""

    HEAD = ("network", "cases", "loss", "steps", "Dice", "twice as long", "change", "enough")

    def text(self, store: Store) -> str:
        rows = []
        for record in catalogue.trained(store.all()):
            run = record.experiment
            change, twice = soundness.doubled(record), store.get(scales.doubled(run))
            if change is None or twice is None:
                continue
            cases = record.cases[(record.cases.split == HELD_OUT) & (record.cases.metric == "dice")]
            dice, margin = cases.value.mean(), intervals.margin(run.cohort)
            enough = "yes" if abs(change) < margin else "no"
            network, data, _ = costs.kind(record)
            changes = (words for (name, value), words in VARIANTS.items() if run.options.get(name) == value)
            network = ", ".join((network, *changes))
            row = (network, data, run.loss, f"{steps_of(record):,}", f"{dice:.3f}", f"{dice + change:.3f}")
            rows.append((*row, f"{change:+.4f}", enough))
        return markdown_table(self.HEAD, sorted(rows)) if rows else "No run was published with twice its schedule yet."


class SeedsApart(FromRecords):
    def text(self, store: Store) -> str:
        return seed_spread.markdown(store, self.pages())


class Fact(SphinxRole):
    """One of the facts by its name."""

    def run(self):
        depend(self.env)
        known = facts(str(self.env.srcdir))
        if self.text not in known:
            message = self.inliner.reporter.error(
                f"records have no fact {self.text!r}; there are {', '.join(known)}", line=self.lineno
            )
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]
        return [nodes.Text(known[self.text])], []


def setup(app):
    directives = {"holdings": Holdings, "trained-twice-as-long": TrainedTwiceAsLong, "seeds-apart": SeedsApart}
    for name, directive in directives.items():
        app.add_directive(name, directive)
    app.add_role("records", Fact())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
