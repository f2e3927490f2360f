"""Ten faults of the engine, put in one at a time: does the suite notice? ``python tests/mutations.py [FAULT…]``.

Each fault replaces one fragment in a copy of the package, and the narrowest test files run against the copy until the
first test fails. At the end those tests run once more against a copy without a fault, where they must pass: a test that
fails anyway notices nothing. Real data is left out. Exit status 1 where a fault is not caught.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """A fragment of a module, which occurs in it once, what replaces it, and the test files that are to notice."""

    name: str
    module: str
    right: str
    wrong: str
    tests: tuple[str, ...]


FAULTS = (
    Fault(
        *("the Dice loss grows with the overlap", "training/losses.py"),
        *("return (1 - soft_dice(", "return (1 + soft_dice("),
        ("training/test_losses.py",),
    ),
    Fault(
        *("no eps below the softmax Dice", "training/losses.py"),
        *("(p.sum(over) + t.sum(over) + eps)", "(p.sum(over) + t.sum(over))"),
        ("training/test_losses.py",),
    ),
    Fault(
        *("the divergence is not per voxel", "training/losses.py"),
        *("each.flatten(1).sum(1).mean() / voxels", "each.flatten(1).sum(1).mean()"),
        ("training/test_losses.py",),
    ),
    Fault(
        *("the plateau's patience is an epoch short", "training/schedules.py"),
        *("if waited > rule.patience:", "if waited >= rule.patience:"),
        ("training/test_schedules.py",),
    ),
    Fault(
        *("a checkpoint forgets the generator", "training/loop.py"),
        *('state.generator.set_state(content["generator"])', "pass"),
        ("training/test_batches.py",),
    ),
    Fault(
        *("the image is mirrored without its label", "training/batches.py"),
        *("simple.flip(images, axes), simple.flip(target, axes)", "simple.flip(images, axes), target"),
        ("training/test_loop.py", "training/test_batches.py"),
    ),
    Fault(
        *("the way back takes the axes' order for its inverse", "preprocess/grids.py"),
        *("grid.axes.index(axis) + 1 for axis", "grid.axes[axis] + 1 for axis"),
        ("preprocess/test_pipeline.py",),
    ),
    Fault(
        *("tiles step by their overlap", "evaluation/sliding_window.py"),
        *("int(patch * (1 - overlap))", "int(patch * overlap)"),
        ("evaluation/test_sliding_window.py",),
    ),
    Fault(
        *("surface distances in voxels", "evaluation/surfaces.py"),
        *("(_directed(one, other, spacing) for", "(_directed(one, other, np.ones(one.ndim)) for"),
        ("evaluation/test_surfaces.py",),
    ),
    Fault(
        *("an axis is pooled once too often", "planner/rule.py"),
        *("and count < most:", "and count <= most:"),
        ("planner/test_planner.py",),
    ),
)


def first_failure(tests: list[str], fault: Fault | None = None) -> str | None:
    """The first test that fails, as pytest names it without its parameters; None where all pass.

    Raises:
        SystemExit: the fragment does not occur exactly once, or the tests did not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "gbmlib", Path(folder) / "gbmlib", ignore=shutil.ignore_patterns("__pycache__"))
        if fault is not None:
            path = Path(folder) / "gbmlib" / fault.module
            text = path.read_text()
            if text.count(fault.right) != 1:
                sys.exit(f"{fault.module} holds {fault.right!r} {text.count(fault.right)} times, not once")
            path.write_text(text.replace(fault.right, fault.wrong))
        # From the copy's folder, which so comes first on the path and holds what the tests leave behind.
        options = ("-x", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT))
        command = [sys.executable, "-m", "pytest", *options, *(f"{ROOT}/tests/{test}" for test in tests)]
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "GBM_DATA": folder}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    failed = re.search(r"^FAILED \S*?tests/([^\s\[]+)", done.stdout, re.MULTILINE)
    if done.returncode != (1 if failed else 0):
        sys.exit(f"the tests did not run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return failed and failed[1]


if __name__ == "__main__":
    noticed = {}
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or fault.name in sys.argv[1:]]
    for fault in chosen:
        start = time.monotonic()
        noticed[fault.name] = first_failure(list(fault.tests), fault)
        verdict = f"caught by {noticed[fault.name]}" if noticed[fault.name] else "NOT CAUGHT"
        print(f"{fault.name:55}{time.monotonic() - start:4.0f} s  {verdict}", flush=True)
    anyway = first_failure(sorted({test for test in noticed.values() if test}))
    print(f"without a fault: {f'{anyway} FAILS' if anyway else 'all of these tests pass'}")
    sys.exit(anyway is not None or None in noticed.values())
