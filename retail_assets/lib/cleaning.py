"""From raw lines to transactions and quarantine: what a line is, which lines count, and what a product is called.

Here belong the rules that judge a line and the values it gets when it counts. How the text of a file becomes numbers and dates does not
(`parsing`), nor what a credit note takes back (`returns`).

What is decided about a month depends on that month and the months before it, never on later ones: a month can be cleaned again after others
have landed and comes out the same. So an invoice is a number within one month: a shop may begin its numbers again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import polars as pl

from retail_assets.contracts import QUARANTINE, TRANSACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Duplicates = Literal["keep", "quarantine"]

_UNKNOWN_COUNTRY = "Unspecified"

_NAME_KEY = ("stock_code", "invoice_month", "description")

_INVOICE = ("invoice_month", "invoice")

_CONTENT = ("invoice", "product", "text", "parsed_quantity", "parsed_unit_price", "parsed_invoiced_at", "customer", "nation")
"""Two lines equal in these say the same."""

_IS_CREDIT = pl.col("invoice").str.starts_with("C")
_IS_PRICED = (pl.col("parsed_unit_price") > 0) & ((pl.col("parsed_quantity") > 0) | _IS_CREDIT)
_IS_UNPARSEABLE = pl.any_horizontal(pl.col("invoice", "product", "parsed_quantity", "parsed_unit_price", "parsed_invoiced_at", "amount").is_null())


@dataclass(frozen=True)
class Cleaned:
    """The lines that count and the lines set aside; every raw line is in exactly one of them."""

    transactions: pl.DataFrame
    quarantine: pl.DataFrame


@dataclass(frozen=True)
class Rule:
    """Why a line is set aside. `applies` reads the columns that `_judged` prepares."""

    reason: str
    applies: pl.Expr
    explanation: str
    example: str


RULES: tuple[Rule, ...] = (
    Rule(
        "unparseable",
        _IS_UNPARSEABLE,
        "Quantity, price or date cannot be read, the invoice number or product code is empty, or quantity times price is 10^14 or more.",
        "quantity `six`",
    ),
    Rule(
        "overlapping_file",
        pl.col("copy") == "overlapping_file",
        "Another file holds the same line: of several exports that overlap, each line counts as often as in the file that has it most often.",
        "a day's file next to the file of its year",
    ),
    Rule(
        "repeated_invoice",
        pl.col("copy") == "repeated_invoice",
        "The file holds the whole invoice several times: every line of an invoice of at least two different lines, or of the whole day, is repeated.",
        "2010-12-01 to 2010-12-09 in both sheets of Online Retail II",
    ),
    Rule(
        "exact_duplicate",
        pl.col("copy") == "exact_duplicate",
        "An equal line stands earlier in the file. Only with the setting `duplicates=quarantine`: by default such lines are separate sales.",
        "`536409`, `21866` twice",
    ),
    Rule(
        "non_product",
        pl.col("is_non_product") | pl.col("invoice").str.starts_with("A"),
        "Postage, fee, voucher, discount, sample or manual entry (seed `non_product_codes`), or an adjustment of bad debt.",
        "`POST`, `gift_0001_20`, invoice `A563185`",
    ),
    Rule(
        "stock_adjustment",
        (pl.col("parsed_quantity") < 0) & ~_IS_CREDIT,
        "Units taken off the stock without a credit note.",
        "`536589`: -10 x `21777`, price 0",
    ),
    Rule(
        "warehouse_note",
        (pl.col("parsed_unit_price") == 0) & pl.col("customer").is_null() & pl.col("is_note"),
        "A note in the place of the product's name: price 0, no customer, and a text that no priced line of the product has had by then.",
        "`check`, `found`, `wet rusty`",
    ),
    Rule(
        "zero_price",
        pl.col("parsed_unit_price") == 0,
        "Given away or moved, not sold.",
        "a free product on a customer's invoice",
    ),
    Rule("negative_price", pl.col("parsed_unit_price") < 0, "A product has no negative price.", "price -0.50"),
    Rule("zero_quantity", pl.col("parsed_quantity") == 0, "Nothing sold, nothing taken back.", "quantity 0"),
    Rule("unclear_credit", (pl.col("parsed_quantity") > 0) & _IS_CREDIT, "A credit note that takes nothing back.", "quantity 1 on a `C` invoice"),
)
"""In order: the first rule that applies gives the reason. A line that none applies to is a transaction."""


def rule_table() -> tuple[tuple[str, str, str], ...]:
    """The rules for the documentation: reason, what it means, example."""
    return tuple((rule.reason, rule.explanation, rule.example) for rule in RULES)


def product_names(raw: pl.DataFrame) -> pl.DataFrame:
    """Count the lines of every product, month and text: a roll-up from which `clean` and `canonical_names` take names.

    Roll-ups of different months add up (`polars.concat`). Within one call the files may overlap: a line counts once.

    Args:
        raw: Lines as in RAW_TRANSACTIONS.
    """
    # What was counted of a month is kept as it is, so it must not depend on a seed: here lines are equal whatever their countries.
    lines = _with_copies(_normalized(raw).with_columns(nation=pl.lit(None, pl.String)), "keep")
    return (
        lines.lazy()
        .filter(~_IS_UNPARSEABLE, pl.col("copy").is_null())
        .group_by(pl.col("product").alias("stock_code"), "invoice_month", pl.col("text").alias("description"))
        .agg(line_count=_IS_PRICED.sum().cast(pl.Int64), all_lines=pl.len().cast(pl.Int64))
        .select(*_NAME_KEY, "line_count", unpriced_line_count=pl.col("all_lines") - pl.col("line_count"))
        .sort(_NAME_KEY)
        .collect()
    )


def added_up(roll_ups: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Roll-ups of different lines as one, as `product_names` returns it."""
    return _totals(pl.concat(roll_ups)).select(*_NAME_KEY, "line_count", "unpriced_line_count").sort(_NAME_KEY).collect()


