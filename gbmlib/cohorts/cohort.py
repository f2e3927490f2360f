"""A cohort: cases in a stable order, with the modalities and the label convention they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gbmlib.cohorts.case import Case
from gbmlib.cohorts.problems import CaseError

#: The internal convention of every glioma cohort, whatever its files hold.
GLIOMA = {1: "necrotic and non-enhancing core", 2: "oedema", 3: "enhancing tumour"}


@dataclass(frozen=True)
class Cohort:
    """Cases that are read alike.

    Attributes:
        name: what a configuration calls it, such as ``brats2018-19``: kind, release, labelled cases; holds no path.
        spec: how to open it again on this machine.
        cases: sorted by id.
        modalities: the channels of every case.
        labels: internal label value to its meaning (0 is background).
        convention: one sentence that says which label convention was recognised and how it was converted.
        digest: computes the digest of the data; given by the reader.
        modality_kinds: ``"MR"`` or ``"CT"`` for each channel.
    """

    name: str
    spec: str
    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    labels: Mapping[int, str]
    convention: str
    digest: Callable[[], str]
    modality_kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __getitem__(self, case_id: str) -> Case:
        for case in self.cases:
            if case.id == case_id:
                return case
        raise KeyError(f"cohort {self.name} has no case {case_id!r}; its first are {[c.id for c in self.cases[:3]]}")

    @property
    def labelled(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.has_label)

    @property
    def fingerprint(self) -> str:
        """A digest of the data: records made from other data of the same name are told apart by it."""
        return self.digest()

    @property
    def is_glioma(self) -> bool:
        """Whether the labels are the three of BraTS, so that the nested regions WT, TC and ET exist."""
        return dict(self.labels) == GLIOMA

    @property
    def tomographic(self) -> set[str]:
        """The modalities that are computed tomography."""
        return {name for name, kind in zip(self.modalities, self.modality_kinds, strict=False) if kind == "CT"}

    def with_modalities(self, modalities: Sequence[str]) -> Cohort:
        """The same cases with these channels, in this order.

        Raises:
            CaseError: the cohort lacks one, or one is named twice.
        """
        wanted = (modalities,) if isinstance(modalities, str) else tuple(modalities)
        missing = [name for name in wanted if name not in self.modalities]
        if missing:
            raise CaseError(f"cohort {self.name} has no modality {missing}; it has {list(self.modalities)}")
        if not wanted or len(set(wanted)) < len(wanted):
            raise CaseError(f"modalities {list(wanted)}: name one or more of {list(self.modalities)}, each once")
        kinds = dict(zip(self.modalities, self.modality_kinds, strict=True)) if self.modality_kinds else {}
        return replace(
            self,
            cases=tuple(case.with_modalities(wanted) for case in self.cases),
            modalities=wanted,
            modality_kinds=tuple(kinds[name] for name in wanted if name in kinds),
        )
