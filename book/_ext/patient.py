"""Sphinx extension: ``{patient} BRATS_308`` shows a real patient with the label maps of some networks side by side.

The networks are those that the option ``networks`` names, folders of ``book/cases/predictions``.
"""

from typing import ClassVar

from docutils import nodes
from docutils.nodes import Node
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from gbmlib.pages import patients
from gbmlib.viewer import view


class Patient(SphinxDirective):
    required_arguments = 1
    option_spec: ClassVar = {
        "networks": directives.unchanged_required,
        "modalities": directives.unchanged,
        "title": str,
    }

    def run(self) -> list[Node]:
        for path in patients.CASES.rglob(f"{self.arguments[0]}*.nii.gz"):
            self.env.note_dependency(str(path))
        patient = patients.case(self.arguments[0])
        viewer = view(
            patient,
            patient.label(),
            overlays=patients.predictions(patient, tuple(self.options["networks"].split(", "))),
            modalities=self.options.get("modalities", "t1ce").split(", "),
            title=self.options.get("title"),
            side_by_side=True,
            mode="static",
        )
        return [nodes.raw("", viewer._repr_html_(), format="html")]


def setup(app):
    app.add_directive("patient", Patient)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
