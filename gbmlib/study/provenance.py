"""Where and with what a record is made: commit, versions, machine, memory, time."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import gbmlib
from gbmlib.cohorts import Cohort
from gbmlib.files import few
from gbmlib.study.records import RecordError, Store
from gbmlib.training.memory import give_back_freed_memory

_STATUS = Path("/proc/self/status")
PACKAGES = ("torch", "numpy", "scipy", "nibabel", "nilearn", "scikit-learn")


def describe(device: torch.device) -> dict[str, Any]:
    """Commit, versions and machine of a run: what its record states besides the configuration."""
    return {
        "gbmlib": gbmlib.__version__,
        "numerics": gbmlib.NUMERICS,
        "commit": COMMIT,
        "python": platform.python_version(),
        "packages": _versions(PACKAGES),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
    }


def expect_same_data(cohort: Cohort, store: Store) -> None:
    """Refuse a cohort where a store has runs of other data of the same name: results of both would be taken for one.

    Raises:
        RecordError: says which runs, and how to go on.
    """
    digest = cohort.fingerprint
    others = [record for record in store.all() if record.data.get(cohort.name) not in (None, digest)]
    if not others:
        return
    remedies = [
        "move their folders away, or keep the runs of this data in another store (--store FOLDER, in a notebook -p "
        "store FOLDER)",
        "give this data set a name of its own (in dataset.json, or by its files' names), or leave the published runs "
        "out (--published none)",
    ]
    needed = [remedies[published] for published in sorted({record.published for record in others})]
    raise RecordError(
        f"{cohort.spec} is other data than {len(others)} runs of {cohort.name} in the store were made from, and they "
        f"cannot be mixed: {few([str(record.path) for record in others])}. To go on, {'; and '.join(needed)}"
    )


def _versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are there: not every run needs all."""
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def device_name(device: torch.device) -> str:
    """The name of the graphics card, or of the processor with the number of cores it offers."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = os.cpu_count()
    return f"{_processor()}, {cores} cores"


def forget_peak_memory(device: torch.device) -> None:
    """Let :func:`peak_memory_mb` count from now on: a process may compute one run after another.

    Where the system cannot forget (anything but Linux), the peak stays that of the whole process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _STATUS.exists():
        give_back_freed_memory()
        with contextlib.suppress(OSError):  # some containers do not allow it
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> int:
    """The most memory taken: on a graphics card by tensors, else by the whole process (in MiB)."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    if _STATUS.exists():
        # The usual counter, getrusage's, starts with that of the process that launched this one.
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 2**10)
    try:
        import resource
    except ImportError:  # Windows has no such counter.
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if sys.platform == "darwin" else peak / 2**10)


class Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        lap, self._since = now - self._since, now
        return round(lap, 1)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the checkout the library runs from, marked where files differ from it.

    Outside one, as where the files alone were copied to another machine, what ``GBM_COMMIT`` says, or "unknown".
    """
    here = Path(gbmlib.__file__).resolve().parent.parent
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "gbmlib"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GBM_COMMIT", "unknown")
    return commit.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


#: Read when the library is loaded: it is the code of that moment that computes, whatever is committed later.
COMMIT = _commit()
