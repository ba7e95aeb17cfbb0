"""Exact figures of the real data set: every line of 541,909 has its place, and every penny.

Skipped where the data is not there: it is not part of this repository.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from retail_assets.contracts import RAW_TRANSACTIONS
from retail_assets.lib import baskets, parsing
from retail_assets.lib.baskets._null_model import false_discovery_rates
from retail_assets.lib.cleaning import Cleaned, canonical_names, clean, product_names
from retail_assets.lib.returns import match_returns
from retail_assets.seeds import read_seed

pytestmark = [pytest.mark.real_data, pytest.mark.integration]


@pytest.fixture(scope="module")
def raw(real_data: Path) -> pl.DataFrame:
    # A name is as good an id for a content as its hash, as long as no two files are alike.
    texts = [
        part.lines.with_columns(file_id=pl.lit(path.name))
        for path in sorted(real_data.glob("*.csv"))
        for part in parsing.read_csv(path.read_bytes()).parts
    ]
    lines = parsing.parse_lines(pl.concat(texts)).lines
    return lines.with_columns(file_name="file_id").select(RAW_TRANSACTIONS.polars_schema.names())


@pytest.fixture(scope="module")
def names(raw: pl.DataFrame) -> pl.DataFrame:
    return product_names(raw)


def cleaned(raw: pl.DataFrame, names: pl.DataFrame) -> Cleaned:
    return clean(raw, names, read_seed("non_product_codes"), read_seed("country_names"))


@pytest.fixture(scope="module")
def result(raw: pl.DataFrame, names: pl.DataFrame) -> Cleaned:
    return cleaned(raw, names)


@pytest.fixture(scope="module")
def returns(result: Cleaned) -> pl.DataFrame:
    nothing = pl.DataFrame(schema={"sale_id": pl.String, "quantity": pl.Int32})
    return match_returns(result.transactions.filter("is_return"), result.transactions, nothing, data_start=date(2010, 12, 1))


def test_every_line_and_every_penny_has_its_place(raw: pl.DataFrame, result: Cleaned) -> None:
    assert raw.height == result.transactions.height + result.quarantine.height == 541_909
    amounts = pl.concat([result.transactions.get_column("amount"), result.quarantine.get_column("amount")])
    assert amounts.sum() == raw.get_column("amount").sum() == Decimal("9747747.934")


def test_lines_and_pounds_set_aside_by_reason(result: Cleaned) -> None:
    found = result.quarantine.group_by("reason").agg(pl.len(), pl.col("amount").sum()).sort("reason")
    assert found.rows() == [
        ("non_product", 3_049, Decimal("-43575.619")),
        ("stock_adjustment", 1_336, Decimal(0)),
        ("warehouse_note", 166, Decimal(0)),
        ("zero_price", 993, Decimal(0)),
    ]


def test_transactions_are_sales_and_returns(result: Cleaned) -> None:
    found = result.transactions.group_by("is_return").agg(pl.len(), pl.col("amount").sum(), pl.col("invoice_no").n_unique()).sort("is_return")
    assert found.rows() == [
        (False, 527_664, Decimal("10270017.733"), 19_770),
        (True, 8_701, Decimal("-478694.18"), 3_420),
    ]


def test_products_customers_and_countries(result: Cleaned, names: pl.DataFrame) -> None:
    transactions = result.transactions
    assert transactions.get_column("transaction_id").n_unique() == transactions.height
    assert [transactions.get_column(column).drop_nulls().n_unique() for column in ("stock_code", "customer_id", "country")] == [3_809, 4_362, 38]
    # Every code has one name, and upper case makes 3,958 codes of 4,070.
    assert canonical_names(names).height == 3_958


def test_no_invoice_number_stands_in_two_months(result: Cleaned) -> None:
    by_month = result.transactions.select("invoice_month", "invoice_no").unique()
    assert by_month.get_column("invoice_no").is_unique().all()
    assert by_month.height == 19_770 + 3_420


def test_invoices_that_batch_orders_of_the_web_shop(result: Cleaned) -> None:
    batches = result.transactions.filter("is_batch_order")
    # Of 693 anonymous invoices with a `DOT` line, two hold no product that was sold.
    assert (batches.get_column("invoice_no").n_unique(), batches.height) == (691, 119_375)


def test_returns_matched_to_sales(returns: pl.DataFrame) -> None:
    found = returns.group_by("match_status").agg(pl.col("return_id").n_unique(), pl.col("amount").sum()).sort("match_status")
    assert found.rows() == [
        ("full", 7_430, Decimal("449494.86")),
        ("orphan", 1_220, Decimal("27089.88")),
        ("partial", 51, Decimal("2109.44")),
    ]


def test_half_of_what_no_sale_explains_may_have_been_sold_before_the_data(returns: pl.DataFrame) -> None:
    found = returns.filter(pl.col("sale_id").is_null()).group_by("is_left_censored").agg(pl.len(), pl.col("amount").sum()).sort("is_left_censored")
    assert found.rows() == [
        (False, 614, Decimal("14532.03")),
        (True, 657, Decimal("13610.37")),
    ]


def test_a_fifth_of_the_pounds_returned_restates_an_earlier_month(returns: pl.DataFrame) -> None:
    earlier = returns.filter(pl.col("sale_month") < pl.col("invoice_month"))
    assert (earlier.height, earlier.get_column("amount").sum()) == (3_440, Decimal("80129.28"))


def test_customer_16446_is_worth_2_90(result: Cleaned, returns: pl.DataFrame) -> None:
    is_customer = pl.col("customer_id") == "16446"
    sold = result.transactions.filter(is_customer, ~pl.col("is_return")).get_column("amount").sum()
    returned = returns.filter(is_customer, pl.col("sale_id").is_not_null()).get_column("amount").sum()
    assert (sold, returned) == (Decimal("168472.50"), Decimal("168469.60"))


def test_the_first_nine_days_held_twice_by_one_file_count_once(raw: pl.DataFrame, names: pl.DataFrame) -> None:
    # As in Online Retail II, whose two sheets both hold them.
    days = raw.filter(pl.col("parsed_invoiced_at") < pl.datetime(2010, 12, 10)).with_columns(file_id=pl.lit("II"))
    twice = pl.concat([days, days]).with_columns(line_no=pl.int_range(2, pl.len() + 2, dtype=pl.Int32))
    repeated = cleaned(twice, names)
    assert repeated.transactions.equals(cleaned(days, names).transactions)
    assert (repeated.quarantine.get_column("reason") == "repeated_invoice").sum() == 22_523


def test_a_month_alone_is_cleaned_as_among_all(raw: pl.DataFrame, names: pl.DataFrame, result: Cleaned) -> None:
    is_november = pl.col("invoice_month") == pl.date(2011, 11, 1)
    november = cleaned(raw.filter(is_november), names.filter(pl.col("invoice_month") <= pl.date(2011, 11, 1)))
    assert november.transactions.equals(result.transactions.filter(is_november))
    assert november.quarantine.equals(result.quarantine.filter(is_november))


@pytest.fixture(scope="module")
def lines_of_a_year(result: Cleaned) -> pl.DataFrame:
    return baskets.baskets(result.transactions.filter(pl.col("invoice_month") <= pl.date(2011, 11, 1)))


def test_rules_of_a_year_that_pass_fisher_and_that_pass_the_null_of_basket_sizes(lines_of_a_year: pl.DataFrame) -> None:
    basket_count = lines_of_a_year["basket_id"].n_unique()
    itemsets = baskets.frequent_itemsets(lines_of_a_year, 0.01, max_length=4)
    rules = baskets.rule_measures(baskets.association_rules(itemsets, basket_count), ["fisher_p_value"])
    judged = baskets.expected_under_basket_sizes(rules, lines_of_a_year)
    by_fisher = false_discovery_rates(rules["fisher_p_value"].to_numpy()) < 0.05
    by_null = judged["q_value"] < 0.05
    assert (basket_count, itemsets.height, rules.height, int(by_fisher.sum()), int(by_null.sum())) == (16_838, 1_337, 2_220, 2_220, 2_189)


def test_baskets_of_a_year_shuffled_have_the_lift_that_the_formula_expects(lines_of_a_year: pl.DataFrame) -> None:
    basket_count = lines_of_a_year["basket_id"].n_unique()
    pairs = baskets.association_rules(baskets.frequent_itemsets(lines_of_a_year, 0.01, max_length=2), basket_count)
    expected = baskets.expected_under_basket_sizes(pairs, lines_of_a_year)["expected_lift"].to_numpy().mean()
    shuffled = baskets.rules_in_other_baskets(pairs, baskets.shuffled(lines_of_a_year, seed=1))["lift"].to_numpy().mean()
    assert pairs["lift"].to_numpy().mean() > 10
    assert shuffled == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("min_support", "itemset_count"), [(0.02, 395), (0.01, 2_026), (0.005, 17_498), (0.003, 181_735)])
def test_itemsets_of_all_invoices_batches_included(result: Cleaned, min_support: float, itemset_count: int) -> None:
    sales = result.transactions.filter(~pl.col("is_return")).select(basket_id="invoice_no", item="stock_code")
    assert baskets.frequent_itemsets(sales, min_support).height == itemset_count


def test_recommendations_hit_the_next_month_far_more_often_than_what_is_popular(result: Cleaned, lines_of_a_year: pl.DataFrame) -> None:
    until_october = result.transactions.filter(pl.col("invoice_month") <= pl.date(2011, 10, 1))
    november = result.transactions.filter(pl.col("invoice_month") == pl.date(2011, 11, 1))
    lines = baskets.baskets(until_october)
    popular = lines["item"].value_counts().sort("count", "item", descending=[True, False])["item"]
    quality = baskets.recommendation_quality(baskets.recommendations(lines), popular, baskets.baskets(november))
    assert quality.filter(pl.col("shown_count") == 5).select(pl.col("hit_rate", "popular_hit_rate").round(3)).row(0) == (0.648, 0.402)
