"""The claims of the two papers as data: ``book/claims.yml``, read and validated.

A claim is decided by *runs* (one group better than another, on the same cases), by the *factorial* of networks and
pipelines, by a *check* that needs no runs (``claims.checks``), or stays *open*, with what would decide it.
``claims.verdicts`` computes what the records say of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from gbmlib.analysis import scores
from gbmlib.claims.checks import CHECKS
from gbmlib.files import CLAIMS, counted, did_you_mean
from gbmlib.study.catalogue import FAMILIES, runs_of
from gbmlib.study.head_to_head import NETWORKS, NORMALISED
from gbmlib.study.records import HELD_OUT
from gbmlib.study.scales import EXTERNAL, PUBLISHED

Measure = Literal["dice", "precision", "recall", "accuracy", "hausdorff95", "surface_dice"]


class ClaimsError(ValueError):
    """The file of claims cannot be used; the message lists all that is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


#: A group of a cross-validation: each fold predicted by the candidate that the other folds choose.
CHOSEN = "chosen on the other folds"


class ByRuns(_Strict):
    """Groups of a source compared in pairs, (this, that): the claim is that this is better, worse, … than that.

    Attributes:
        source: a name of ``study.catalogue.FAMILIES``, whose labels the pairs hold, or :data:`CHOSEN`.
        measure, split: of what; ``gap`` is how much better cases do where they were trained on, and less is better;
            the name of another cohort is of its cases, which no network has seen.
        that_measure, that_split: of the second of each pair, where it is not the same.
        region: None for the mean over all (of gliomas WT, TC, ET).
        scale: one of ``study.scales.PUBLISHED``; None for the largest that has all records.
    """

    source: str
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    measure: Measure = "dice"
    split: Literal["held out", "train", "gap", EXTERNAL] = HELD_OUT
    that_measure: Measure | None = None
    that_split: Literal["held out", "train"] | None = None
    region: str | None = None
    scale: Literal[PUBLISHED] | None = None


class ByFactorial(_Strict):
    """How far the means of one factor of the head to head lie apart, against those of the other."""

    factorial: Literal["pipelines over networks"]
    networks: tuple[Literal[(*NETWORKS, NORMALISED)], ...] = ()  # all of them
    scale: Literal[PUBLISHED] | None = None

    source: Literal["headtohead", "headtohead-hippocampus"] = "headtohead"


class ByCheck(_Strict):
    """A name of ``claims.checks.CHECKS``."""

    check: str


class Open(_Strict):
    """A claim that nothing in the study decides yet: the runs that would decide it."""

    needs: str = Field(min_length=10)


def _kind_of(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else vars(value)
    return next((name for name in ("check", "needs", "factorial") if name in keys), "runs")


DecidedBy = Annotated[
    Annotated[ByRuns, Tag("runs")]
    | Annotated[ByFactorial, Tag("factorial")]
    | Annotated[ByCheck, Tag("check")]
    | Annotated[Open, Tag("needs")],
    Discriminator(_kind_of),
]


class Claim(_Strict):
    """One claim.

    Attributes:
        id: its anchor, ``claim-ID``.
        paper: ``"A"`` (Adeniji and Liu 2019) or ``"B"`` (Isensee et al. 2018).
        place: the sections where it stands.
        title: a line; claim: in our own words.
        kind: what the first of each pair is to be. ``"no worse"`` asks less than ``"no difference"``: that nothing is
            lost. ``"exact"``: that a check holds.
        chapter: of the book, the name of its file.
        family: the comparisons that Holm's correction takes together: those that answer one question.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
    paper: Literal["A", "B"]
    place: str = Field(min_length=3)
    title: str = Field(min_length=5, max_length=90)
    claim: str = Field(min_length=10)
    kind: Literal["better", "worse", "no difference", "no worse", "exact"]
    chapter: str
    family: str = ""
    decided_by: DecidedBy

    @property
    def anchor(self) -> str:
        """The claim's anchor on the claims page."""
        return f"claim-{self.id}"


def named(ids: Sequence[str]) -> list[Claim]:
    """The claims of some ids; all claims without any.

    Raises:
        ValueError: there is no such claim.
    """
    claims = {claim.id: claim for claim in read()}
    if unknown := [name for name in ids if name not in claims]:
        raise ValueError(f"no claim {', '.join(unknown)}{did_you_mean(unknown[0], claims)}; `verdicts` lists all")
    return [claims[name] for name in ids or claims]


def together(claims: Sequence[Claim]) -> list[Claim]:
    """Some claims with all of their families, whose comparisons are corrected with theirs."""
    families = {claim.family or claim.id for claim in claims}
    return [claim for claim in read() if (claim.family or claim.id) in families]


def read(path: str | Path = CLAIMS, chapters: Sequence[str] | None = None) -> list[Claim]:
    """The claims of a file, in order.

    Args:
        chapters: names that a claim's chapter may have; None for those of the folders ``notebooks`` and ``book`` beside
            the file.

    Raises:
        ClaimsError: all that is wrong, claim by claim.
    """
    path = Path(path)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ClaimsError(f"{path} cannot be read: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise ClaimsError(f"{path} holds no list of claims")
    if chapters is None:
        root = path.resolve().parent.parent
        chapters = [path.stem for path in (*root.glob("notebooks/*.ipynb"), *root.glob("book/*.md"))]
    claims, problems = [], []
    for number, entry in enumerate(entries, 1):
        name = str(entry.get("id", "")) if isinstance(entry, Mapping) else ""
        where = f"claim {number}" + (f" ({name})" if name else "")
        try:
            claims.append(claim := TypeAdapter(Claim).validate_python(entry))
        except ValidationError as error:
            problems += [f"{where}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            continue
        problems += [f"{where}: {problem}" for problem in _problems(claim, chapters)]
    ids = [claim.id for claim in claims]
    problems += [f"id {name} is used {ids.count(name)} times" for name in dict.fromkeys(ids) if ids.count(name) > 1]
    if problems:
        raise ClaimsError(
            f"{path} has {counted(len(problems), 'problem')}:\n" + "\n".join(f"- {problem}" for problem in problems)
        )
    return claims


def _problems(claim: Claim, chapters: Sequence[str]) -> list[str]:
    by, problems = claim.decided_by, []
    if claim.chapter not in chapters:
        problems.append(f"chapter {claim.chapter!r} is none of {', '.join(sorted(chapters))}")
    if isinstance(by, ByCheck) and by.check not in CHECKS:
        problems.append(f"check {by.check!r} is none of {', '.join(CHECKS)}")
    if isinstance(by, ByCheck) != (claim.kind == "exact"):
        problems.append("kind 'exact' goes with a check, and a check with kind 'exact'")
    if not isinstance(by, ByRuns):
        return problems
    if not claim.family:
        problems.append("family is missing: which comparisons are corrected together?")
    if by.split == scores.GAP and (by.that_split or by.that_measure):
        problems.append("a gap is compared with a gap alone")
    if by.source not in FAMILIES:
        return [*problems, f"source {by.source!r} is none of {', '.join(FAMILIES)}"]
    scales = (by.scale,) if by.scale else PUBLISHED
    labels = dict.fromkeys(label for scale in scales for label in runs_of(by.source, scale))
    for label in dict.fromkeys(name for pair in by.pairs for name in pair):
        if label not in (*labels, CHOSEN):
            problems.append(f"{by.source} has no group {label!r} at any scale; it has {', '.join(labels)}")
    alike = [pair for pair in by.pairs if pair[0] == pair[1]]
    if alike and not (by.that_measure or by.that_split):
        problems.append(f"{alike[0][0]!r} is compared with itself")
    return problems
