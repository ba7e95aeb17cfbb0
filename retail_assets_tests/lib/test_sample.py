"""The generated sample: what its oracle says is recomputed here from the text of the lines alone, without a look into the generator."""

from __future__ import annotations

import hashlib
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Literal

import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_frame_not_equal

from retail_assets.lib.sample import KINDS, MINIMUM_LINE_COUNT, Sample, _history, generate, write, write_history

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
NON_PRODUCTS = [
    *("POST", "DOT", "C2", "BANK CHARGES", "AMAZONFEE", "23444", "23574", "M", "m", "D", "S", "CRUK", "B", "22016", "23702"),
    *("gift_0001_10", "gift_0001_20", "gift_0001_30", "gift_0001_40", "gift_0001_50"),
]
NOTES = ["check", "?", "damages", "damaged", "found", "sold as set on dotcom", "adjustment", "thrown away", "wet rusty", "mouldy", "test", "20713"]
REAL_LINES_BY_MONTH = [42_481, 35_147, 27_707, 36_748, 29_916, 37_030, 36_874, 39_518, 35_284, 50_226, 60_742, 84_711, 25_525]
UNPARSEABLE = ["unparseable_date", "unparseable_price", "unparseable_quantity"]

every_size = pytest.mark.parametrize("line_count", [2_000, 20_000, 100_001])


@cache
def sample(line_count: int = 20_000, seed: int = 1, unparseable_line_count: int = 0) -> Sample:
    """Samples are never changed, so tests may share them."""
    return generate(line_count, seed, unparseable_line_count)