def canonical_names(roll_up: pl.DataFrame) -> pl.DataFrame:
    """Choose one text per product: the commonest on priced lines of the first month that has any, equal counts by alphabet.

    The first month, so that a product keeps its name whatever lands later. Products never priced are named by the texts of their first month,
    products without text by their code.

    Args:
        roll_up: What `product_names` returned, of any number of months.

    Returns:
        `stock_code` and `description`, sorted by `stock_code`.
    """
    is_priced = pl.col("line_count") > 0
    count = pl.when(is_priced).then("line_count").otherwise("unpriced_line_count")
    return (
        _totals(roll_up)
        .sort(
            "stock_code",
            is_priced,
            "invoice_month",
            pl.col("description").is_null(),
            count,
            "description",
            descending=[False, True, False, False, True, False],
        )
        .unique("stock_code", keep="first", maintain_order=True)
        .select("stock_code", pl.col("description").fill_null(pl.col("stock_code")))
        .collect()
    )


def clean(
    raw: pl.DataFrame,
    names: pl.DataFrame,
    non_product_codes: pl.DataFrame,
    country_names: pl.DataFrame,
    *,
    duplicates: Duplicates = "keep",
    is_first_part: bool = True,
) -> Cleaned:
    """Split raw lines into transactions and quarantine, both as in the contracts and sorted by their keys.

    Repeated lines are kept by default, because that is how this shop keys sales: in the real data no invoice of several lines is repeated as a
    whole, while of 9,599 invoices and products with several lines 5,047 differ in quantity.

    Args:
        raw: Lines as in RAW_TRANSACTIONS, of one or several whole months; or a part of a month, see `part_starts`.
        names: What `product_names` returned for these months and all before them; later months change nothing.
        non_product_codes: The seed of that name: `code`, `match` (`exact` or `prefix`), `marks_batch_order`.
        country_names: The seed of that name: `raw_name`, `country`.
        duplicates: What to do with equal lines within one file.
        is_first_part: Whether lines without a date are set aside here. They come with every part of a month and count in the first.
    """
    normalized = _normalized(raw).with_columns(nation=_countries(raw.get_column("country"), country_names))
    lines = _judged(_with_copies(normalized, duplicates), names, non_product_codes)
    is_kept = pl.col("reason").is_null()
    is_set_aside = ~is_kept & (is_first_part | pl.col("parsed_invoiced_at").is_not_null())
    return Cleaned(
        transactions=_transactions(lines.filter(is_kept), canonical_names(names)),
        quarantine=lines.filter(is_set_aside).select(QUARANTINE.polars_schema.names()).sort(QUARANTINE.key),
    )


