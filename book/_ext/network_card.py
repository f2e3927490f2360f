"""Sphinx extension: ``{network-card}`` says how well the network that comes with the study does, from records."""

from pathlib import Path

from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from gbmlib.cohorts.regions import BRATS
from gbmlib.files import NETWORKS, RECORDS, markdown_table
from gbmlib.study.records import HELD_OUT, Store


def card(networks: Path = NETWORKS, published: Path = RECORDS) -> str:
    """Mean Dice of held-out patients by region, as a table in Markdown: of the network, and of all networks that were
    trained like it, one for each fold."""
    [record] = Store(networks).all()
    run, store = record.experiment, Store(published)
    like_it = [record_like_it for fold in range(run.folds) if (record_like_it := store.get(run.changed(fold=fold)))]
    rows = []
    for name, records in (("this network", [record]), (f"the {len(like_it)} that were trained like it", like_it)):
        tables = [one.cases[(one.cases.split == HELD_OUT) & (one.cases.metric == "dice")] for one in records]
        means = [sum(t[t.region == region].value.sum() for t in tables) for region in BRATS]
        patients = sum(t.case.nunique() for t in tables)
        rows.append([name, str(patients), *(f"{total / patients:.2f}" for total in means)])
    return markdown_table(["Dice of", "patients", *BRATS], rows)


class NetworkCard(SphinxDirective):
    def run(self) -> list[Node]:
        for path in NETWORKS.glob("*/cases.csv"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(card())


def setup(app):
    app.add_directive("network-card", NetworkCard)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