def read(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines with their values read, null where there is nothing to read, and with the facts about codes that the definitions of kinds use."""
    stock_code = pl.col("StockCode")
    return lines.with_row_index("row").with_columns(
        quantity=pl.col("Quantity").cast(pl.Int64, strict=False),
        price=pl.col("UnitPrice").cast(pl.Decimal(18, 4), strict=False),
        at=pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False),
        code=stock_code.str.to_uppercase(),
        text=pl.col("Description").str.strip_chars(),
        is_product=~stock_code.is_in(NON_PRODUCTS),
        is_credit=pl.col("InvoiceNo").str.starts_with("C"),
    )


def sum_amounts(lines: pl.DataFrame) -> pl.DataFrame:
    """Number and value of lines; a line of which quantity or price cannot be read has no value."""
    return lines.select(
        line_count=pl.len().cast(pl.Int64),
        amount=(pl.col("quantity").cast(pl.Decimal(18, 0)) * pl.col("price")).sum().cast(pl.Decimal(18, 4)),
    )


def match_credits(lines: pl.DataFrame) -> pl.DataFrame:
    """Product lines on credit notes with the latest two earlier sales of the same customer and product: `latest`, `before`, `sold_at`."""
    products = lines.filter("is_product")
    sales = products.filter((pl.col("quantity") > 0) & (pl.col("price") > 0)).select("CustomerID", "code", sold="quantity", sold_at="at")
    credits_ = products.filter("is_credit").with_row_index("credit")
    earlier = (
        credits_.join(sales, on=["CustomerID", "code"])
        .filter(pl.col("sold_at") < pl.col("at"))
        .sort("sold_at", descending=True)
        .group_by("credit", maintain_order=True)
        .agg(latest=pl.col("sold").get(0), before=pl.col("sold").get(1, null_on_oob=True), sold_at=pl.col("sold_at").get(0))
    )
    return credits_.join(earlier, on="credit", how="left").with_columns(returned=-pl.col("quantity"))


def count_credits(lines: pl.DataFrame) -> dict[str, pl.DataFrame]:
    matched = match_credits(lines)
    returned, latest = pl.col("returned"), pl.col("latest")
    return {
        "credit_full": matched.filter(returned == latest),
        "credit_partial": matched.filter(returned < latest),
        "credit_over_several_sales": matched.filter(returned == latest + pl.col("before")),
        "credit_in_later_month": matched.filter(pl.col("at").dt.truncate("1mo") > pl.col("sold_at").dt.truncate("1mo")),
        "credit_without_sale": matched.filter(latest.is_null() & pl.col("CustomerID").is_not_null()),
        "credit_without_customer": matched.filter(pl.col("CustomerID").is_null()),
    }


def count_texts(lines: pl.DataFrame) -> dict[str, pl.DataFrame]:
    description = pl.col("Description")
    priced = lines.filter(pl.col("is_product") & (pl.col("price") > 0))
    by_text = priced.group_by("code", "text").len()
    commonest = by_text.sort("len", descending=True).unique("code", keep="first", maintain_order=True)
    other_texts = by_text.join(commonest, on=["code", "text"], how="anti")
    return {
        "alternative_description": priced.join(other_texts, on=["code", "text"], how="semi"),
        "description_with_apostrophe": lines.filter(description.str.contains("'")),
        "description_with_comma": lines.filter(description.str.contains(",")),
        "description_with_edge_blanks": lines.filter(description.str.contains("^ | $")),
        "description_with_pound_sign": lines.filter(description.str.contains("£")),
        "description_with_quote": lines.filter(description.str.contains('"')),
        "missing_description": lines.filter(description.is_null()),
        "shared_description": priced.filter(pl.col("code").n_unique().over("text") > 1),
        "warehouse_note": lines.filter(description.is_in(NOTES)),
    }


def count_identities(lines: pl.DataFrame) -> dict[str, pl.DataFrame]:
    codes, invoice = pl.col("StockCode"), pl.col("InvoiceNo")
    return {
        "alphabetic_product": lines.filter(codes.str.starts_with("DCGS") | (codes == "PADS")),
        "bad_debt": lines.filter(invoice.str.starts_with("A")),
        "batch_order": lines.filter((codes == "DOT").any().over("InvoiceNo")),
        "credit_note": lines.filter("is_credit"),
        "exact_duplicate": lines.filter(pl.int_range(pl.len()).over(COLUMNS) > 0),
        "lower_case_code": lines.filter(pl.col("is_product") & (codes != pl.col("code"))),
        "no_customer": lines.filter(pl.col("CustomerID").is_null()),
        "non_product": lines.filter(~pl.col("is_product")),
        "two_countries": lines.filter(pl.col("CustomerID").is_not_null() & (pl.col("Country").n_unique().over("CustomerID") > 1)),
        "two_timestamps": lines.filter(pl.col("at").drop_nulls().n_unique().over("InvoiceNo") > 1),
        **{f"non_product:{code}": lines.filter(codes == code) for code in NON_PRODUCTS},
        **{
            f"country_{country.lower().replace(' ', '_')}": lines.filter(pl.col("Country") == country)
            for country in ("EIRE", "RSA", "Unspecified", "European Community", "Hong Kong")
        },
    }


def count_figures(lines: pl.DataFrame) -> dict[str, pl.DataFrame]:
    quantity, price, customer = pl.col("quantity"), pl.col("price"), pl.col("CustomerID")
    return {
        "huge_sale": lines.filter(quantity >= 70_000),
        "huge_sale_credit": lines.filter(quantity <= -70_000),
        "stock_found": lines.filter((price == 0) & customer.is_null() & (quantity > 0)),
        "unparseable_date": lines.filter(pl.col("at").is_null()),
        "unparseable_price": lines.filter(price.is_null()),
        "unparseable_quantity": lines.filter(quantity.is_null()),
        "write_off": lines.filter((quantity < 0) & ~pl.col("is_credit")),
        "zero_price": lines.filter(price == 0),
        "zero_price_gift": lines.filter((price == 0) & customer.is_not_null()),
    }


def recompute_dirt(lines: pl.DataFrame) -> pl.DataFrame:
    lines = read(lines)
    found = {**count_credits(lines), **count_texts(lines), **count_identities(lines), **count_figures(lines)}
    return pl.concat(sum_amounts(part).select(pl.lit(kind).alias("kind"), "line_count", "amount") for kind, part in sorted(found.items()))


@every_size
def test_the_sample_has_exactly_the_lines_asked_for(line_count: int) -> None:
    assert sample(line_count).lines.height == line_count


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_sample_is_exact_and_holds_every_kind_of_dirt_whatever_the_seed(seed: int) -> None:
    made = sample(MINIMUM_LINE_COUNT, seed)
    assert made.lines.height == MINIMUM_LINE_COUNT
    assert made.dirt.filter(pl.col("line_count") == 0)["kind"].to_list() == UNPARSEABLE
    assert_frame_equal(recompute_dirt(made.lines), made.dirt)


@every_size
def test_the_dirt_recomputed_from_the_lines_is_what_the_oracle_says(line_count: int) -> None:
    made = sample(line_count)
    assert_frame_equal(recompute_dirt(made.lines), made.dirt)


def test_the_oracle_also_holds_when_some_lines_cannot_be_parsed() -> None:
    made = sample(20_000, unparseable_line_count=2_000)
    assert_frame_equal(recompute_dirt(made.lines), made.dirt)


def test_unparseable_lines_are_broken_in_turn_and_leave_the_other_kinds_alone() -> None:
    clean, broken = sample(20_000).dirt, sample(20_000, unparseable_line_count=100).dirt
    assert broken.filter(pl.col("kind").is_in(UNPARSEABLE)).select("kind", "line_count").rows() == list(zip(UNPARSEABLE, [34, 33, 33], strict=True))
    assert_frame_equal(broken.filter(~pl.col("kind").is_in(UNPARSEABLE)), clean.filter(~pl.col("kind").is_in(UNPARSEABLE)))


@pytest.mark.parametrize("unparseable_line_count", [1, 200])
def test_as_many_lines_are_unparseable_as_asked_for(unparseable_line_count: int) -> None:
    lines = read(sample(2_000, unparseable_line_count=unparseable_line_count).lines)
    assert lines.filter(pl.any_horizontal(pl.col("quantity", "price", "at").is_null())).height == unparseable_line_count


def test_every_kind_of_dirt_is_documented_and_reported_in_order() -> None:
    assert sample().dirt["kind"].to_list() == sorted(KINDS)


def test_the_frames_have_the_documented_schema() -> None:
    made = sample()
    assert made.lines.schema == pl.Schema(dict.fromkeys(COLUMNS, pl.String()))
    assert made.dirt.schema == pl.Schema({"kind": pl.String(), "line_count": pl.Int64(), "amount": pl.Decimal(18, 4)})
    assert made.months.schema == pl.Schema({"invoice_month": pl.Date(), "line_count": pl.Int64(), "amount": pl.Decimal(18, 4)})


def test_the_same_seed_gives_the_same_sample() -> None:
    first, second = generate(5_000, seed=7), generate(5_000, seed=7)
    assert_frame_equal(first.lines, second.lines)
    assert_frame_equal(first.dirt, second.dirt)
    assert_frame_equal(first.months, second.months)


def test_another_seed_gives_another_sample() -> None:
    assert_frame_not_equal(sample(5_000, seed=7).lines, sample(5_000, seed=8).lines)


def test_the_sample_is_the_same_on_every_machine() -> None:
    """A change of the generator changes this hash; a change of the machine, of numpy or of polars must not."""
    assert hashlib.sha256(sample(5_000).lines.write_csv().encode()).hexdigest() == "134e3af14f3b7def843b1d771aeb7568c848c4ce48e1690eac563ba523f4b09a"


@every_size
def test_the_months_add_up_from_the_lines(line_count: int) -> None:
    made = sample(line_count)
    lines = read(made.lines).with_columns(invoice_month=pl.col("at").dt.date().dt.month_start())
    months = [
        sum_amounts(part).with_columns(invoice_month=pl.lit(month))
        for (month,), part in lines.partition_by("invoice_month", as_dict=True, maintain_order=True).items()
    ]
    assert_frame_equal(pl.concat(months).select("invoice_month", "line_count", "amount"), made.months)


def test_the_months_have_the_volumes_of_the_real_ones() -> None:
    months = sample(100_001).months
    assert months["invoice_month"].to_list() == [date(2010 + (11 + month) // 12, (11 + month) % 12 + 1, 1) for month in range(13)]
    expected = [100_001 * volume / sum(REAL_LINES_BY_MONTH) for volume in REAL_LINES_BY_MONTH]
    assert months["line_count"].to_list() == pytest.approx(expected, rel=0.1)


def test_nobody_trades_on_saturdays_on_holidays_or_at_night() -> None:
    times = read(sample(100_001).lines)["at"]
    assert 6 not in times.dt.weekday()
    assert not {date(2010, 12, 25), date(2010, 12, 28), date(2011, 4, 22), date(2011, 4, 25), date(2011, 8, 29)} & set(times.dt.date())
    assert set(times.dt.hour()) == set(range(8, 21))


def test_the_last_month_ends_on_its_eighth_trading_day() -> None:
    days = read(sample(100_001).lines)["at"].dt.date()
    assert days.max() == date(2011, 12, 9)
    assert days.filter(days >= date(2011, 12, 1)).n_unique() == 8


def test_lines_are_ordered_by_time() -> None:
    assert read(sample().lines)["at"].is_sorted()


def test_no_invoice_has_two_customers_or_two_countries() -> None:
    by_invoice = sample(100_001).lines.group_by("InvoiceNo").agg(pl.col("CustomerID", "Country").n_unique())
    assert by_invoice.filter((pl.col("CustomerID") > 1) | (pl.col("Country") > 1)).is_empty()


def test_a_quarter_of_the_lines_has_no_customer() -> None:
    lines = sample(100_001).lines
    assert lines["CustomerID"].null_count() / lines.height == pytest.approx(0.25, abs=0.01)


def test_the_united_kingdom_dominates_38_countries() -> None:
    countries = sample(100_001).lines["Country"]
    assert countries.n_unique() == 38
    assert countries.eq("United Kingdom").sum() > 0.8 * len(countries)


def test_customers_range_from_one_timers_to_wholesalers() -> None:
    sales = sample(100_001).lines.filter(~pl.col("InvoiceNo").str.starts_with("C") & pl.col("CustomerID").is_not_null())
    order_counts = sales.group_by("CustomerID").agg(pl.col("InvoiceNo").n_unique())["InvoiceNo"]
    assert order_counts.eq(1).sum() > 0.2 * len(order_counts)
    assert order_counts.ge(20).sum() >= 10


def test_products_of_a_family_are_bought_together_far_more_often_than_by_chance() -> None:
    baskets = read(sample(100_001).lines).filter(pl.col("is_product") & pl.col("CustomerID").is_not_null() & (pl.col("quantity") > 0))
    items = baskets.select("InvoiceNo", "code").unique()
    basket_count = items["InvoiceNo"].n_unique()
    popularity = items.group_by("code").len()
    pairs = (
        items.join(items, on="InvoiceNo", suffix="_other")
        .filter(pl.col("code") != pl.col("code_other"))
        .group_by("code", "code_other")
        .agg(both=pl.len())
        .join(popularity, on="code")
        .join(popularity.rename({"code": "code_other", "len": "len_other"}), on="code_other")
        .with_columns(confidence=pl.col("both") / pl.col("len"), lift=pl.col("both") * basket_count / (pl.col("len") * pl.col("len_other")))
    )
    assert pairs.filter((pl.col("both") >= 50) & (pl.col("confidence") > 0.4) & (pl.col("lift") > 3)).height >= 20


@pytest.mark.parametrize(("files", "file_count", "first_name"), [("month", 13, "2010-12.csv"), ("day", 305, "2010-12-01.csv")])
def test_written_files_hold_the_lines_of_the_sample(files: Literal["day", "month"], file_count: int, first_name: str, tmp_path: Path) -> None:
    made = sample(100_001, unparseable_line_count=300)
    paths = write(made, tmp_path / "landing", files)
    assert len(paths) == file_count
    assert paths[0].name == first_name
    assert sorted((tmp_path / "landing").iterdir()) == paths
    assert_frame_equal(pl.concat(pl.read_csv(path, infer_schema=False) for path in paths), made.lines)


def test_writing_the_same_sample_again_changes_nothing(tmp_path: Path) -> None:
    paths = write(sample(2_000), tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
    assert write(generate(2_000), tmp_path) == paths
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths} == before


def test_a_file_with_other_content_is_never_overwritten(tmp_path: Path) -> None:
    own_file = tmp_path / "2011-12.csv"
    own_file.write_text("mine")
    with pytest.raises(FileExistsError, match=r"2011-12\.csv exists with other content"):
        write(sample(2_000), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [own_file.name]
    assert own_file.read_text() == "mine"


def test_a_sample_too_small_for_all_dirt_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least 2000 lines"):
        generate(MINIMUM_LINE_COUNT - 1)


@pytest.mark.parametrize("unparseable_line_count", [-1, 201])
def test_too_many_or_negative_unparseable_lines_are_refused(unparseable_line_count: int) -> None:
    with pytest.raises(ValueError, match="must lie between 0 and 200"):
        generate(2_000, unparseable_line_count=unparseable_line_count)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that a test makes several."""
    monkeypatch.setattr(_history, "PIECE_LINES", 5_000)


def history(paths: list[Path]) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(path).with_columns(file=pl.lit(path.stem)) for path in paths)


