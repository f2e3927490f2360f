"""Sphinx extension: the directive ``costs``, what the published runs took in minutes and memory.

The table is made from ``book/records`` each time the page is built.
"""

from pathlib import Path

from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from gbmlib.analysis import costs
from gbmlib.study.records import Store


class Costs(SphinxDirective):
    """No arguments, no content: ``analysis.costs.markdown`` of the published records."""

    def run(self) -> list[Node]:
        published = Path(self.env.srcdir) / "book" / "records"
        for path in published.glob("*/provenance.json"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(costs.markdown(Store(published).all()))


def setup(app):
    app.add_directive("costs", Costs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
