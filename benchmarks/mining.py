"""Frequent itemsets and rules beside mlxtend, efficient-apriori and pyfim (C): seconds, peak memory, and the same itemsets from all.

Run: `uv run --group bench python benchmarks/mining.py` (`--help` for a part of it). The real data lies in the folder RETAIL_REAL_DATA (default
../shared/data/online-retail). Every contender runs in a process of its own and starts from the form of baskets it takes: a frame of lines for
retail_assets, a sparse one-hot frame for mlxtend, a list of lists for the others; making that form is not timed. Memory is the peak above what the
process held before it began (Linux; elsewhere the peak of the whole process). Ratios are of CPU seconds, all threads together: they bear other
work on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Found = Iterable[tuple[Iterable[str], int]]
"""Itemsets and their counts."""

MINERS = ("retail_assets", "mlxtend fpgrowth", "mlxtend hmine", "pyfim eclat", "pyfim fpgrowth", "efficient-apriori")
MAXIMAL_MINERS = ("retail_assets maximal", "mlxtend fpmax")
MLXTEND_MEASURES = ("antecedent_support", "consequent_support", "certainty", "kulczynski")
"""The measures that mlxtend has beside those of every rule."""
RULE_MAKERS = ("retail_assets rules", "retail_assets rules, compact", "mlxtend rules", "retail_assets every measure")
SECONDS_WORTH_REPEATING = 4.0


@dataclass(frozen=True)
class Case:
    """What is mined: baskets, the share of them that makes an itemset frequent, and the most items of one."""

    baskets: str
    support: float
    max_length: int | None = None

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.baskets}, {self.support:g}" + (f", up to {self.max_length} items" if self.max_length else "")


REAL = [Case("real", support) for support in (0.02, 0.01, 0.005, 0.003)] + [Case("real", support, 3) for support in (0.002, 0.001)]
GENERATED = [Case(name, support) for name in ("generated 200k", "generated 2M") for support in (0.01, 0.003)]


def main() -> None:
    """Print the tables of `docs/benchmarks-mining.md`, or, as a child, one measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("real", "maximal", "generated", "rules"), action="append", help="parts to run (default: all)")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which a contender is stopped (default: 120)")
    parser.add_argument("--repeat", type=int, default=15, help="most runs, of which the fastest counts; long ones are not repeated (default: 15)")
    parser.add_argument("--child", nargs=5, metavar=("CONTENDER", "FILE", "SUPPORT", "MAX_LENGTH", "REPEAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        contender, file, support, max_length, repeat = options.child
        print(json.dumps(_measure(contender, Path(file), float(support), int(max_length) or None, int(repeat))))
        return
    parts = options.only or ["real", "maximal", "generated", "rules"]
    with tempfile.TemporaryDirectory() as folder:
        files = _write_baskets(Path(folder), parts)
        header = ("baskets, min_support", "contender", "found", "seconds", "CPU seconds", "times our CPU", "peak MB", "same")
        print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}", flush=True)
        for case, contenders in _cases(parts):
            _compare(case, contenders, files[case.baskets], options.limit, options.repeat)


def _cases(parts: list[str]) -> Iterator[tuple[Case, tuple[str, ...]]]:
    if "real" in parts:
        yield from ((case, MINERS) for case in REAL)
    if "maximal" in parts:
        yield from ((case, MAXIMAL_MINERS) for case in REAL[1:4])
    if "rules" in parts:
        yield REAL[3], RULE_MAKERS
    if "generated" in parts:
        yield from ((case, MINERS) for case in GENERATED)


def _compare(case: Case, contenders: tuple[str, ...], file: Path, limit: float, repeat: int) -> None:
    """Measure the contenders one after the other; ratios and itemsets are held against the first."""
    first: dict[str, Any] = {}
    for contender in contenders:
        command = [sys.executable, __file__, "--child", contender, str(file), str(case.support), str(case.max_length or 0), str(repeat)]
        try:
            # A minute on top, for reading the baskets and comparing what was found.
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit + 60)
            result = json.loads(done.stdout) if not done.returncode else None
        except subprocess.TimeoutExpired:
            result = None
            done = None
        if result is None:
            reason = f"over {limit:.0f} s" if done is None else done.stderr.strip().splitlines()[-1][:80]
            print(f"| {case.name} | {contender} | | {reason} | | | | |", flush=True)
            continue
        first = first or result
        ratio = result["cpu_seconds"] / first["cpu_seconds"]
        same = "yes" if result["digest"] == first["digest"] else "NO"
        figures = f"{result['found']:,} | {result['seconds']:.2f} | {result['cpu_seconds']:.2f} | {ratio:.1f} | {result['peak_mb']:,.0f}"
        print(f"| {case.name} | {contender} | {figures} | {same} |", flush=True)


