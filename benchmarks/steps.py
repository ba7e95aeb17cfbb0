"""Each step of one snapshot beside what the usual notebook does for it (`notebook.py`), on the same real lines in one process.

Run: `uv run --group bench python benchmarks/steps.py`. The real data lies in the folder RETAIL_REAL_DATA (default ../shared/data/online-retail).
Ratios are of CPU seconds, all threads together, the least of three tries. Reading is compared in `landing.py`, mining at other supports in
`mining.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import notebook
import polars as pl
from processes import print_table
from real_data import csv_files

from retail_assets.lib import baskets, cleaning, parsing, returns, rfm, segments
from retail_assets.seeds import read_seed

TRIES = 3
END = date(2011, 12, 31)


def main() -> None:
    """Measure every step and print the table."""
    files = csv_files()
    lines = notebook.read(files[0].parent)
    sales = notebook.sales_of(lines)
    notebook_rfm = notebook.rfm_of(sales)

    raw = _raw(files)
    cleaned = _cleaned(raw)
    ledger = _ledger(cleaned)
    months = rfm.customer_months(cleaned, ledger)
    snapshot = rfm.rfm_features(months, END, read_seed("rfm_segments"))
    basket_lines = baskets.baskets(cleaned)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "cleaning: every line judged and kept; the notebook drops lines": (
            lambda: _cleaned(raw),
            lambda: notebook.sales_of(lines),
        ),
        "returns matched to sales; the notebook has none": (lambda: _ledger(cleaned), lambda: None),
        "RFM of all customers": (
            lambda: rfm.rfm_features(rfm.customer_months(cleaned, ledger), END, read_seed("rfm_segments")),
            lambda: notebook.rfm_of(sales),
        ),
        "segments, k from 2 to 10; ours with stability": (lambda: segments.fit(snapshot), lambda: notebook.segmented(notebook_rfm)),
        "itemsets and rules; ours with null model": (lambda: _rules(basket_lines), lambda: notebook.rules_of(lines)),
    }
    rows = []
    for step, (ours, theirs) in pairs.items():
        our_seconds, their_seconds = _cpu_seconds(ours), _cpu_seconds(theirs)
        ratio = f"{their_seconds / our_seconds:.2f}" if their_seconds > 0.001 else "-"  # noqa: PLR2004 - nothing was done
        rows.append((step, f"{our_seconds:.2f}", f"{their_seconds:.2f}", ratio))
    print_table("Steps of one snapshot", ("step", "CPU seconds", "notebook", "notebook / ours"), rows)


def _raw(files: list) -> pl.DataFrame:
    parts = [part.lines.with_columns(file_id=pl.lit(path.name)) for path in files for part in parsing.read_csv(path.read_bytes()).parts]
    parsed = parsing.parse_lines(pl.concat(parts), "auto").lines
    return parsed.with_columns(file_name="file_id")


def _cleaned(raw: pl.DataFrame) -> pl.DataFrame:
    return cleaning.clean(raw, cleaning.product_names(raw), read_seed("non_product_codes"), read_seed("country_names")).transactions


def _ledger(transactions: pl.DataFrame) -> pl.DataFrame:
    ordered = transactions.sort("invoiced_at", "transaction_id")
    consumed = pl.DataFrame(schema={"sale_id": pl.String, "quantity": pl.Int32})
    first_month = transactions["invoice_month"].min()
    return returns.match_returns(ordered.filter("is_return"), ordered.filter(~pl.col("is_return")), consumed, data_start=first_month)


def _rules(lines: pl.DataFrame) -> pl.DataFrame:
    itemsets = baskets.frequent_itemsets(lines, notebook.MIN_SUPPORT, max_length=notebook.MAX_LENGTH)
    rules = baskets.association_rules(itemsets, lines["basket_id"].n_unique(), min_confidence=notebook.MIN_CONFIDENCE)
    return baskets.expected_under_basket_sizes(rules, lines)


def _cpu_seconds(work: Callable[[], object]) -> float:
    tries = []
    for _ in range(TRIES):
        started = time.process_time()
        work()
        tries.append(time.process_time() - started)
    return min(tries)


if __name__ == "__main__":
    main()
