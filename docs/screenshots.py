"""Takes the pictures of the README from the running UI, on a generated sample. Needs chromium and chromium-driver.

Usage: `python -m docs.screenshots`, in the repository.
"""

import sys
import tempfile
import time
from pathlib import Path

from retail_assets_tests.browser import IS_THERE, MISSING, browser, wait_for_text
from retail_assets_tests.processes import BESIDE_PYTHON, dagster, run

IMAGES = Path(__file__).with_name("images")
PAGES = {
    "graph": ("/assets/marts/customer_segments?view=lineage&lineageScope=upstream&lineageDepth=6", ["landed_files", "customer_segments"]),
    "months": ("/assets/core/transactions?view=partitions&partition=2011-11-01", ["dagster/partition_row_count"]),
    "checks": ("/assets/core/transactions?view=checks&checkDetail=lines_and_pennies_conserved", ["Latest execution", "months_checked"]),
}
SETTLE_SECONDS = 5
"""The graph is laid out after its texts are there, and nothing on the page says when."""


def main() -> int:
    """Run the sample, open the UI and take every picture."""
    if not IS_THERE:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        done = run([BESIDE_PYTHON / "retail", "run"], home)
        if done.returncode != 0:
            sys.stderr.write(done.stderr)
            return 1
        with dagster(home) as server, browser(1400, 900) as driver:
            for name, (path, texts) in PAGES.items():
                driver.get(server.url + path)
                wait_for_text(driver, *texts)
                time.sleep(SETTLE_SECONDS)
                driver.save_screenshot(str(IMAGES / f"{name}.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
