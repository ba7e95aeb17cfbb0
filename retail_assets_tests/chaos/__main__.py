"""The long suite: `python -m retail_assets_tests.chaos`, behind `make chaos`. Exit code 1 where a fault was not survived."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from retail_assets_tests.chaos import plan
from retail_assets_tests.chaos.homes import prepare
from retail_assets_tests.chaos.outcome import Outcome


def main() -> int:
    """Make the homes, inject the faults, print the summary."""
    parser = argparse.ArgumentParser(prog="python -m retail_assets_tests.chaos", description="Inject faults into real runs, say what became of them.")
    parser.add_argument("--short", action="store_true", help="the short suite, as in the tests")
    parser.add_argument("--only", default="", metavar="REGEX", help="only faults whose name fits")
    parser.add_argument("--workers", type=int, default=2, help="faults at a time (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work; homes of faults that were not survived stay there (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cases = prepare(folder, plan.SHORT if options.short else plan.LONG)
        wanted = [fault for fault in (plan.short_plan if options.short else plan.long_plan)(cases) if re.search(options.only, fault.name)]
        outcomes = plan.run(wanted, folder, options.workers, _tell)
    sys.stdout.write(f"\n{plan.summary(outcomes)}\n")
    return int(any(outcome.problems for outcome in outcomes))


def _tell(outcome: Outcome) -> None:
    state = f"left out: {outcome.skipped}" if outcome.skipped else "NOT SURVIVED" if outcome.problems else f"survived ({outcome.struck})"
    sys.stdout.write(f"{outcome.seconds:6.1f} s  {outcome.fault}: {state}\n")
    sys.stdout.writelines(f"          {problem}\n" for problem in outcome.problems)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
