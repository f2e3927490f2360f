"""Sphinx extension: pages that load nothing from outside.

Whatever in the written pages a browser would fetch from the network (scripts, styles, images, fonts, frames) stops the
build. Links that a reader may follow are no such thing.
"""

import re
from pathlib import Path

from sphinx.errors import SphinxError

_ASSETS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object|image)\b[^>]*?\s(?:src|data|poster|(?:xlink:)?href)\s*=\s*
        ["'](?P<src>(?:https?:)?//[^"']+)
      | <link\b(?=[^>]*\brel\s*=\s*["'](?:stylesheet|preload|icon|preconnect|dns-prefetch|modulepreload|prefetch)\b)
        [^>]*?\shref\s*=\s*["'](?P<link>(?:https?:)?//[^"']+)
      | \burl\(\s*["']?(?P<url>(?:https?:)?//[^"')]+)
      | @import\s+["'](?P<rule>(?:https?:)?//[^"']+)""",
    re.IGNORECASE | re.VERBOSE,
)


def outside_assets(text: str) -> list[str]:
    """Addresses that a browser fetches from the network by itself when it shows this HTML or CSS."""
    return [next(filter(None, match.groups())) for match in _ASSETS.finditer(text)]


def refuse_outside_assets(app, exception) -> None:
    """Raises :class:`SphinxError`: a written page or style sheet refers to assets elsewhere; all of them are listed."""
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    addresses = [
        f"  {path.relative_to(out)}: {address}"
        for path in sorted([*out.rglob("*.html"), *out.rglob("*.css")])
        for address in outside_assets(path.read_text(encoding="utf-8"))
    ]
    if addresses:
        message = "The book must work offline, but these would be fetched from outside:"
        raise SphinxError("\n".join([message, *addresses]))


def setup(app):
    app.connect("build-finished", refuse_outside_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