def invoice_days(invoices: pl.DataFrame) -> pl.DataFrame:
    """On which days the lines of each invoice are, in whatever file: what `part_starts` is told of a month.

    Args:
        invoices: `invoice_no` as in the files, `first_day`, `last_day` (Date, null where there is none) and `line_count` (Int64); numbers may repeat.

    Returns:
        `invoice` (String, the number as `clean` reads it), `first_day`, `last_day`, `line_count`. Lines without a number or a date are of no invoice.
        What is told of different lines adds up: the earliest first day, the latest last day, the sum of the counts.
    """
    return (
        invoices.lazy()
        .with_columns(invoice=_text("invoice_no").str.to_uppercase())
        .drop_nulls(["invoice", "first_day"])
        .group_by("invoice")
        .agg(pl.col("first_day").min(), pl.col("last_day").max(), pl.col("line_count").sum())
        .collect()
    )


def part_starts(days: pl.DataFrame, size: int) -> list[date]:
    """Where to cut a month so that cleaning its parts one by one gives what cleaning it at once does: between days that no invoice spans.

    What is judged of a line depends on its invoice in all files, and on the other invoices of the day in its file, never on more. Lines without a
    date must come with every part, because they may tell of an invoice in it (see `clean`).

    Args:
        days: `first_day`, `last_day` and `line_count` of the invoices of the month (`invoice_days`), or of all invoices of the same days together.
        size: Lines that a part should not exceed; one day, or days that an invoice spans, may.

    Returns:
        The days on which the second part and those after it begin, in order; none where the month is one part.
    """
    joined: list[tuple[date, date, int]] = []
    for first, last, line_count in days.sort("first_day").select("first_day", "last_day", "line_count").iter_rows():
        if joined and first <= joined[-1][1]:
            before, end, count = joined.pop()
            joined.append((before, max(end, last), count + line_count))
        else:
            joined.append((first, last, line_count))
    starts, in_part = [], 0
    for first, _, line_count in joined:
        if in_part and in_part + line_count > size:
            starts.append(first)
            in_part = 0
        in_part += line_count
    return starts


def in_parts(lines: pl.DataFrame, starts: Sequence[date]) -> pl.DataFrame:
    """Add `part` to raw lines of a month that is cut at `starts`: 0 for the first; lines without a date are repeated for every part."""
    day = pl.col("parsed_invoiced_at").dt.date()
    numbers = pl.int_ranges(len(starts) + 1, dtype=pl.Int32)
    is_after = [(day >= start).cast(pl.Int32) for start in starts]
    own = pl.sum_horizontal(is_after) if starts else pl.lit(0, pl.Int32)
    return lines.with_columns(part=pl.when(day.is_null()).then(numbers).otherwise(pl.concat_list(own))).explode("part")


def _normalized(raw: pl.DataFrame) -> pl.DataFrame:
    """Add what the text of a line means beside the text itself, which quarantine keeps."""
    return (
        raw.lazy()
        .with_columns(
            invoice=_text("invoice_no").str.to_uppercase(),
            product=_text("stock_code").str.to_uppercase(),
            text=_folded(raw.get_column("description")),
            customer=customer_text(pl.col("customer_id")),
        )
        .collect()
    )


def customer_text(customer_id: pl.Expr) -> pl.Expr:
    """The customer that a text names: tools that know no missing whole numbers write `17850.0`, and `nan` for nobody."""
    customer = customer_id.str.strip_chars().str.to_uppercase().str.replace(r"\.0+$", "")
    return pl.when(~customer.is_in(["", "NAN"])).then(customer)


def _text(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text.str.len_bytes() > 0).then(text)


def _folded(descriptions: pl.Series) -> pl.Expr:
    """Texts with their blanks trimmed and folded; worked out once per distinct text, which takes a third of the time."""
    texts = descriptions.drop_nulls().unique().to_frame().with_columns(folded=_text("description").str.replace_all(r"\s+", " "))
    return pl.col("description").replace_strict(texts.get_column("description"), texts.get_column("folded"), default=None, return_dtype=pl.String)


def _totals(roll_up: pl.DataFrame) -> pl.LazyFrame:
    return roll_up.lazy().group_by(_NAME_KEY).agg(pl.col("line_count", "unpriced_line_count").sum())