@pytest.mark.usefixtures("small_pieces")
def test_a_sample_in_pieces_has_exactly_the_lines_asked_for_in_the_months_of_the_real_data(tmp_path: Path) -> None:
    lines = history(write_history(tmp_path, 20_000))
    assert lines.height == 20_000
    assert lines.columns == [*COLUMNS, "file"]
    assert lines["file"].unique().sort().to_list() == ["2010-12", *(f"2011-{month:02}" for month in range(1, 13))]
    assert lines.filter(pl.col("InvoiceDate").str.slice(0, 7) != pl.col("file")).is_empty()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".parquet"] * 13


@pytest.mark.usefixtures("small_pieces")
def test_branches_share_the_products_and_nothing_else(tmp_path: Path) -> None:
    lines = history(write_history(tmp_path, 20_000))
    # Four branches; were the numbers of two the same, invoices would have two customers.
    assert lines.group_by("InvoiceNo").agg(pl.col("CustomerID").n_unique())["CustomerID"].max() == 1
    alone = generate(5_000).lines
    assert lines["CustomerID"].n_unique() > 3 * alone["CustomerID"].n_unique()
    assert lines["InvoiceNo"].n_unique() > 3 * alone["InvoiceNo"].n_unique()
    # A small branch sells part of the catalogue only, so four of them sell more products than one.
    assert lines["StockCode"].str.to_uppercase().n_unique() < 2 * alone["StockCode"].str.to_uppercase().n_unique()


