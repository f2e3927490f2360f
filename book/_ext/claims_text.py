"""What the book shows of the claims: the table's cells, its filter, and the grid of its first page.

Text is Markdown as the book's pages are written in; ``book/_ext/claims.py`` puts it into them when the book is built.
"""

from __future__ import annotations

import html
import json
import math
from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path

from gbmlib.analysis.intervals import LEVEL
from gbmlib.analysis.scores import GAP
from gbmlib.claims.evidence import Comparison, question
from gbmlib.claims.ledger import ByCheck, ByFactorial, ByRuns, Claim
from gbmlib.claims.verdicts import NOT_SUPPORTED, NOT_YET, SUPPORTED, WORDS, Verdict
from gbmlib.files import counted, listed
from gbmlib.pages.text import over_networks, probability, relation

Verdicts = Mapping[str, Verdict]

PAPERS = {"A": "Adeniji and Liu 2019", "B": "Isensee et al. 2018"}
COLUMNS = ("Claim", "Verdict", "Evidence")

#: What each verdict is marked with beside its colour.
MARKS = {SUPPORTED: "✓", NOT_SUPPORTED: "✗", WORDS[2]: "?", NOT_YET: "…"}

_HERE = Path(__file__).parent


# ------------------------------------------------------------------------------------------------------------ the table


def classes(verdict: Verdict) -> list[str]:
    """Of a row, which the filter reads."""
    claim = verdict.claim
    return ["gbm-claim", f"paper-{claim.paper.lower()}", slug(verdict.word), f"in-{claim.chapter}"]


def slug(word: str) -> str:
    """A verdict as the name of a class: ``verdict-not-supported``."""
    return f"verdict-{word.replace(' ', '-')}"


def cells(verdict: Verdict, link: str) -> list[str]:
    """A row of the table, as :data:`COLUMNS`, in Markdown.

    Args:
        link: of the chapter, in Markdown.
    """
    claim, compared = verdict.claim, [of for of in verdict.comparisons if of.difference]
    said = f"**{claim.title}**\n\n{claim.claim}\n\nPaper {claim.paper}, {claim.place} · {link}"
    word, why = f"{MARKS[verdict.word]} {verdict.label}", sentence(verdict.why) if verdict.why else ""
    if isinstance(claim.decided_by, ByCheck):
        return [said, word, why]
    reasons = [why] * bool(why) + [f"`{verdict.command}`"] * bool(verdict.command)
    return [said, "\n\n".join([word, *reasons]), "\n\n".join(_evidence(of) for of in compared)]


def details(verdict: Verdict, families: Mapping[str, int]) -> str:
    """What is behind a verdict, as Markdown: what was compared, on what, with which statistics; empty for a check."""
    lines = []
    for of in verdict.comparisons:
        numbers = [_statistics(of)] if of.paired else []
        lines.append(
            f"- {_named(of, verdict.claim)}" + (f": {of.difference}" if of.difference else "") + "".join(numbers)
        )
    by = verdict.claim.decided_by
    if isinstance(by, ByRuns | ByFactorial):
        where = f"the runs *{by.source}* at the scale *{verdict.scale}*"
        family = verdict.claim.family
        size = f", {counted(families[family], 'test')} in the family *{family}*" if family else ""
        lines.append(f"- From {where}{size}; asked is {_asked(verdict)}.")
    ids = dict.fromkeys(record for of in verdict.comparisons for record in of.ids)
    if ids:
        lines.append(f"- {counted(len(ids), 'record')}: {', '.join(f'`{record}`' for record in ids)}.")
    return "\n".join(lines)


def family_sizes(verdicts: Verdicts) -> dict[str, int]:
    """How many tests each family holds; what two claims ask alike is one."""
    tests: dict[str, set[Hashable]] = {}
    for claim, comparisons in ((of.claim, of.comparisons) for of in verdicts.values() if of.claim.family):
        tests.setdefault(claim.family, set()).update(question(claim, of) for of in comparisons)
    return {family: len(of) for family, of in tests.items()}


def tests(verdicts: Verdicts) -> str:
    """How many tests were made, and how often chance alone would have had its way, as Markdown."""
    made = {
        question(verdict.claim, of): of
        for verdict in verdicts.values()
        for of in verdict.comparisons
        if of.complete and of.paired and not of.unsound
    }
    families = {
        verdict.claim.family
        for verdict in verdicts.values()
        if any(question(verdict.claim, of) in made for of in verdict.comparisons)
    }
    if not made:
        return "No comparison has all its records yet, made by sound runs."
    counts = sorted({of.difference.cases for of in made.values()})
    return (
        f"{counted(len(made), 'comparison')} in {len(families)} of the families have all their records, made by sound "
        f"runs, on {listed([str(count) for count in counts])} cases. With n cases p cannot be below 2 to the power of "
        f"1 - n: {probability(2.0 ** (1 - counts[0]))} for {counts[0]}. If nothing made any difference at all, about "
        f"{LEVEL * len(families):.1f} of these families would still show one."
    )


