"""From the lines of all parts to the sample: invoice numbers, the marks of all kinds of dirt, texts as in the files, and the sums of the oracle."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.sample._catalogue import NON_PRODUCTS, Catalogue
from retail_assets.lib.sample._facts import COUNTRIES, DAY, FIRST_DAY, Ints
from retail_assets.lib.sample._kinds import KINDS, UNPARSEABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTRY_NAMES = (*COUNTRIES, "Hong Kong")
_AWKWARD_COUNTRIES = ("EIRE", "RSA", "Unspecified", "European Community", "Hong Kong")

_FIRST_INVOICE_NO = 536_365
_BROKEN_TEXTS = {"InvoiceDate": "31/31/2011", "Quantity": "abc", "UnitPrice": "12..5"}

_COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


def number_invoices(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines in the order of time, with `number`: invoices of all books share one sequence in the order of their first line."""
    invoice = ["book", "invoice"]
    numbers = (
        lines.group_by(invoice)
        .agg(pl.col("minute").min())
        .sort("minute", *invoice)
        .select(*invoice, number=pl.int_range(pl.len()) + _FIRST_INVOICE_NO)
    )
    return lines.join(numbers, on=invoice, how="left", maintain_order="left").sort("minute", "number", maintain_order=True)


def mark_kinds(lines: pl.DataFrame, catalogue: Catalogue, customers: pl.DataFrame) -> pl.DataFrame:
    """A Boolean column for each kind of dirt but the unparseable, and `amount` in 1/1000 pound."""
    is_product = pl.col("is_product")
    marked = (
        lines.join(catalogue.items.select("item", "code", "is_alphabetic", "is_product"), on="item", how="left", maintain_order="left")
        .join(customers.select("customer", "two_countries"), on="customer", how="left", maintain_order="left")
        .with_columns(_mark_texts(catalogue, lines["text"]))
        .with_columns(
            amount=pl.col("quantity") * pl.col("price"),
            alphabetic_product=pl.col("is_alphabetic"),
            credit_note=pl.col("prefix") == "C",
            missing_description=pl.col("text").is_null(),
            no_customer=pl.col("customer").is_null(),
            non_product=~is_product,
            shared_description=is_product & (pl.col("price") > 0) & pl.col("name").is_in(_shared_names(lines, catalogue)),
            zero_price=pl.col("price") == 0,
            **{f"non_product:{code}": pl.col("code") == code for code in NON_PRODUCTS},
            **{f"country_{name.lower().replace(' ', '_')}": pl.col("country") == _COUNTRY_NAMES.index(name) for name in _AWKWARD_COUNTRIES},
        )
    )
    kinds = [kind for kind in KINDS if kind not in UNPARSEABLE.values()]
    return marked.with_columns(pl.col(kinds).fill_null(value=False))


def _mark_texts(catalogue: Catalogue, texts: pl.Series) -> list[pl.Series]:
    """The kinds of dirt that lie in the text of a line, and its `name`: the text without blanks at its edges."""
    marks = {"apostrophe": "'", "comma": ",", "pound_sign": "£", "quote": '"'}
    names = catalogue.texts.str.strip_chars()
    return [
        names.gather(texts).alias("name"),
        (catalogue.texts != names).gather(texts).alias("description_with_edge_blanks"),
        *(catalogue.texts.str.contains(mark, literal=True).gather(texts).alias(f"description_with_{kind}") for kind, mark in marks.items()),
    ]


def _shared_names(lines: pl.DataFrame, catalogue: Catalogue) -> list[str]:
    """Texts on priced lines of more than one product."""
    sold = lines.filter((pl.col("price") > 0) & (pl.col("item") < catalogue.product_count)).select("item", "text").unique()
    names = sold.select("item", name=catalogue.texts.str.strip_chars().gather(sold["text"])).unique()
    return names.filter(pl.len().over("name") > 1)["name"].unique().sort().to_list()


