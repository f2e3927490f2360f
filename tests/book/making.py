"""Running make in a copy of the repository."""

import os
import subprocess
import sys
from pathlib import Path

SMALL = "PARAMETERS=-p profile test"


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run make in a copy of the repository, with this interpreter's environment in place of one of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "GBM_"))}
    command = ["make", "SETUP=", f"BIN={Path(sys.executable).parent}", *arguments]
    return subprocess.run(command, cwd=folder, env=inherited, capture_output=True, text=True, check=False)
