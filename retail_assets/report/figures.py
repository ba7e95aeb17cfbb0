"""Everything the report shows, read from the published file. No words and no layout; what is asked stands in `queries.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from retail_assets import calendar_checks
from retail_assets import months as m
from retail_assets.lib import cleaning, segments
from retail_assets.report import queries
from retail_assets.seeds import read_seed
from retail_assets.warehouse import read

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]
"""A row of a query by column, with what was added to it here."""

_MOST_RULES: Final = 200
_BEST_SELLERS: Final = 25
_RECOMMENDATIONS: Final = 3


class ReportError(ValueError):
    """There is nothing to report on; the message says what to do."""


class UnknownMonthError(ReportError):
    """There is no report on the month that was asked for; the message says on which months there is one."""


@dataclass(frozen=True)
class Figures:
    """What is known of one month and of the months before it.

    Attributes:
        month: First day of the month of the report.
        ends_early: Trading days at the end of the month are missing.
        publication: The row of marts.publication.
        months: Rows of `queries.MONTHS` up to the month, in order; months without any line are missing.
        customers: Rows of `queries.CUSTOMERS`: the customers at the end of the month.
        segments: Segments by net sales, highest first, with `headline` and `action` from the seed `segment_actions`.
        moves: Rows of `queries.MOVES`, with `headline` and `action` likewise.
        cells: All 25 cells of the RFM grid, with the name of the seed `rfm_segments` and what the month holds.
        rfm_segments: Names of RFM segments by net sales, with `is_first`, `meaning` and `action` from the seed `rfm_segment_actions`.
        rules: The rules with the most baskets beyond what basket sizes explain.
        telling_rule_count: All rules of the month that basket sizes do not explain, of a rule and its mirror one.
        persistence: How many rules of the month before held in this one; None where none could be judged.
        hits: How often recommendations of the month before hit in this one, and the most popular products; None where that is not known.
        largest_credit: The credit line of the month that took most back, if there was one.
        recommendations: Best sellers of the month, each with its `recommended` products.
        completeness: What the check found that looks at the ends of the month; None where it did not run.
        check_counts: Severity -> results and how many of them passed.
        failed_checks: Checks that failed in the month, in one before it, or on a whole table.
        quarantine: Lines set aside by reason with `explanation`, to date and in the month.
        refused_files: Landed files that could not be read.
    """

    month: date
    ends_early: bool
    publication: Row
    months: list[Row]
    customers: pl.DataFrame
    segments: list[Row]
    moves: list[Row]
    cells: list[Row]
    rfm_segments: list[Row]
    rules: list[Row]
    telling_rule_count: int
    persistence: Row | None
    hits: Row | None
    largest_credit: Row | None
    recommendations: list[Row]
    completeness: Row | None
    check_counts: dict[str, Row]
    failed_checks: list[Row]
    quarantine: list[Row]
    refused_files: list[Row]

    @property
    def now(self) -> Row:
        """The month itself."""
        return self.months[-1]

    def of_month(self, month: date) -> Row | None:
        """The figures of another month, if there are any."""
        return next((row for row in self.months if row["invoice_month"] == month), None)

    @property
    def month_before(self) -> Row | None:
        """The calendar month before."""
        return self.of_month(m.shift(self.month, -1))

    @property
    def year_before(self) -> Row | None:
        """The same month of the year before."""
        return self.of_month(m.shift(self.month, -12))

    @property
    def has_segments_before(self) -> bool:
        """The month before had segments, so that customers can have moved."""
        return any(move["from_segment_id"] is not None for move in self.moves)

    @property
    def missing_months(self) -> list[date]:
        """Months between the first one and this one of which nothing has landed."""
        known = {row["invoice_month"] for row in self.months}
        return [month for month in m.window(self.months[0]["invoice_month"], self.month) if month not in known]


def read_figures(connection: duckdb.DuckDBPyConnection, month: date | None = None) -> Figures:
    """Everything the report of a month shows; of the last published month where none is given.

    Raises:
        ReportError: The file holds no month.
        UnknownMonthError: The file holds no such month.
    """
    months = read(connection, queries.MONTHS).to_dicts()
    if not months:
        raise ReportError("The published file holds no month. `retail run` refreshes and publishes.")
    month = month or months[-1]["invoice_month"]
    if month not in (published := [row["invoice_month"] for row in months]):
        if published[0] < month < published[-1]:
            raise UnknownMonthError(f"Nothing has landed for {m.label(month)}, so there is no report on it. Reports on later months tell the gap.")
        raise UnknownMonthError(f"{m.label(month)} is not in the published file, which holds {m.window_label(published)}.")
    of_month = {"month": month}
    customers = read(connection, queries.CUSTOMERS, of_month)
    cells = _cells(read(connection, queries.RFM_CELLS, of_month))
    of_month_before = {"month_before": m.shift(month, -1)}
    profiles = read(connection, queries.SEGMENTS, of_month | of_month_before).to_dicts()
    current = _segments(profiles, customers)
    rules = read(connection, queries.RULES, of_month | {"limit": _MOST_RULES}).to_dicts()
    return Figures(
        month=month,
        ends_early=calendar_checks.ends_early(connection, month),
        publication=read(connection, queries.PUBLICATION).to_dicts()[0],
        months=[row for row in months if row["invoice_month"] <= month],
        customers=customers,
        segments=current,
        moves=_moves(read(connection, queries.MOVES, of_month).to_dicts(), current),
        cells=cells,
        rfm_segments=_rfm_segments(cells),
        rules=rules,
        telling_rule_count=rules[0]["telling_rule_count"] if rules else 0,
        persistence=next(iter(read(connection, queries.PERSISTENCE, of_month_before).to_dicts()), None),
        hits=next(iter(read(connection, queries.HITS, of_month_before | {"ranks": _RECOMMENDATIONS}).to_dicts()), None),
        largest_credit=next(iter(read(connection, queries.LARGEST_CREDIT, of_month).to_dicts()), None),
        recommendations=_recommendations(
            read(connection, queries.RECOMMENDATIONS, of_month | {"limit": _BEST_SELLERS, "ranks": _RECOMMENDATIONS}).to_dicts()
        ),
        completeness=next(iter(read(connection, queries.COMPLETENESS, of_month).to_dicts()), None),
        check_counts={row["severity"]: row for row in read(connection, queries.CHECKS, of_month).to_dicts()},
        failed_checks=read(connection, queries.FAILED_CHECKS, of_month).to_dicts(),
        quarantine=_quarantine(read(connection, queries.QUARANTINE, of_month).to_dicts()),
        refused_files=read(connection, queries.FILES).to_dicts(),
    )


def _segments(rows: list[Row], customers: pl.DataFrame) -> list[Row]:
    """Each segment with the words for its medians (where there are several to compare) and what to do about it."""
    population = {feature: customers[feature].cast(pl.Float64) for feature in segments.RFM}
    several = len(rows) > 1
    words = [
        {feature: segments.word(feature, row[f"median_{feature}"], values) for feature, values in population.items()} if several else {}
        for row in rows
    ]
    return [row | {"words": found} | advice(found) for row, found in zip(rows, words, strict=True)]


def _moves(rows: list[Row], now: list[Row]) -> list[Row]:
    """Each move with what to do about those who made it: they are as recent as their segment now, and worth what their segment before was."""
    words = {row["segment_id"]: row["words"] for row in now}
    recency, *worth = segments.RFM
    for_move = [
        {recency: words[row["to_segment_id"]].get(recency, "")} | {feature: words[row["from_segment_id"]].get(feature, "") for feature in worth}
        if {row["from_segment_id"], row["to_segment_id"]} <= words.keys()
        else {}
        for row in rows
    ]
    return [row | advice(found) for row, found in zip(rows, for_move, strict=True)]


_ADVICE_COLUMNS: Final = dict(zip(("recency", "frequency", "spend"), segments.RFM, strict=True))
"""Column of the seed `segment_actions` -> feature whose word it is about."""


def advice(words: dict[str, str]) -> Row:
    """`headline` and `action` of the first row of the seed `segment_actions` that applies; without words, of the one for any."""
    found = next(row for row in read_seed("segment_actions").to_dicts() if _applies(row, words))
    return {name: found[name] for name in ("headline", "action")}


def _applies(row: Row, words: dict[str, str]) -> bool:
    return all(row[column] == "any" or words.get(feature) in row[column].split("|") for column, feature in _ADVICE_COLUMNS.items())


def _cells(found: pl.DataFrame) -> list[Row]:
    """The whole grid: cells without customers are part of the picture."""
    grid = read_seed("rfm_segments").with_columns(pl.col("r_score", "f_score").cast(pl.Int32))
    amount = pl.col("net_amount").cast(pl.Float64).fill_null(0.0)
    return (
        grid.join(found.drop("rfm_segment"), on=["r_score", "f_score"], how="left")
        .with_columns(pl.col("customer_count").fill_null(0), amount)
        .sort("r_score", "f_score")
        .to_dicts()
    )


def _rfm_segments(cells: list[Row]) -> list[Row]:
    totals = pl.DataFrame(cells).group_by("rfm_segment").agg(pl.col("customer_count", "net_amount").sum())
    named = read_seed("rfm_segment_actions").join(totals, on="rfm_segment", how="inner", validate="1:1")
    return named.sort("net_amount", "rfm_segment", descending=[True, False]).to_dicts()


def _recommendations(rows: list[Row]) -> list[Row]:
    products: dict[str, Row] = {}
    for row in rows:
        product = products.setdefault(row["stock_code"], {**row, "recommended": []})
        product["recommended"].append(row)
    return list(products.values())


def _quarantine(rows: list[Row]) -> list[Row]:
    explanations = {reason: explanation for reason, explanation, _ in cleaning.rule_table()}
    return [row | {"explanation": explanations.get(row["reason"], "")} for row in rows]