@pytest.mark.usefixtures("small_pieces")
def test_years_follow_each_other_without_a_gap_and_half_of_the_customers_stay(tmp_path: Path) -> None:
    lines = history(write_history(tmp_path, 12_000, month_count=24))
    assert abs(lines.height - 12_000) < 240
    assert lines["file"].n_unique() == 24
    days = lines.select(pl.col("InvoiceDate").str.to_date("%Y-%m-%d %H:%M:%S").alias("day"))["day"]
    assert date(2010, 12, 1) <= days.min() <= date(2010, 12, 3)  # type: ignore[operator]
    assert days.max() == date(2012, 11, 30)
    assert 6 not in days.dt.weekday()
    first, second = (
        set(lines.filter(pl.col("file").is_between(pl.lit(since), pl.lit(until)))["CustomerID"].drop_nulls())
        for since, until in (("2010-12", "2011-11"), ("2011-12", "2012-11"))
    )
    assert 0.2 < len(first & second) / len(first) < 0.7


@pytest.mark.usefixtures("small_pieces")
def test_the_same_arguments_give_the_same_history(tmp_path: Path) -> None:
    first, again, other = (history(write_history(tmp_path / name, 8_000, seed)) for name, seed in (("first", 2), ("again", 2), ("other", 3)))
    assert_frame_equal(first, again)
    assert_frame_not_equal(first, other)