def break_lines(rng: np.random.Generator, lines: pl.DataFrame, count: int) -> pl.DataFrame:
    """Adds `broken`, the column of a line that cannot be read (mostly null), and the kinds of dirt that go with it."""
    columns = list(_BROKEN_TEXTS)
    victims = rng.choice(_breakable_lines(lines), count, replace=False)
    choice = np.full(lines.height, len(columns))
    choice[victims] = np.arange(count) % len(columns)
    broken = pl.Series([*columns, None]).gather(choice)
    return lines.with_columns(broken=broken).with_columns(
        amount=pl.when(pl.col("broken").is_in(["Quantity", "UnitPrice"])).then(0).otherwise("amount"),
        **{kind: (pl.col("broken") == column).fill_null(value=False) for column, kind in UNPARSEABLE.items()},
    )


def _breakable_lines(lines: pl.DataFrame) -> Ints:
    """Positions of account sales that no other kind of dirt counts or is measured by, and that are not the first of their day."""
    kinds = [kind for kind in KINDS if kind not in UNPARSEABLE.values()]
    day = pl.col("minute") // DAY
    is_later_in_day = (day == day.shift()).fill_null(value=False)
    credited = lines.filter("credit_note").select("customer", "item").unique()
    repeated = lines.filter("exact_duplicate").select("customer", "item").unique()
    renamed = lines.filter("alternative_description").select("item").unique()
    return (
        lines.with_row_index("position")
        .filter((pl.col("book") == "sale") & ~pl.any_horizontal(kinds) & is_later_in_day)
        .join(pl.concat([credited, repeated]), on=["customer", "item"], how="anti", maintain_order="left")
        .join(renamed, on="item", how="anti", maintain_order="left")["position"]
        .to_numpy()
        .astype(np.int64)
    )


def spell_lines(lines: pl.DataFrame, catalogue: Catalogue, customers: pl.DataFrame) -> pl.DataFrame:
    """The lines as text, as they would stand in the files."""
    code = pl.col("code")
    customer_ids = customers["customer_id"].cast(pl.String) + ".0"
    invoiced_at = pl.lit(datetime.combine(FIRST_DAY, datetime.min.time())) + pl.duration(minutes="minute")
    spelt = lines.select(
        "broken",
        InvoiceNo=pl.col("prefix") + pl.col("number").cast(pl.String),
        StockCode=pl.when("lower_case_code").then(code.str.to_lowercase()).otherwise(code),
        Description=catalogue.texts.gather(lines["text"]),
        Quantity=pl.col("quantity").cast(pl.String),
        InvoiceDate=invoiced_at.dt.to_string("%Y-%m-%d %H:%M:%S"),
        UnitPrice=_spell_prices(lines["price"]),
        CustomerID=customer_ids.gather(lines["customer"]),
        Country=pl.Series(_COUNTRY_NAMES).gather(lines["country"]),
    )
    return spelt.with_columns(
        pl.when(pl.col("broken") == column).then(pl.lit(text)).otherwise(column).alias(column) for column, text in _BROKEN_TEXTS.items()
    ).select(_COLUMNS)


def _spell_prices(prices: pl.Series) -> pl.Series:
    """Prices as the real files spell them: `2.55`, `2.1`, `18.0`, `0.001`."""
    distinct, position = np.unique(prices.to_numpy(), return_inverse=True)
    return pl.Series([repr(price / 1000) for price in distinct.tolist()], dtype=pl.String).gather(position)


def sum_dirt(lines: pl.DataFrame) -> pl.DataFrame:
    kinds = sorted(KINDS)
    return pl.DataFrame(
        {
            "kind": kinds,
            "line_count": pl.Series(lines.select(pl.col(kinds).sum()).row(0), dtype=pl.Int64),
            "amount": _pounds(lines.select(pl.col("amount").filter(pl.col(kind)).sum().alias(kind) for kind in kinds).row(0)),
        }
    )


def sum_months(lines: pl.DataFrame) -> pl.DataFrame:
    month = pl.lit(FIRST_DAY) + pl.duration(minutes="minute")
    sums = (
        lines.group_by(invoice_month=month.cast(pl.Date).dt.month_start())
        .agg(pl.len().cast(pl.Int64).alias("line_count"), pl.col("amount").sum())
        .sort("invoice_month")
    )
    return sums.with_columns(_pounds(sums["amount"].to_list()).alias("amount"))


def _pounds(thousandths: Sequence[int]) -> pl.Series:
    return pl.Series([Decimal(value) / 1000 for value in thousandths], dtype=pl.Decimal(18, 4))
