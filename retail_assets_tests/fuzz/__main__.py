"""The campaign as a command: what it saw as JSON on stdout, each finding on stderr, exit 1 where there is any."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from retail_assets_tests.fuzz.campaign import fuzz


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(prog="python -m retail_assets_tests.fuzz", description="Land files that a seed damages, and count every line.")
    parser.add_argument("--cases", type=int, default=2_000, help="files to make (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same files (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the files of findings here")
    options = parser.parse_args()
    counts = fuzz(options.cases, options.seed)
    for finding in counts.findings:
        sys.stderr.write(f"{finding}\n")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / finding.case.name).write_bytes(finding.case.content)
    sys.stdout.write(json.dumps({**asdict(counts), "findings": len(counts.findings)}) + "\n")
    return 1 if counts.findings else 0


if __name__ == "__main__":
    sys.exit(main())
