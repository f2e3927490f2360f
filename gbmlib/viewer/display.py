"""How a figure reaches its reader: as HTML that stands by itself in the book, as a live object in JupyterLab."""

from __future__ import annotations

import copy
import html
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gbmlib.files import written

#: The bundle that every page of the book shares, below the page's own ``data-content_root``.
PLOTLY = "_static/plotly-cartesian.min.js"

_numbers = itertools.count(1)


def is_static(mode: str | None = None) -> bool:
    """Whether ``mode`` is "static"; without one, whether the notebook is executed for the book (``GBM_STATIC`` is 1):
    pages of the book have no kernel."""
    return os.environ.get("GBM_STATIC") == "1" if mode is None else mode == "static"


def show(figure: Any, description: str = "") -> Any:
    """A plotly figure in the form that the reader's page can draw; make it the last expression of a cell.

    Args:
        figure: a ``plotly.graph_objects.Figure``; it is left as it is.
        description: what the figure shows, for readers who cannot see it. Without one the figure's title is read out,
            or else the names of its traces.

    Returns:
        In a static page a :class:`StaticFigure`; live the figure itself.
    """
    return StaticFigure(figure, description or _described(figure)) if is_static() else figure


def source(*names: str) -> str:
    """The scripts or styles of these names, which lie beside this file, one after the other."""
    return "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


def save_page(path: str | Path, title: str, fragment: str) -> Path:
    """Write a viewer's HTML as a web page of its own; whole or not at all. Gives back the path."""
    path = Path(path)
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body { max-width: 72rem; margin: 0 auto; padding: 0.5rem; background: #15181c; }</style>\n"
        f"</head>\n<body>\n<main>\n{fragment}\n</main>\n</body>\n</html>\n"
    )
    with written(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


@dataclass(frozen=True)
class StaticFigure:
    """A plotly figure as HTML that loads the book's own bundle, once for all figures of a page.

    The page's colours shine through: paper and plot are transparent, grid lines half so, and text takes the colour of
    the text around it. The figure takes the width that it is given, down to a phone's.
    """

    figure: Any
    description: str

    def _repr_html_(self) -> str:
        drawing = _neutral(self.figure).to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"gbm-figure-{next(_numbers)}",
            default_width="100%",
            default_height=f"{self.figure.layout.height or 450}px",
            config=_CONFIG,
        )
        config = json.dumps(_CONFIG)  # which cannot hold a function
        drawing = drawing.replace(config, f"{{...{config}, modeBarButtonsToAdd: [gbmAsTable]}}")
        # Plotly's own script expects the bundle to be there already. Held back as plain text, it waits for the loader.
        held, scripts = re.subn(r"<script[^>]*>", '<script type="text/plain" class="gbm-figure-held">', drawing)
        if scripts != 1:
            raise RuntimeError(
                f"plotly wrote {scripts} scripts where gbmlib.viewer.display expects one; it has to follow"
            )
        label = html.escape(self.description, quote=True)
        return (
            f'<div class="gbm-figure" role="figure" aria-label="{label}">{held}</div>\n'
            f"<style>{_STYLE}</style>\n<script>{source('figure.js').replace('PLOTLY', PLOTLY, 1)}</script>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.description}


_LINES = "rgba(128, 128, 128, 0.35)"

_STYLE = """
.gbm-figure { max-width: 100%; overflow: hidden; }
.gbm-figure :is([class$="tick"], [class^="g-x"], [class^="g-y"], .g-gtitle, .legend) text {
  fill: currentColor !important; }
html[data-theme=dark] .text_html:has(> .gbm-figure) {
  background: none !important; color: var(--pst-color-text-base) !important; }
"""

_CONFIG = {"responsive": True, "displaylogo": False}


def _neutral(figure: Any) -> Any:
    """A copy without colours and sizes that assume a white page of a certain width."""
    figure = copy.deepcopy(figure)
    clear = "rgba(0, 0, 0, 0)"
    figure.update_layout(paper_bgcolor=clear, plot_bgcolor=clear, autosize=True, width=None)
    figure.update_layout(legend_bgcolor=clear)
    figure.update_xaxes(gridcolor=_LINES, zerolinecolor=_LINES, automargin=True)
    figure.update_yaxes(gridcolor=_LINES, zerolinecolor=_LINES, automargin=True)
    return figure


def _described(figure: Any) -> str:
    if figure.layout.title.text:
        return figure.layout.title.text
    names = dict.fromkeys(trace.name for trace in figure.data if trace.name)
    return "Plot of " + ", ".join(names) if names else "Plot"
