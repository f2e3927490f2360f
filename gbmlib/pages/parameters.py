"""How a chapter begins: its parameters, of one vocabulary and checked before any work, its store and its cohort.

A notebook's first code cell assigns defaults and is tagged ``parameters``; papermill puts its own values in a cell
after it, and only warns of names it does not know. So the next cell calls :func:`start` on the notebook's globals,
which refuses a misspelt name as well as an impossible value, whoever set it.
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from gbmlib import cohorts
from gbmlib.cohorts import Cohort
from gbmlib.cohorts.regions import SCHEMES
from gbmlib.files import did_you_mean
from gbmlib.pages import provenance
from gbmlib.study import scales
from gbmlib.study.provenance import expect_same_data
from gbmlib.study.records import BOOK, RUNS, Store
from gbmlib.study.scales import PROFILES
from gbmlib.training.configuration import Size, Spacing

#: The parameters of a chapter that trains networks like the first paper's.
TRAINING = ("profile", "cohort", "modalities", "regions", "spacing", "patch_size", "epochs", "learning_rate", "folds")
TRAINING += ("n_folds", "precision", "store")

#: Those of a chapter that trains planned networks.
PLANNED = ("profile", "cohort", "modalities", "spacing", "epochs", "learning_rate", "folds", "n_folds", "seeds")
PLANNED += ("precision", "store")

#: What can be given without asking for a training.
_SHOWN = {"case", "store"}

_CHECKED = "_parameters_checked"


class ParameterError(ValueError):
    """A chapter was given a parameter it does not have, or a value it cannot take."""


def _several(value: Any) -> Any:
    """``t1ce,flair`` and ``0,1,2`` as a command line gives them; a lone value stands for a list of one."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return (value,) if isinstance(value, int) else value


Names = Annotated[tuple[str, ...] | None, BeforeValidator(_several)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...] | None, BeforeValidator(_several)]


