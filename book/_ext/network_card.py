"""Sphinx extension: ``{network-card} glioma`` says how well a network that comes with the study does, from records."""

from pathlib import Path

from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from gbmlib.analysis import published as papers
from gbmlib.cohorts.regions import BRATS
from gbmlib.files import NETWORKS, RECORDS, markdown_table
from gbmlib.planner.table_1 import tasks
from gbmlib.study.networks import NAMED
from gbmlib.study.records import HELD_OUT, Store


def card(name: str, networks: Path = NETWORKS, published: Path = RECORDS) -> str:
    """Mean Dice of held-out cases by region, as a table in Markdown: of the network, of all networks that were trained
    like it, one for each fold, and of the hippocampus what table 2 prints."""
    record, store = Store(networks).named(NAMED[name]), Store(published)
    run = record.experiment
    like_it = [record_like_it for fold in range(run.folds) if (record_like_it := store.get(run.changed(fold=fold)))]
    regions = BRATS if name == "glioma" else list(record.cases.region.unique())
    rows = []
    for label, records in (("this network", [record]), (f"the {len(like_it)} that were trained like it", like_it)):
        tables = [one.cases[(one.cases.split == HELD_OUT) & (one.cases.metric == "dice")] for one in records]
        means = [sum(t[t.region == region].value.sum() for t in tables) for region in regions]
        cases = sum(t.case.nunique() for t in tables)
        rows.append([label, str(cases), *(f"{total / cases:.3f}" for total in means)])
    if name == "hippocampus":
        printed = papers.table_2("Hippocampus").loc["3D", regions]
        cases = tasks()["Hippocampus"].cases
        rows.append(["Paper B's table 2, 3D", str(cases), *(f"{dice:.3f}" for dice in printed)])
    return markdown_table(["Dice of", "cases", *regions], rows)


class NetworkCard(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[Node]:
        for path in NETWORKS.glob("*/cases.csv"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(card(self.arguments[0]))


def setup(app):
    app.add_directive("network-card", NetworkCard)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
