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
    """The classes of a row, which the filter reads."""
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
    claim, compared = verdict.claim, [comparison for comparison in verdict.comparisons if comparison.difference]
    text = f"**{claim.title}**\n\n{claim.claim}\n\nPaper {claim.paper}, {claim.place} · {link}"
    word, why = f"{MARKS[verdict.word]} {verdict.label}", sentence(verdict.why) if verdict.why else ""
    if isinstance(claim.decided_by, ByCheck):
        return [text, word, why]
    reasons = [why] * bool(why) + [f"`{verdict.command}`"] * bool(verdict.command)
    return [text, "\n\n".join([word, *reasons]), "\n\n".join(_evidence(comparison) for comparison in compared)]


def details(verdict: Verdict, families: Mapping[str, int]) -> str:
    """The evidence of a verdict in Markdown: comparisons, runs and statistics; empty for a check."""
    lines = []
    for comparison in verdict.comparisons:
        differences = [f": {comparison.difference}"] if comparison.difference else []
        numbers = [_statistics(comparison)] if comparison.paired else []
        lines.append("".join([f"- {_named(comparison, verdict.claim)}", *differences, *numbers]))
    by = verdict.claim.decided_by
    if isinstance(by, ByRuns | ByFactorial):
        where = f"the runs *{by.source}* at the scale *{verdict.scale}*"
        family = verdict.claim.family
        size = f", {counted(families[family], 'test')} in the family *{family}*" if family else ""
        lines.append(f"- From {where}{size}; asked is {_asked(verdict)}.")
    ids = dict.fromkeys(record for comparison in verdict.comparisons for record in comparison.ids)
    if ids:
        lines.append(f"- {counted(len(ids), 'record')}: {', '.join(f'`{record}`' for record in ids)}.")
    return "\n".join(lines)


def family_sizes(verdicts: Verdicts) -> dict[str, int]:
    """How many tests each family holds; what two claims ask alike is one."""
    tests: dict[str, set[Hashable]] = {}
    for verdict in verdicts.values():
        claim = verdict.claim
        if claim.family:
            questions = (question(claim, comparison) for comparison in verdict.comparisons)
            tests.setdefault(claim.family, set()).update(questions)
    return {family: len(questions) for family, questions in tests.items()}


def tests(verdicts: Verdicts) -> str:
    """How many tests were made, and how often chance alone would have had its way, as Markdown."""
    tested = {
        question(verdict.claim, comparison): comparison
        for verdict in verdicts.values()
        for comparison in verdict.comparisons
        if comparison.complete and comparison.paired and not comparison.unsound
    }
    families = {
        verdict.claim.family
        for verdict in verdicts.values()
        if any(question(verdict.claim, comparison) in tested for comparison in verdict.comparisons)
    }
    if not tested:
        return "No comparison has all its records yet, made by sound runs."
    counts = sorted({comparison.difference.cases for comparison in tested.values()})
    return (
        f"{counted(len(tested), 'comparison')} in {len(families)} of the families have all their records, made by "
        f"sound runs, on {listed([str(count) for count in counts])} cases. With n cases p cannot be below 2 to the "
        f"power of 1 - n: {probability(2.0 ** (1 - counts[0]))} for {counts[0]}. If nothing made any difference at "
        f"all, about {LEVEL * len(families):.1f} of these families would still show one."
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
        + "".join(f'<option value="{value}">{html.escape(text)}</option>' for value, text in choices.items())
        + "</select></label>"
        for name, choices in options.items()
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
    headings = {}
    for path in sorted(Path(root).glob("notebooks/*.ipynb")):
        sources = ("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
        headings[path.stem] = _heading("\n".join(sources)) or path.stem
    for path in sorted(Path(root).glob("book/*.md")):
        headings[path.stem] = _heading(path.read_text(encoding="utf-8")) or path.stem
    return headings


def sentence(text: str) -> str:
    """Text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _evidence(comparison: Comparison) -> str:
    """A comparison as it stands beside the verdict: difference, cases, adjusted p (in one piece: no-break spaces), and
    the same over networks."""
    p = f", p {relation(comparison.adjusted)}".replace(" ", "\u00a0").replace(",\u00a0", ", ")
    over = over_networks(comparison.networks.difference, comparison.networks.detectable) if comparison.networks else ""
    cases = f"{'' if comparison.complete else 'so far '}{comparison.difference}, {comparison.difference.cases} cases"
    cases += p if _tested(comparison) else ""
    return f"{cases}{f'; {over}' if over else ''}{_caution(comparison)}"


def _caution(comparison: Comparison) -> str:
    return f"; {comparison.caution}" if comparison.caution else ""


def _measured(measure: str) -> str:
    return {"dice": "Dice"}.get(measure, measure.replace("_", " "))


def _tested(comparison: Comparison) -> bool:
    return not math.isnan(comparison.adjusted)


def _statistics(comparison: Comparison) -> str:
    paired = comparison.paired
    seeds = ", ".join(f"{value:+.3f}" for value in paired.by_seed.values())
    return (
        f"; rank-biserial correlation {paired.effect:+.2f}; p {probability(paired.p)} (Wilcoxon), "
        f"{probability(comparison.adjusted) if _tested(comparison) else 'not counted yet'} after Holm; "
        f"p of equivalence {probability(paired.p_equivalence)}; {_of_networks(comparison)}"
        + (f"by seed {seeds}" if len(paired.by_seed) > 1 else "one seed")
        + f"; {comparison.available} of {comparison.wanted} runs"
    )


def _of_networks(comparison: Comparison) -> str:
    """The difference over trained networks, as a clause of a verdict's details."""
    if comparison.networks is None:
        return ""
    over = comparison.networks
    text = over_networks(over.difference, over.detectable)
    if not math.isnan(over.p):
        text += f", p {relation(over.p)} by flipping the signs of {over.pairs} pairs of networks"
    return f"{text}; "


def _named(comparison: Comparison, claim: Claim) -> str:
    by = claim.decided_by
    if isinstance(by, ByFactorial):
        return "spread of the pipelines − spread of the networks, in Dice"
    region = f" of {by.region}" if by.region else ""
    sides = []
    for label, measure, split in (
        (comparison.this, by.measure, by.split),
        (comparison.that, by.that_measure or by.measure, by.that_split or by.split),
    ):
        what = _measured(measure)
        where = {"held out": "", "train": " on training cases", GAP: ", trained on less held out"}[split]
        sides.append(f"*{label}* ({what}{region}{where})")
    return " − ".join(sides)


def _asked(verdict: Verdict) -> str:
    claim, margin = verdict.claim, max(comparison.margin for comparison in verdict.comparisons)
    condition = {
        "no difference": f"intervals within {margin:g}",
        "no worse": f"intervals that do not reach below −{margin:g}",
        "better": f"a difference in favour of the first (margin {margin:g})",
        "worse": f"a difference against the first (margin {margin:g})",
    }[claim.kind]
    less = isinstance(claim.decided_by, ByRuns) and claim.decided_by.split == GAP
    return f"{condition}{'; a smaller gap is better' if less else ''}"


def _heading(text: str) -> str:
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")
