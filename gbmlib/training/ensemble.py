"""Ensembles of trained networks, computed without training: averages, test-time augmentation, post-processing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from gbmlib.training.configuration import Experiment, Run


def _of_first_member(field: str) -> property:
    return property(lambda ensemble: getattr(ensemble.members[0], field))


class Ensemble(Run):
    """The average of some networks' probabilities, and its post-processing (Isensee et al. 2018, sections 2.5 and 2.6).

    An ensemble is run, kept and compared as an :class:`Experiment` is.

    Attributes:
        members: the configurations whose networks predict; of one cohort, one fold and the same channels.
        mirrored: whether predictions are averaged over mirrorings; None for as each member has it.
        single_components: whether a class that is one component in every training label of the fold keeps its largest
            component alone (``evaluation.components``).
        connectivity: of the components: 6 for voxels that share a face, 26 for faces, edges and corners.
        elsewhere: the name of another cohort, on whose cases the average is measured in place of the held-out ones. Its
            members may be of different folds.
    """

    members: tuple[Experiment, ...]
    mirrored: bool | None = None
    single_components: bool = False
    connectivity: Literal[6, 26] = 6
    elsewhere: str | None = None

    cohort = _of_first_member("cohort")
    modalities = _of_first_member("modalities")
    regions = _of_first_member("regions")
    folds = _of_first_member("folds")
    fold = _of_first_member("fold")
    seed = _of_first_member("seed")

    @model_validator(mode="after")
    def _consistent(self) -> Ensemble:
        if not self.members:
            raise ValueError("members is empty; an ensemble needs one network at least")
        faults = []
        for name in ("cohort", "folds", "regions", "modalities", "softmax", *([] if self.elsewhere else ["fold"])):
            values = {getattr(member, name) for member in self.members}
            if len(values) > 1:
                faults.append(f"members have {name} {', '.join(map(str, sorted(values)))}; they must share it")
        if len({member.id for member in self.members}) < len(self.members):
            faults.append("a member is named twice")
        if self.mirrored is not None and {member.mirrored_inference for member in self.members} == {self.mirrored}:
            faults.append(f"mirrored is {self.mirrored}, as all members have it already; leave it out")
        if self.connectivity != 6 and not self.single_components:
            faults.append(f"connectivity is {self.connectivity}, which only single_components reads; leave it out")
        if self.elsewhere is not None:
            if "/" in self.elsewhere or "\\" in self.elsewhere:
                faults.append(f"elsewhere {self.elsewhere!r} is a path; give the cohort's name (open_cohort(…).name)")
            if any(member.previous is not None for member in self.members):
                faults.append("elsewhere: a cascade is measured on its own cohort alone")
        elif len(self.members) == 1 and self.mirrored is None and not self.single_components:
            faults.append(f"an ensemble of {self.members[0].id} alone is what it is without one; run that")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def dependencies(self) -> tuple[Experiment, ...]:
        """The runs that must come first."""
        return self.members

    @property
    def kind(self) -> str:
        return "ensemble"


def configuration(fields: dict[str, Any]) -> Experiment | Ensemble:
    """The run of a configuration as JSON has it."""
    return Ensemble(**fields) if "members" in fields else Experiment(**fields)
