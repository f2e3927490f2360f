"""``python -m gbmlib.cohorts.check brats:PATH``: print the report; the exit status is 1 where there are errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gbmlib.cohorts.check import check
from gbmlib.cohorts.problems import CaseError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gbmlib.cohorts.check", description="Report what is wrong with data."
    )
    parser.add_argument("spec", nargs="+", help="brats:PATH, msd:PATH or phantom:…")
    parser.add_argument("--quiet", action="store_true", help="print no more than the counts")
    options = parser.parse_args(arguments)
    try:
        reports = [check(spec) for spec in options.spec]
    except CaseError as error:
        parser.error(str(error))
    print("\n\n".join(report.summary if options.quiet else str(report) for report in reports))
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
