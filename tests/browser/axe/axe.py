"""axe-core in a page: what it finds against the rules for accessible pages, in words."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "axe.min.js"

#: What no page may have. ``minor`` and ``moderate`` findings are advice.
GRAVE = ("serious", "critical")


def altered() -> list[str]:
    """The files by others in this folder that are not what they were."""
    lines = (FOLDER / "checksums.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("  ", 1) for line in lines)
    return [name for digest, name in pairs if hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() != digest]


def findings(page, within: str | None = None, impacts: tuple[str, ...] = GRAVE) -> list[str]:
    """What axe finds in a playwright page, or in the part of it that a selector names: rule, element and remedy.

    Style sheets are not read again (``preload``): a page on the disk may not fetch its neighbours.
    """
    page.evaluate(SCRIPT.read_text(encoding="utf-8"))
    found = page.evaluate(
        "(within) => axe.run(within ?? document, { resultTypes: ['violations'], preload: false })", within
    )
    return [
        f"{violation['impact']} {violation['id']}: {node['html'][:200]}\n    {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in impacts
        for node in violation["nodes"]
    ]