def _with_copies(lines: pl.DataFrame, duplicates: Duplicates) -> pl.DataFrame:
    """Add `copy`: why a line says nothing new beside an equal line, null where it does (or cannot be read)."""
    invoices = _invoices_by_file(lines)
    is_doubtful = (pl.col("file_count") > 1) | pl.col("may_repeat") | (duplicates == "quarantine")
    doubtful = lines.join(invoices.filter(is_doubtful), on=["file_id", *_INVOICE]).filter(~_IS_UNPARSEABLE)
    copies = _copies(doubtful, duplicates) if doubtful.height else pl.DataFrame()
    if copies.is_empty():
        return lines.with_columns(copy=pl.lit(None, pl.String))
    return lines.join(copies, on=["file_id", "line_no"], how="left", maintain_order="left")


def _invoices_by_file(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per file and invoice: in how many files the invoice is, and whether it, or all of its day, has room for being repeated."""
    return (
        lines.lazy()
        .filter(~_IS_UNPARSEABLE)
        .group_by("file_id", *_INVOICE)
        .agg(
            pl.col("parsed_invoiced_at").min().dt.date().alias("day"),
            may_repeat=pl.len() >= 2 * pl.col("product").n_unique(),
        )
        .with_columns(file_count=pl.len().over(_INVOICE), may_repeat_day=pl.col("may_repeat").all().over("file_id", "day"))
        .collect()
    )


def _copies(lines: pl.DataFrame, duplicates: Duplicates) -> pl.DataFrame:
    """Find the surplus copies among the lines of doubtful invoices; which of equal lines stays never shows in the transactions."""
    in_file = ("file_id", "content")
    is_fullest = pl.col("own_copies") == pl.col("own_copies").max().over("content")
    return (
        lines.lazy()
        .sort("file_id", "line_no")
        .with_row_index("line")
        .with_columns(content=pl.col("line").min().over(_CONTENT))
        # Equal lines stand together now: numbering them by position is ten times faster than counting within each group.
        .sort("content", "line")
        .with_row_index("position")
        .with_columns(copy_no=pl.col("position") - pl.col("position").min().over(in_file) + 1, copies=pl.len().over(in_file))
        .with_columns(own_copies=pl.col("copies") // _exports())
        .with_columns(candidate=pl.when(is_fullest).then("file_id"))
        .select(
            "file_id",
            "line_no",
            copy=pl.when(pl.col("file_id") != pl.col("candidate").min().over("content"))
            .then(pl.lit("overlapping_file"))
            .when(pl.col("copy_no") > pl.col("own_copies"))
            .then(pl.lit("repeated_invoice"))
            .when((pl.col("copy_no") > 1) & (duplicates == "quarantine"))
            .then(pl.lit("exact_duplicate")),
        )
        .drop_nulls("copy")
        .collect()
    )


def _exports() -> pl.Expr:
    """How often the file holds the whole invoice of a line.

    An invoice of one line says nothing by itself: two equal lines can be two sales. Its whole day can, if that has an invoice of several lines.
    """
    invoice, day = ("file_id", *_INVOICE), ("file_id", "day")
    has_several_lines = (pl.col("copy_no") == 1).sum().over(invoice) > 1
    is_day_repeated = pl.col("may_repeat_day") & has_several_lines.any().over(day)
    return pl.when(has_several_lines).then(_repeats(invoice)).when(is_day_repeated).then(_repeats(day)).otherwise(1)


def _repeats(block: tuple[str, ...]) -> pl.Expr:
    fewest = pl.col("copies").min()
    return pl.when((pl.col("copies") % fewest == 0).all()).then(fewest).otherwise(1).over(block)


def _judged(lines: pl.DataFrame, names: pl.DataFrame, non_product_codes: pl.DataFrame) -> pl.DataFrame:
    """Add `reason` (null for lines that count) and `is_batch_order`, which every line of an invoice must be there to decide."""
    products = lines.get_column("product").drop_nulls().unique()
    priced_since = (
        _totals(names).filter(pl.col("line_count") > 0).group_by("stock_code", "description").agg(priced_since=pl.col("invoice_month").min())
    )
    is_text_priced = (pl.col("priced_since") <= pl.col("invoice_month")).fill_null(value=False)
    return (
        lines.lazy()
        .join(priced_since, left_on=["product", "text"], right_on=["stock_code", "description"], how="left")
        .join(_batch_orders(lines, _matching(products, non_product_codes.filter("marks_batch_order"))), on=_INVOICE, how="left")
        .with_columns(
            is_non_product=pl.col("product").is_in(_matching(products, non_product_codes)),
            is_note=pl.col("text").is_not_null() & ~is_text_priced,
        )
        .with_columns(
            reason=pl.coalesce(pl.when(rule.applies).then(pl.lit(rule.reason)) for rule in RULES),
            is_batch_order=pl.col("is_batch_order").fill_null(value=False),
        )
        .collect()
    )


def _matching(products: pl.Series, codes: pl.DataFrame) -> list[str]:
    """Those of the products that the codes name, in full or by their beginning."""
    by_match = {match: tuple(code.upper() for code in codes.filter(pl.col("match") == match).get_column("code")) for match in ("exact", "prefix")}
    return [product for product in products if product in by_match["exact"] or product.startswith(by_match["prefix"])]


def _batch_orders(lines: pl.DataFrame, markers: list[str]) -> pl.LazyFrame:
    """Find the invoices that batch many orders of the web shop: a line with a marker, and no customer on any line.

    The shop keys the orders of its web shop together on one invoice, and their postage as one line. Such an invoice is no basket of one shopper.
    """
    marked = lines.lazy().filter(pl.col("product").is_in(markers) & ~_IS_CREDIT).select(_INVOICE)
    return (
        lines.lazy()
        .join(marked, on=_INVOICE, how="semi")
        .group_by(_INVOICE)
        .agg(is_batch_order=pl.col("customer").is_null().all())
        .filter("is_batch_order")
    )


def _transactions(lines: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    transactions = (
        lines.lazy()
        .select(
            "invoice_month",
            "amount",
            "is_batch_order",
            invoice_no="invoice",
            stock_code="product",
            quantity="parsed_quantity",
            unit_price="parsed_unit_price",
            invoiced_at="parsed_invoiced_at",
            customer_id="customer",
            country="nation",
            # What else a credit note can hold is in quarantine.
            is_return=_IS_CREDIT,
        )
        .join(names.lazy(), on="stock_code", how="left")
        .collect()
    )
    if nameless := transactions.get_column("description").null_count():
        raise ValueError(f"`names` lacks the products of {nameless} lines: it must hold the product_names of the months that are cleaned")
    return (
        _with_transaction_id(transactions)
        .with_columns(
            line_no=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(
                "invoice_month", "invoice_no", order_by=["invoiced_at", "stock_code", "transaction_id"]
            )
        )
        .select(TRANSACTIONS.polars_schema.names())
        .sort(TRANSACTIONS.key)
    )


def _countries(texts: pl.Series, country_names: pl.DataFrame) -> pl.Expr:
    """The countries that the texts name, worked out once per distinct text."""
    known = {raw_name.upper(): country for raw_name, country in country_names.select("raw_name", "country").iter_rows()}
    nations = texts.drop_nulls().unique().to_frame().select("country", nation=_text("country").fill_null(_UNKNOWN_COUNTRY)).iter_rows()
    countries = {text: known.get(nation.upper(), nation) for text, nation in nations}
    return pl.col("country").replace_strict(countries, default=_UNKNOWN_COUNTRY, return_dtype=pl.String)


def _with_transaction_id(transactions: pl.DataFrame) -> pl.DataFrame:
    """Add the key made of content, so that it does not change when the same sales arrive in other files or in another order.

    Its day tells invoices apart whose numbers the shop used in another month as well.
    """
    day = pl.col("invoiced_at").dt.date().cast(pl.String)
    price = pl.col("unit_price").cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    content = transactions.with_columns(content=pl.concat_str(day, "invoice_no", "stock_code", "quantity", price, separator="/"))
    is_shared = content.get_column("content").is_duplicated()
    occurrence = pl.int_range(1, pl.len() + 1).over("content", order_by=["invoiced_at", "customer_id", "country"])
    return pl.concat(
        [content.filter(~is_shared).with_columns(occurrence=pl.lit(1, pl.Int64)), content.filter(is_shared).with_columns(occurrence=occurrence)]
    ).with_columns(transaction_id=pl.concat_str("content", "occurrence", separator="/"))
