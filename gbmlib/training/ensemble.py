"""What is made of trained networks without training them: averages, mirrorings, post-processing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from gbmlib.training.configuration import Experiment, canonical, digest


class Ensemble(BaseModel):
    """The average of some networks, with what follows it.

    Isensee et al. (2018), section 2.5 and 2.6: probabilities of several networks are averaged; a class that is one
    component in every training label keeps its largest component alone. An ensemble is run, kept and compared as an
    :class:`Experiment` is.

    Attributes:
        members: the configurations whose networks predict; of one cohort, one fold and the same channels.
        mirrored: whether predictions are averaged over mirrorings; None for as each member has it.
        single_components: post-process, by what the training labels of the fold say (``evaluation.components``).
        connectivity: of that rule's components: 6 for voxels that share a face, 26 for faces, edges and corners.
        elsewhere: the name of another cohort, on whose cases the average is measured in place of the held-out ones. Its
            members may be of different folds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[Experiment, ...]
    mirrored: bool | None = None
    single_components: bool = False
    connectivity: Literal[6, 26] = 6
    elsewhere: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Ensemble:
        if not self.members:
            raise ValueError("members is empty; an ensemble needs one network at least")
        faults, first = [], self.members[0]
        alike = ["cohort", "folds", "regions", "modalities", "softmax", *([] if self.elsewhere else ["fold"])]
        for name in alike:
            found = {getattr(member, name) for member in self.members}
            if len(found) > 1:
                faults.append(f"members have {name} {', '.join(map(str, sorted(found)))}; they must share it")
        if len({member.id for member in self.members}) < len(self.members):
            faults.append("a member is named twice")
        if self.mirrored is not None and all(member.mirrored_inference == self.mirrored for member in self.members):
            faults.append(f"mirrored is {self.mirrored}, as all members have it already; leave it out")
        if self.connectivity != 6 and not self.single_components:
            faults.append(f"connectivity is {self.connectivity}, which only single_components reads; leave it out")
        if self.elsewhere is not None:
            if any(mark in self.elsewhere for mark in ("/", "\\")):
                faults.append(f"elsewhere {self.elsewhere!r} is a path; give the cohort's name (open_cohort(…).name)")
            if any(member.previous is not None for member in self.members):
                faults.append("elsewhere: a cascade is measured on its own cohort alone")
        elif len(self.members) == 1 and self.mirrored is None and not self.single_components:
            faults.append(f"an ensemble of {first.id} alone is what it is without one; run that")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def needs(self) -> tuple[Experiment, ...]:
        """The runs that must be there first."""
        return self.members

    @property
    def cohort(self) -> str:
        return self.members[0].cohort

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.members[0].modalities

    @property
    def regions(self) -> str:
        return self.members[0].regions

    @property
    def folds(self) -> int:
        return self.members[0].folds

    @property
    def fold(self) -> int:
        return self.members[0].fold

    @property
    def seed(self) -> int:
        return self.members[0].seed

    @property
    def canonical(self) -> str:
        """What decides the run's name: ``training.configuration.canonical``."""
        return canonical(self)

    @property
    def id(self) -> str:
        """The run's name: "ensemble" and the first twelve digits of the SHA-256 of :attr:`canonical`."""
        return f"ensemble-{digest(self)}"