class Vocabulary(BaseModel):
    """Every parameter a chapter may have. None means: as the profile says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal[PROFILES] | None = Field(None, description="the scale of the study")
    cohort: str | None = Field(None, description="phantom:…, brats:PATH or msd:PATH")
    modalities: Names = Field(None, description="input channels, such as t1ce,flair")
    regions: Literal[SCHEMES] | None = Field(None, description="nested regions of a glioma, or exclusive labels")
    spacing: Spacing | None = Field(None, description="mm of the network's grid, one number or z,y,x")
    patch_size: Size | None = Field(None, description="voxels of a training patch, one number or z,y,x")
    epochs: PositiveInt | None = Field(None, description="passes over the training cases")
    learning_rate: PositiveFloat | None = Field(None, description="peak learning rate")
    folds: Numbers = Field(None, description="which folds of the cross-validation to run, such as 0 or 0,1,2")
    n_folds: Annotated[int, Field(ge=2)] | None = Field(None, description="in how many folds the patients are split")
    seed: Annotated[int, Field(ge=0)] | None = Field(None, description="of weights, patches and augmentation")
    seeds: Numbers = Field(None, description="several of them, such as 0 or 0,1")
    only: Names = Field(None, description="the comparisons of the chapter to run live, by name, such as down,order")
    precision: Literal["float32", "bfloat16"] | None = Field(None, description="bfloat16 is mixed precision")
    case: str | None = Field(None, description="the id of the case to show")
    store: str = Field(RUNS, description="the folder of your own runs")


def start(given: Mapping[str, Any], *allowed: str) -> tuple[types.SimpleNamespace, Store, Cohort]:
    """The parameters of a chapter (:func:`check`), its store, which has the published records too, and its cohort.

    Raises:
        CaseError: the cohort cannot be opened.
        RecordError: the store has runs of other data of the cohort's name.
    """
    settings = check(given, allowed)
    spec = settings.cohort or scales.SCALES[settings.profile]["cohort"]
    cohort = cohorts.open_cohort(spec, getattr(settings, "modalities", None))
    store = Store(getattr(settings, "store", RUNS), published=BOOK)
    expect_same_data(cohort, store)
    return settings, store, cohort


def refuse_faulty(cohort: Cohort) -> None:
    """Raises ValueError, with every fault, if the data has errors: nothing is trained on it then."""
    report = cohorts.check(cohort.spec, progress=False)
    if not report.ok:
        raise ValueError(f"the data has errors, and nothing is trained on it:\n{report}")


def check(given: Mapping[str, Any], allowed: Sequence[str]) -> types.SimpleNamespace:
    """Validate a notebook's parameters; call it with ``globals()`` in the cell after them.

    It also makes the repository's root the working directory, wherever the notebook lies, so that relative paths mean
    the same in JupyterLab, under papermill and in the book; and there every cell names the records that it reads from
    here on (``pages.provenance``).

    Args:
        given: the notebook's globals; what IPython put there, modules and names with an underscore do not count.
        allowed: the parameters that this chapter has.

    Returns:
        The validated values by name, and ``live``: whether a parameter of a training was given. A chapter trains only
        then; as it stands in the book it shows what is published. Without a profile it is the demonstration's.

    Raises:
        ParameterError: every unknown name (with the nearest that exists) and every impossible value at once.
    """
    named = {name: value for name, value in given.items() if _is_parameter(name, value)}
    faults = []
    # Run again in the same kernel, the notebook's own variables are there too; misspelt ones were told the first time.
    strange = set() if _CHECKED in given else set(named) - set(allowed)
    for name in sorted(strange):
        faults.append(f"{name}: this chapter has no such parameter{did_you_mean(name, allowed)}")
    known = {name: value for name, value in named.items() if name in allowed}
    for name in ("spacing", "patch_size"):
        if isinstance(known.get(name), str):
            parts = tuple(known[name].split(","))
            known[name] = parts if len(parts) > 1 else parts * 3
    try:
        values = Vocabulary(**known)
    except ValidationError as error:
        faults += [_fault(fault["loc"][0], fault["msg"], fault["input"]) for fault in error.errors()]
    else:
        beyond = [fold for fold in values.folds or () if values.n_folds and fold >= values.n_folds]
        faults += [f"folds: {fold} of n_folds {values.n_folds}; they are counted from 0" for fold in beyond]
    if faults:
        offer = "\n".join(f"  {name}: {_described(name)}" for name in allowed)
        raise ParameterError("\n".join(["", *faults, "The parameters of this chapter are:", offer]))
    if isinstance(given, dict):
        given[_CHECKED] = True
    _go_to_root()
    provenance.watch()
    settings = types.SimpleNamespace(**{name: getattr(values, name) for name in allowed})
    settings.live = any(value is not None for name, value in vars(settings).items() if name not in _SHOWN)
    settings.profile = values.profile or "demo"
    return settings


def _fault(name: str, message: str, value: Any) -> str:
    """What is wrong with a value; papermill's -p makes a number of ``001``, its -r leaves it text."""
    text = message.endswith("valid string") and isinstance(value, int | float)
    return f"{name}: {message}, not {value!r}" + (f"; give papermill text as it is: -r {name} 001" if text else "")


def chosen(names: Sequence[str] | None, among: Sequence[str], default: Sequence[str]) -> list[str]:
    """The names that the parameter ``only`` picks from those that there are, in their order; None picks ``default``.

    Raises:
        ParameterError: names that there are not, each with the nearest one, and the names that there are.
    """
    names = default if names is None else names
    faults = [
        f"only: there is no {name!r}{did_you_mean(name, among)}" for name in dict.fromkeys(names) if name not in among
    ]
    if faults or not names:
        raise ParameterError("\n".join(["", *faults, f"only picks from: {', '.join(among)}"]))
    return [name for name in among if name in names]


def _go_to_root() -> None:
    """Leave ``notebooks/`` and the like for the folder of the checkout, if the working directory is in one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").exists() and (folder / "gbmlib").is_dir():
            os.chdir(folder)
            return


def _described(name: str) -> str:
    field = Vocabulary.model_fields[name]
    kinds = [kind for kind in get_args(field.annotation) if get_origin(kind) is Literal]
    words = [word for kind in kinds for word in get_args(kind)]
    return field.description + (f" ({', '.join(words)})" if words else "")


def _is_parameter(name: str, value: Any) -> bool:
    ipython = {"In", "Out", "exit", "quit", "open", "get_ipython", "display"}
    return not name.startswith("_") and name not in ipython and not isinstance(value, types.ModuleType)