def _measure(contender: str, file: Path, support: float, max_length: int | None, repeat: int) -> dict[str, Any]:
    """Run a contender in this process: the least time of some runs, and the memory of the first."""
    lines = pl.read_parquet(file)
    basket_count = lines["basket_id"].n_unique()
    run, read = _CONTENDERS[contender](lines, ceil(support * basket_count - 1e-9), basket_count, support, max_length)
    if not contender.startswith("retail_assets"):
        del lines
    before = _begin_peak()
    best, best_cpu, peak, result, spent = float("inf"), float("inf"), 0.0, None, 0.0
    for _ in range(repeat):
        del result
        started, started_cpu = time.perf_counter(), time.process_time()
        result = run()
        seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        best, best_cpu, spent = min(best, seconds), min(best_cpu, cpu), spent + seconds
        peak = peak or _peak_mb() - before
        if spent > SECONDS_WORTH_REPEATING:
            break
    found, digest = read(result)
    return {"seconds": best, "cpu_seconds": best_cpu, "peak_mb": peak, "found": found, "digest": digest}


def _begin_peak() -> float:
    """Megabytes held now; on Linux the peak starts anew from here."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return 0.0
    reset.write_text("5", encoding="ascii")
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    if Path("/proc/self/status").exists():
        return _status_mb("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _status_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) / 1024


Prepared = tuple[Callable[[], Any], Callable[[Any], tuple[int, str]]]
"""What is timed, and how to read its result as a number and a digest."""


def _digest(found: Found) -> tuple[int, str]:
    rows = sorted(f"{'|'.join(sorted(items))}:{count}" for items, count in found)
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _digest_frame(itemsets: pl.DataFrame) -> tuple[int, str]:
    return _digest(itemsets.select("itemset", "count").iter_rows())


def _ours(lines: pl.DataFrame, _least: int, _total: int, support: float, max_length: int | None) -> Prepared:
    from retail_assets.lib import baskets  # noqa: PLC0415

    return lambda: baskets.frequent_itemsets(lines, support, max_length, max_itemsets=50_000_000), _digest_frame


def _ours_maximal(lines: pl.DataFrame, _least: int, total: int, support: float, max_length: int | None) -> Prepared:
    from retail_assets.lib import baskets  # noqa: PLC0415

    def run() -> pl.DataFrame:
        return baskets.closed_and_maximal(baskets.frequent_itemsets(lines, support, max_length), total).filter("is_maximal")

    return run, _digest_frame


def _one_hot(lines: pl.DataFrame) -> Any:
    import pandas as pd  # noqa: PLC0415
    from scipy.sparse import csr_array  # noqa: PLC0415

    from retail_assets.lib.baskets._lines import code_lines  # noqa: PLC0415

    coded = code_lines(lines)
    shape = (coded.basket_count, coded.item_count)
    matrix = csr_array((np.ones(len(coded.item), dtype=bool), (coded.basket, coded.item)), shape=shape)
    return pd.DataFrame.sparse.from_spmatrix(matrix, columns=coded.names.to_list())


def _mlxtend(algorithm: str) -> Callable[..., Prepared]:
    def prepare(lines: pl.DataFrame, least: int, total: int, _support: float, max_length: int | None) -> Prepared:
        from mlxtend import frequent_patterns  # noqa: PLC0415

        frame = _one_hot(lines)
        mine = getattr(frequent_patterns, algorithm)

        def read(found: Any) -> tuple[int, str]:
            counts = np.rint(found["support"].to_numpy(dtype=float) * total).astype(int)
            return _digest(zip(found["itemsets"], counts, strict=True))

        # Half a basket below the threshold: mlxtend compares shares, and rounds.
        return lambda: mine(frame, min_support=(least - 0.5) / total, use_colnames=True, max_len=max_length), read

    return prepare


def _lists(lines: pl.DataFrame) -> list[list[str]]:
    return lines.group_by("basket_id").agg("item")["item"].to_list()


def _pyfim(algorithm: str) -> Callable[..., Prepared]:
    def prepare(lines: pl.DataFrame, least: int, _total: int, _support: float, max_length: int | None) -> Prepared:
        import fim  # noqa: PLC0415

        transactions, mine = _lists(lines), getattr(fim, algorithm)
        # A negative support is a number of baskets; -1 bounds no length.
        return lambda: mine(transactions, target="s", supp=-least, zmin=1, zmax=max_length or -1, report="a"), _digest

    return prepare


def _efficient_apriori(lines: pl.DataFrame, least: int, total: int, _support: float, max_length: int | None) -> Prepared:
    from efficient_apriori import itemsets_from_transactions  # noqa: PLC0415

    transactions = [tuple(items) for items in _lists(lines)]

    def read(found: Any) -> tuple[int, str]:
        return _digest(pair for by_length in found[0].values() for pair in by_length.items())

    return lambda: itemsets_from_transactions(transactions, (least - 0.5) / total, max_length=max_length or 100), read


def _rules_digest(rules: Iterable[tuple[str, str, int, int, int]]) -> tuple[int, str]:
    """Of sides and counts, from which every measure follows; that the measures are equal to 1e-9 is proven by the tests."""
    rows = sorted(f"{antecedent}>{consequent}:{counts}" for antecedent, consequent, *counts in rules)
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _our_rules(names: tuple[str, ...] | None, *, is_compact: bool = False) -> Callable[..., Prepared]:
    def prepare(lines: pl.DataFrame, _least: int, total: int, support: float, max_length: int | None) -> Prepared:
        from retail_assets.lib import baskets  # noqa: PLC0415

        itemsets = baskets.frequent_itemsets(lines, support, max_length)

        def read(rules: pl.DataFrame) -> tuple[int, str]:
            sides = [pl.col(side).cast(pl.List(pl.String)).list.join("|") for side in ("antecedent", "consequent")]
            return _rules_digest(rules.select(*sides, "basket_count", "antecedent_count", "consequent_count").iter_rows())

        return lambda: baskets.rule_measures(baskets.association_rules(itemsets, total, is_compact=is_compact), names or baskets.MEASURES), read

    return prepare


def _mlxtend_rules(lines: pl.DataFrame, _least: int, total: int, support: float, max_length: int | None) -> Prepared:
    import pandas as pd  # noqa: PLC0415
    from mlxtend.frequent_patterns import association_rules  # noqa: PLC0415

    from retail_assets.lib import baskets  # noqa: PLC0415

    itemsets = baskets.frequent_itemsets(lines, support, max_length)
    frame = pd.DataFrame({"support": itemsets["support"].to_list(), "itemsets": [frozenset(itemset) for itemset in itemsets["itemset"].to_list()]})

    def read(rules: Any) -> tuple[int, str]:
        sides = [["|".join(sorted(items)) for items in rules[side]] for side in ("antecedents", "consequents")]
        shares = (rules[name] for name in ("support", "antecedent support", "consequent support"))
        counts = (np.rint(share.to_numpy() * total).astype(int).tolist() for share in shares)
        return _rules_digest(zip(*sides, *counts, strict=True))

    return lambda: association_rules(frame, metric="confidence", min_threshold=0.0), read


_CONTENDERS: dict[str, Callable[..., Prepared]] = {
    "retail_assets": _ours,
    "mlxtend fpgrowth": _mlxtend("fpgrowth"),
    "mlxtend hmine": _mlxtend("hmine"),
    "pyfim eclat": _pyfim("eclat"),
    "pyfim fpgrowth": _pyfim("fpgrowth"),
    "efficient-apriori": _efficient_apriori,
    "retail_assets maximal": _ours_maximal,
    "mlxtend fpmax": _mlxtend("fpmax"),
    "retail_assets rules": _our_rules(MLXTEND_MEASURES),
    "retail_assets rules, compact": _our_rules(MLXTEND_MEASURES, is_compact=True),
    "mlxtend rules": _mlxtend_rules,
    "retail_assets every measure": _our_rules(None),
}


def _write_baskets(folder: Path, parts: list[str]) -> dict[str, Path]:
    """The baskets that the parts need, as Parquet files of `basket_id` and `item`."""
    makers: dict[str, Callable[[], pl.DataFrame]] = {}
    if set(parts) & {"real", "maximal", "rules"}:
        makers["real"] = _real_baskets
    if "generated" in parts:
        makers["generated 200k"] = lambda: generated(200_000)
        makers["generated 2M"] = lambda: generated(2_000_000)
    files = {}
    for name, make in makers.items():
        files[name] = folder / f"{name}.parquet"
        lines = make()
        lines.write_parquet(files[name])
        print(f"{name}: {lines['basket_id'].n_unique():,} baskets, {lines['item'].n_unique():,} items, {lines.height:,} lines", file=sys.stderr)
    return files


def _real_baskets() -> pl.DataFrame:
    """Every sale invoice of the real data, the batched web-shop orders of up to 1,108 products among them."""
    from retail_assets.contracts import RAW_TRANSACTIONS  # noqa: PLC0415
    from retail_assets.lib import cleaning, parsing  # noqa: PLC0415
    from retail_assets.seeds import read_seed  # noqa: PLC0415

    folder = Path(os.environ.get("RETAIL_REAL_DATA", "../shared/data/online-retail")) / "by-day"
    files = sorted(folder.glob("*.csv"))
    if not files:
        sys.exit(f"No CSV files in {folder}: set RETAIL_REAL_DATA to the folder of the real data.")
    texts = [part.lines.with_columns(file_id=pl.lit(path.name)) for path in files for part in parsing.read_csv(path.read_bytes()).parts]
    raw = parsing.parse_lines(pl.concat(texts)).lines.with_columns(file_name="file_id").select(RAW_TRANSACTIONS.polars_schema.names())
    cleaned = cleaning.clean(raw, cleaning.product_names(raw), read_seed("non_product_codes"), read_seed("country_names"))
    sales = cleaned.transactions.filter(~pl.col("is_return"))
    return sales.select(basket_id="invoice_no", item="stock_code").unique().sort("basket_id", "item")


def generated(basket_count: int, seed: int = 1, item_count: int = 4_000, pattern_count: int = 300) -> pl.DataFrame:
    """Baskets of Zipf-distributed items, eight on average, in which some patterns of two to five items come again and again."""
    generator = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, item_count + 1)
    popularity /= popularity.sum()
    sizes = 1 + generator.geometric(1 / 7, basket_count)
    singles = generator.choice(item_count, int(sizes.sum()), p=popularity)
    patterns = [
        generator.choice(item_count, generator.integers(2, 6), replace=False, p=popularity**0.5 / (popularity**0.5).sum())
        for _ in range(pattern_count)
    ]
    weight = 1 / np.arange(3, pattern_count + 3)
    chosen = generator.choice(pattern_count, basket_count, p=weight / weight.sum())
    lengths = np.array([len(pattern) for pattern in patterns])[chosen]
    of_patterns = np.concatenate(patterns)[_ranges(np.cumsum([0, *(len(p) for p in patterns[:-1])])[chosen], lengths)]
    basket = np.concatenate([np.repeat(np.arange(basket_count), sizes), np.repeat(np.arange(basket_count), lengths)])
    item = np.concatenate([singles, of_patterns])
    key = np.unique(basket * item_count + item)
    names = pl.Series([f"{code:05}" for code in range(item_count)])
    return pl.DataFrame({"basket_id": (key // item_count).astype(np.int32), "item": names.gather(key % item_count)})


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of each range, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)


if __name__ == "__main__":
    main()
