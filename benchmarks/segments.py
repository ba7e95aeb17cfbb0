"""Segments side by side on a published file: algorithms, transforms, ids raw and aligned, kept and refitted models, and the usual notebook.

Prints what docs/customers.md quotes. Usage: `python benchmarks/segments.py data/serving/retail.duckdb`.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from retail_assets import months as m
from retail_assets.lib import segments
from retail_assets.lib.segments import Algorithm, Transform
from retail_assets.settings import Settings

SEED = Settings().seed
VARIANTS: tuple[tuple[Algorithm, Transform], ...] = (("kmeans", "log"), ("kmeans", "yeo_johnson"), ("gmm", "log"), ("ward", "log"))
NOTEBOOK_K = 4
"""k of the notebook: the one that most months choose here, so that only the method differs."""

Snapshots = dict[date, pl.DataFrame]


def main() -> None:
    """Print all tables for the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("published", type=Path, help="published DuckDB file")
    with contextlib.closing(duckdb.connect(parser.parse_args().published, read_only=True)) as reader:
        rfm = reader.sql("select * from features.rfm_features order by snapshot_month, customer_id").pl()
        sales = reader.sql(
            "select customer_id, invoice_no, invoiced_at, invoice_month, amount::double as amount from core.transactions "
            "where not is_return and customer_id is not null order by transaction_id"
        ).pl()
    snapshots: Snapshots = {month: part for (month,), part in rfm.partition_by("snapshot_month", as_dict=True).items()}  # type: ignore[misc]
    compare_variants(snapshots)
    compare_kept(snapshots)
    compare_notebook(snapshots, sales)


def compare_variants(snapshots: Snapshots) -> None:
    """Chosen k, its figures and the agreement of ids for every algorithm and transform."""
    print("## Algorithms and transforms: k by month (silhouette, stability), agreement of aligned ids\n")
    rows = []
    for algorithm, transform in VARIANTS:
        started = time.perf_counter()
        chosen, agreements, previous = [], [], None
        for rows_of_month in snapshots.values():
            model = segments.fit(rows_of_month, seed=SEED, algorithm=algorithm, transform=transform)
            labels = segments.assign(model, rows_of_month)
            if previous:
                model, labels, alignment = segments.align(model, labels, *previous)
                agreements.append(alignment.aligned_agreement)
            previous = (model, labels)
            chosen.append(model.candidates.filter("is_chosen").row(0, named=True))
        rows.append(
            (
                f"{algorithm}, {transform}",
                " ".join(str(one["k"]) for one in chosen),
                _range(one["silhouette"] for one in chosen),
                _range(one["stability"] for one in chosen),
                _range(agreements),
                f"{time.perf_counter() - started:.1f}",
            )
        )
    _table(("variant", "k, month by month", "silhouette", "stability", "aligned agreement", "seconds"), rows)


def compare_kept(snapshots: Snapshots) -> None:
    """Agreement of a fit per month, and of one kept model, with the ids of the month before."""
    print("\n## Ids from month to month: as fitted, aligned, and with a kept model; seeds differ by month in the last column\n")
    rows, previous, kept, notebook = [], None, None, None
    for number, (month, rows_of_month) in enumerate(snapshots.items()):
        model = segments.fit(rows_of_month, seed=SEED)
        labels = segments.assign(model, rows_of_month)
        as_found = _notebook_labels(rows_of_month.select("customer_id", *segments.RFM), seed=number)
        if previous and kept and notebook is not None:
            model, labels, alignment = segments.align(model, labels, *previous)
            kept_labels = segments.assign(kept[0], rows_of_month)
            kept_agreement = segments.agreement(kept_labels, kept[1])[1]
            rows.append(
                (
                    m.label(month),
                    f"{alignment.previous_k} > {alignment.k}",
                    f"{alignment.raw_agreement:.2f}",
                    f"{alignment.aligned_agreement:.2f}",
                    f"{kept_agreement:.2f}",
                    f"{segments.agreement(as_found, notebook)[1]:.2f}",
                )
            )
        previous, notebook = (model, labels), as_found
        kept = (model, labels) if kept is None or model.k != kept[0].k else (kept[0], segments.assign(kept[0], rows_of_month))
    _table(("month", "k", "ids by spend", "aligned", "model kept since its k", "scikit-learn's own ids, k = 4"), rows)


def compare_notebook(snapshots: Snapshots, sales: pl.DataFrame) -> None:
    """The last snapshot against a notebook that drops credit notes and keeps the sales they cancel, scaled or not."""
    month, rfm = list(snapshots.items())[-1]
    model = segments.fit(rfm, seed=SEED, k_range=[NOTEBOOK_K])
    ours = segments.assign(model, rfm)
    gross = (
        sales.group_by("customer_id")
        .agg(
            (pl.lit(m.last_day(month)) - pl.col("invoiced_at").dt.date().max()).dt.total_days().alias("recency_days"),
            pl.col("invoice_no").n_unique().alias("frequency"),
            pl.col("amount").sum().alias("monetary"),
        )
        .sort("customer_id")
    )
    print(f"\n## The usual notebook, {m.label(month)}, k = {NOTEBOOK_K}\n")
    rows = []
    for name, labels in {
        "scaled logs, cancelled sales kept": _notebook_labels(gross, seed=0),
        "unscaled, cancelled sales kept": _notebook_labels(gross, seed=0, is_scaled=False),
    }.items():
        both = ours.join(labels, on="customer_id", suffix="_notebook")
        sizes = labels["segment_id"].value_counts()["count"].sort(descending=True).to_list()
        agreement = adjusted_rand_score(both["segment_id"], both["segment_id_notebook"])
        rows.append((name, ", ".join(f"{size:,}" for size in sizes), f"{agreement:.2f}"))
    sizes = ours["segment_id"].value_counts()["count"].sort(descending=True).to_list()
    _table(("method", "customers by segment", "adjusted Rand index with ours"), [("ours", ", ".join(f"{size:,}" for size in sizes), "1"), *rows])
    kept = gross.join(rfm.select("customer_id", net=pl.col("net_amount").cast(pl.Float64)), on="customer_id")
    most = kept.with_columns(gross_rank=pl.col("monetary").rank("min", descending=True), net_rank=pl.col("net").rank("min", descending=True))
    print(f"\nSales kept that were cancelled: {(kept['monetary'] - kept['net']).sum():,.0f} pounds. Among the ten first by gross sales:")
    for customer_id, spend, net, gross_rank, net_rank in (
        most.filter(pl.col("gross_rank") <= 10).sort("gross_rank").select("customer_id", "monetary", "net", "gross_rank", "net_rank").rows()  # noqa: PLR2004
    ):
        print(f"  {customer_id}: {spend:,.2f} gross, rank {gross_rank}; {net:,.2f} net, rank {net_rank}")


def _notebook_labels(rfm: pl.DataFrame, seed: int, *, is_scaled: bool = True) -> pl.DataFrame:
    """k-means as notebooks do it, ids as scikit-learn numbers them."""
    customers = rfm.sort("customer_id")
    values = customers.select(pl.col(segments.RFM).cast(pl.Float64).clip(lower_bound=0)).to_numpy()
    points = StandardScaler().fit_transform(np.log1p(values)) if is_scaled else values
    labels = KMeans(NOTEBOOK_K, n_init=10, random_state=seed).fit_predict(points)
    return pl.DataFrame({"customer_id": customers["customer_id"], "segment_id": labels})


def _range(values: Iterable[float]) -> str:
    found = list(values)
    return f"{min(found):.2f} to {max(found):.2f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for line in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
