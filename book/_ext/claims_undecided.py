"""The claims that the published records do not decide, and what would, for the page on what was not reproduced.

Text is Markdown as the book's pages are written in; ``book/_ext/honesty.py`` puts it into them when the book is built.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from statistics import median

from gbmlib.claims.evidence import Comparison, wanted
from gbmlib.claims.ledger import Open
from gbmlib.claims.verdicts import NOT_YET, UNDECIDED, Verdict
from gbmlib.study import scales
from gbmlib.study.catalogue import data
from gbmlib.study.records import Store


def insufficient(verdicts: Mapping[str, Verdict]) -> str:
    """The claims whose records are all there and do not suffice."""
    undecided = [verdict for verdict in verdicts.values() if verdict.word == UNDECIDED]
    if not undecided:
        return "Every claim that has its records is decided."
    widths = [
        one.difference.high - one.difference.low
        for one in _comparisons(undecided)
        if one.difference is not None and one.difference.high > one.difference.low
    ]
    text = f"{len(undecided)} of {len(verdicts)} claims."
    if widths:
        margins = " or ".join(f"{2 * margin:g}" for margin in sorted({one.margin for one in _comparisons(undecided)}))
        text += (
            f" The median interval of their comparisons is {median(widths):.3f} wide; to show that a difference is "
            f"none, it may not be wider than {margins}."
        )
    items = "\n".join(
        f"- {_linked(verdict)}: {'; '.join([*_differences(verdict), verdict.why])}" for verdict in undecided
    )
    return (
        f"{text} Most of the width is the luck of training: how one and the same case turns out with another network. "
        "So more seeds narrow it, more folds where only some were run, and more cases, which every chapter takes "
        "(`-p cohort brats:PATH`). The papers' scale on a graphics card would make these runs:"
        f"\n\n```bash\n{_command(undecided)}\n```\n\n{items}"
    )


def unsound(verdicts: Mapping[str, Verdict]) -> str:
    """The claims whose records are all there and cannot decide, by the kinds of reasons, with what they show so far."""
    uncertain = [verdict for verdict in verdicts.values() if verdict.unsound]
    if not uncertain:
        return "No claim rests on runs that are not sound."
    kinds: dict[str, list[Verdict]] = {}
    for verdict in uncertain:
        reasons = dict.fromkeys(reason for comparison in verdict.comparisons for reason in comparison.unsound)
        kinds.setdefault(", ".join(sorted({reason.split(":")[0] for reason in reasons})), []).append(verdict)
    lines = [f"{len(uncertain)} of {len(verdicts)} claims.\n"]
    for kind, of_kind in sorted(kinds.items()):
        lines += [f"**{kind.capitalize()}**\n"]
        lines += [f"- {_linked(verdict)}: {'; '.join(_differences(verdict))}" for verdict in of_kind]
        lines.append("")
    return "\n".join(lines).rstrip()


def without_records(verdicts: Mapping[str, Verdict], store: Store) -> str:
    """The claims that lack runs, and the commands that make them."""
    incomplete = [verdict for verdict in verdicts.values() if verdict.word == NOT_YET and not verdict.unsound]
    incomplete = [verdict for verdict in incomplete if not isinstance(verdict.claim.decided_by, Open)]
    if not incomplete:
        return "No claim lacks a run."
    by_data: dict[str, list[Verdict]] = {}
    for verdict in incomplete:
        by_data.setdefault(data(wanted(verdict.claim, verdict.scale)), []).append(verdict)
    lines = []
    for specs, of_data in sorted(by_data.items()):
        runs = {run.id: run for verdict in of_data for run in wanted(verdict.claim, verdict.scale)}
        missing = sum(store.get(run) is None for run in runs.values())
        lines.append(f"`python -m gbmlib run {specs} --claims` makes the {missing} that these need:\n")
        lines += [f"- {_linked(verdict)}: {verdict.why}" for verdict in of_data]
        lines.append("")
    return f"{len(incomplete)} of {len(verdicts)} claims.\n\n" + "\n".join(lines)


def without_runs(verdicts: Mapping[str, Verdict]) -> str:
    """The claims that nothing in the study decides, and what would."""
    open_claims = [verdict for verdict in verdicts.values() if isinstance(verdict.claim.decided_by, Open)]
    return "\n".join(f"- {_linked(verdict)}: {verdict.why}" for verdict in open_claims) or "There is none."


def _command(verdicts: Iterable[Verdict]) -> str:
    """The command that makes the runs of some claims at the papers' scale, in lines that fit a page."""
    scale, claims = scales.PUBLISHED[0], [verdict.claim for verdict in verdicts]
    specs = data(run for claim in claims for run in wanted(claim, scale))
    words = ["python -m gbmlib run", specs, "--claims", *(claim.id for claim in claims), f"--profile {scale}"]
    lines = textwrap.wrap(" ".join(words), 76, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return " \\\n".join(lines)


def _comparisons(verdicts: Iterable[Verdict]) -> list[Comparison]:
    return [comparison for verdict in verdicts for comparison in verdict.comparisons]


def _differences(verdict: Verdict) -> list[str]:
    return [str(comparison.difference) for comparison in verdict.comparisons if comparison.difference]


def _linked(verdict: Verdict) -> str:
    return f"{{ref}}`{verdict.claim.title} <{verdict.claim.anchor}>`"
