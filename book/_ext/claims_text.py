"""What the book shows of the claims: the table's cells, what opens below them, the filter, the grid of the first page.

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
from gbmlib.claims.ledger import ByCheck, ByFactorial, ByRuns, Claim, Open
from gbmlib.claims.verdicts import NOT_SUPPORTED, NOT_YET, SUPPORTED, UNDECIDED, WORDS, Verdict
from gbmlib.files import counted, listed
from gbmlib.pages.text import over_networks, probability, relation

Verdicts = Mapping[str, Verdict]

PAPERS = {"A": "Adeniji and Liu 2019", "B": "Isensee et al. 2018"}
COLUMNS = ("Claim", "Verdict", "Evidence")

#: What each verdict is marked with beside its colour.
MARKS = {SUPPORTED: "✓", NOT_SUPPORTED: "✗", UNDECIDED: "?", NOT_YET: "…"}

_HERE = Path(__file__).parent


# ------------------------------------------------------------------------------------------------------------ the table


def classes(verdict: Verdict) -> list[str]:
    """Of a row; the filter reads them as ``FIELD-VALUE``."""
    claim = verdict.claim
    return ["gbm-claim", f"paper-{claim.paper.lower()}", slug(verdict.word), f"chapter-{claim.chapter}"]


def slug(word: str) -> str:
    """A verdict as the name of a class: ``verdict-not-supported``."""
    return f"verdict-{value(word)}"


def value(word: str) -> str:
    """A verdict as it stands in an address."""
    return word.replace(" ", "-")


def evidence(verdict: Verdict) -> str:
    """The number that decides a claim, with its interval, or in a few words why it is not decided."""
    by = verdict.claim.decided_by
    if isinstance(by, ByCheck):
        return sentence(verdict.why).removesuffix(".")
    if isinstance(by, Open):
        return "no runs defined"
    if verdict.missing:
        return f"{counted(verdict.missing, 'run')} missing"
    if verdict.unsound:
        reasons = [reason.split(":")[0] for reason in verdict.why.split("; ")]
        return ", ".join(dict.fromkeys(reasons))
    of = verdict.deciding
    several = len(verdict.comparisons)
    number = f"{of.difference}{f', one of {several} comparisons' if several > 1 else ''}{_caution(of)}"
    clear = not of.difference.low <= 0 <= of.difference.high
    return f"{number}; {verdict.why}" if verdict.word == UNDECIDED and verdict.why and clear else number


def details(verdict: Verdict, families: Mapping[str, int]) -> str:
    """What opens below a claim, as Markdown: the claim, what was compared, what came out, what would decide it."""
    claim = verdict.claim
    by, lines = claim.decided_by, [f"- {_named(of, claim)}: {_numbers(of)}" for of in verdict.comparisons]
    if isinstance(by, ByRuns | ByFactorial):
        size = f"; {counted(families[claim.family], 'test')} in the family *{claim.family}*" if claim.family else ""
        where = f"runs *{by.source}* at the scale *{verdict.scale}*"
        lines.append(f"- It holds with {_asked(verdict)}; {where}{size}.")
    if verdict.why and not isinstance(by, ByCheck):
        lines.append(f"- {'Needed' if isinstance(by, Open) else verdict.word.capitalize()}: {sentence(verdict.why)}")
    if verdict.command:
        lines.append(f"- What would decide it: `{verdict.command}`")
    ids = dict.fromkeys(record for of in verdict.comparisons for record in of.ids)
    if ids:
        lines.append(f"- {counted(len(ids), 'record')}: {', '.join(f'`{record}`' for record in ids)}.")
    place = f"Paper {claim.paper}, {claim.place} · [link to this claim](#{claim.anchor})"
    return "\n".join([claim.claim, "", place, "", *lines])


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


def not_decided(verdicts: Verdicts) -> str:
    """How many claims have no verdict, by what they lack, as Markdown for a page beside the one with the table."""
    reasons = Counter(_lack(of) for of in verdicts.values() if of.word not in (SUPPORTED, NOT_SUPPORTED))
    if not reasons:
        return "Every claim is decided."
    views = [f'<a href="claims.html?verdict={value(word)}">*{word}*</a>' for word in (UNDECIDED, NOT_YET)]
    said = listed([f"{count} {reason}" for reason, count in reasons.most_common()])
    return (
        f"{reasons.total()} of {len(verdicts)} claims: {said}. The page of claims shows them, {' and '.join(views)}; "
        "each opens for what its runs show so far and, where runs are missing, for the command that makes them."
    )


def _lack(verdict: Verdict) -> str:
    """What a claim without a verdict lacks."""
    if isinstance(verdict.claim.decided_by, Open):
        return "for which no runs are defined"
    if verdict.missing:
        return "that lack runs"
    return "whose runs are not sound" if verdict.unsound else "whose runs do not suffice"


def controls(verdicts: Verdicts, titles: Mapping[str, str]) -> str:
    """The filter as HTML: style, fields and script; nothing is loaded from anywhere."""
    chapters = sorted({verdict.claim.chapter for verdict in verdicts.values()})
    options = {
        "Paper": {key.lower(): f"{key}: {name}" for key, name in PAPERS.items()},
        "Verdict": {value(word): word for word in WORDS},
        "Chapter": {name: titles.get(name, name) for name in chapters},
    }
    fields = "".join(
        f'<label>{name} <select name="{name.lower()}"><option value="">all</option>'
        + "".join(f'<option value="{value}">{html.escape(text)}</option>' for value, text in of.items())
        + "</select></label>"
        for name, of in options.items()
    )
    style, script = ((_HERE / f"claims.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        f'<style>{style}</style><div class="gbm-claims-filter" role="group" aria-label="Show some claims" hidden>'
        f'{fields}<label>Words <input name="words" type="search"></label><output aria-live="polite"></output></div>'
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
            f'<li class="{slug(word)}"><a href="claims.html?paper={paper.lower()}&amp;verdict={value(word)}">'
            f"<b>{MARKS[word]}</b> {word}: {counts[word]}</a></li>"
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


def _caution(of: Comparison) -> str:
    return f"; {of.caution}" if of.caution else ""


def _measured(measure: str) -> str:
    return {"dice": "Dice"}.get(measure, measure.replace("_", " "))


def _numbers(of: Comparison) -> str:
    """A comparison with all that decides it: over cases, over networks, and how many of its runs are there."""
    runs = f"{of.available} of {of.wanted} runs"
    if not of.difference:
        return f"{runs}."
    said = f"{of.difference}, {of.difference.cases} cases"
    if not math.isnan(of.adjusted):
        said += f", p {relation(of.adjusted)} after Holm"
    if of.networks and (over := over_networks(of.networks.difference, of.networks.detectable)):
        said += f"; {over}"
        if not math.isnan(of.networks.p):
            said += f", p {relation(of.networks.p)} by flipping the signs of {of.networks.pairs} pairs of networks"
    return f"{said}; {runs}{_caution(of)}."


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
    return f"{said}{', a smaller gap being better' if less else ''}"


def _heading(text: str) -> str:
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")