def controls(verdicts: Verdicts, titles: Mapping[str, str]) -> str:
    """The filter as HTML: style, fields and script; nothing is loaded from anywhere."""
    chapters = dict.fromkeys(verdict.claim.chapter for verdict in verdicts.values())
    options = {
        "Paper": {f"paper-{key.lower()}": f"{key}: {name}" for key, name in PAPERS.items()},
        "Verdict": {slug(word): word for word in WORDS},
        "Chapter": {f"in-{name}": titles.get(name, name) for name in sorted(chapters)},
    }
    fields = "".join(
        f'<label>{name} <select><option value="">all</option>'
        + "".join(f'<option value="{value}">{html.escape(text)}</option>' for value, text in of.items())
        + "</select></label>"
        for name, of in options.items()
    )
    style, script = ((_HERE / f"claims.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        f'<style>{style}</style><div class="gbm-claims-filter" role="group" aria-label="Show some claims" hidden>'
        f'{fields}<label>Words <input type="search"></label><output aria-live="polite"></output></div>'
        f"<script>{script}</script>"
    )


# ------------------------------------------------------------------------------------------------------ the first page


def grid(verdicts: Verdicts) -> str:
    """Every claim as a square in the colour of its verdict, a link to its row, by paper and verdict, as HTML for a page
    beside the one with the table."""
    style = (_HERE / "claims.css").read_text(encoding="utf-8")
    papers = []
    for paper, name in PAPERS.items():
        claimed = [verdict for verdict in verdicts.values() if verdict.claim.paper == paper]
        counts = Counter(verdict.word for verdict in claimed)
        keys = "".join(
            f'<li class="{slug(word)}"><b>{MARKS[word]}</b> {word}: {counts[word]}</li>'
            for word in WORDS
            if counts[word]
        )
        squares = "".join(map(_square, sorted(claimed, key=lambda verdict: WORDS.index(verdict.word))))
        papers.append(
            f'<h3>Paper {paper}: {html.escape(name)}</h3><ul class="gbm-claims-key">{keys}</ul>'
            f'<ul class="gbm-claims-grid">{squares}</ul>'
        )
    return f"<style>{style}</style>{''.join(papers)}"


def _square(verdict: Verdict) -> str:
    """A claim's square; its verdict is read out, and shown where the pointer rests."""
    numbers = [str(one.difference) for one in verdict.comparisons if one.complete]
    words = html.escape(f"{verdict.claim.title}: {'; '.join([verdict.label, *numbers])}", quote=True)
    return (
        f'<li class="{slug(verdict.word)}"><a href="claims.html#{verdict.claim.anchor}" title="{words}" '
        f'aria-label="{words}">{MARKS[verdict.word]}</a></li>'
    )


def titles(root: str | Path) -> dict[str, str]:
    """The first heading of each chapter below a repository's root, by the name of its file."""
    found = {}
    for path in sorted(Path(root).glob("notebooks/*.ipynb")):
        sources = ("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
        found[path.stem] = _heading("\n".join(sources)) or path.stem
    for path in sorted(Path(root).glob("book/*.md")):
        found[path.stem] = _heading(path.read_text(encoding="utf-8")) or path.stem
    return found


def sentence(text: str) -> str:
    """Text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _evidence(of: Comparison) -> str:
    """A comparison as it stands beside the verdict: difference, cases, adjusted p (in one piece: no-break spaces), and
    the same over networks."""
    p = f", p {relation(of.adjusted)}".replace(" ", "\u00a0").replace(",\u00a0", ", ") if _tested(of) else ""
    over = over_networks(of.networks.difference, of.networks.detectable) if of.networks else ""
    cases = f"{'' if of.complete else 'so far '}{of.difference}, {of.difference.cases} cases{p}"
    return f"{cases}{f'; {over}' if over else ''}{_caution(of)}"


def _caution(of: Comparison) -> str:
    return f"; {of.caution}" if of.caution else ""


def _measured(measure: str) -> str:
    return {"dice": "Dice"}.get(measure, measure.replace("_", " "))


def _tested(of: Comparison) -> bool:
    return not math.isnan(of.adjusted)


def _statistics(of: Comparison) -> str:
    found = of.paired
    seeds = ", ".join(f"{value:+.3f}" for value in found.by_seed.values())
    return (
        f"; rank-biserial correlation {found.effect:+.2f}; p {probability(found.p)} (Wilcoxon), "
        f"{probability(of.adjusted) if _tested(of) else 'not counted yet'} after Holm; "
        f"p of equivalence {probability(found.p_equivalence)}; {_of_networks(of)}"
        + (f"by seed {seeds}" if len(found.by_seed) > 1 else "one seed")
        + f"; {of.there} of {of.wanted} runs"
    )


def _of_networks(of: Comparison) -> str:
    """What the trained networks say, as it stands behind a verdict."""
    if of.networks is None:
        return ""
    said = over_networks(of.networks.difference, of.networks.detectable)
    if not math.isnan(of.networks.p):
        said += f", p {relation(of.networks.p)} by flipping the signs of {of.networks.pairs} pairs of networks"
    return f"{said}; "


def _named(of: Comparison, claim: Claim) -> str:
    by = claim.decided_by
    if isinstance(by, ByFactorial):
        return "spread of the pipelines − spread of the networks, in Dice"
    region = f" of {by.region}" if by.region else ""
    sides = []
    for label, measure, split in (
        (of.this, by.measure, by.split),
        (of.that, by.that_measure or by.measure, by.that_split or by.split),
    ):
        what = _measured(measure)
        known = {"held out": "", "train": " on training cases", GAP: ", trained on less held out"}
        where = known.get(split, f" on {split}")  # or another cohort by its name
        sides.append(f"*{label}* ({what}{region}{where})")
    return " − ".join(sides)


def _asked(verdict: Verdict) -> str:
    claim, margin = verdict.claim, max(of.margin for of in verdict.comparisons)
    said = {
        "no difference": f"intervals within {margin:g}",
        "no worse": f"intervals that do not reach below −{margin:g}",
        "better": f"a difference in favour of the first (margin {margin:g})",
        "worse": f"a difference against the first (margin {margin:g})",
    }[claim.kind]
    less = isinstance(claim.decided_by, ByRuns) and claim.decided_by.split == GAP
    return f"{said}{'; a smaller gap is better' if less else ''}"


def _heading(text: str) -> str:
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")
