"""Which lines count, why the others do not, and what does not depend on how the lines arrived."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts import PRODUCT_NAMES, QUARANTINE, RAW_TRANSACTIONS, TRANSACTIONS
from retail_assets.lib.cleaning import RULES, Cleaned, Duplicates, added_up, canonical_names, clean, product_names, rule_table

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS = Path(__file__).parents[2] / "dbt_sql" / "seeds"
NON_PRODUCT_CODES = pl.read_csv(SEEDS / "non_product_codes.csv", schema_overrides={"code": pl.String})
COUNTRY_NAMES = pl.read_csv(SEEDS / "country_names.csv")

Line = tuple[str | None, str | None, str | None, str, str, str, str | None, str | None]
"""Invoice, product, text, quantity, date, price, customer, country: as a file has them."""

DEC = "2010-12-01 08:26:00"
JAN = "2011-01-05 10:00:00"
UK = "United Kingdom"

SALE: Line = ("536365", "85123A", "HANGING HEART", "6", DEC, "2.55", "17850", UK)
LANTERN: Line = ("536365", "71053", "WHITE METAL LANTERN", "6", DEC, "3.39", "17850", UK)
OTHER_SALE: Line = ("536370", "71053", "WHITE METAL LANTERN", "1", DEC, "3.39", "12583", "France")

SET_ASIDE: dict[str, tuple[Line, str]] = {
    "a quantity in words": (("536365", "85123A", "HANGING HEART", "six", DEC, "2.55", "17850", UK), "unparseable"),
    "a price in words": (("536365", "85123A", "HANGING HEART", "6", DEC, "free", "17850", UK), "unparseable"),
    "a date that is none": (("536365", "85123A", "HANGING HEART", "6", "yesterday", "2.55", "17850", UK), "unparseable"),
    "blanks for an invoice number": (("  ", "85123A", "HANGING HEART", "6", DEC, "2.55", "17850", UK), "unparseable"),
    "no product code": (("536365", None, "HANGING HEART", "6", DEC, "2.55", "17850", UK), "unparseable"),
    "postage": (("536365", "POST", "POSTAGE", "1", DEC, "18.00", "17850", UK), "non_product"),
    "a manual entry in lower case, blank at the edge": (("536365", " m ", "Manual", "1", DEC, "18.00", "17850", UK), "non_product"),
    "a voucher, known by the beginning of its code": (("536365", "gift_0001_20", "VOUCHER", "1", DEC, "17", None, UK), "non_product"),
    "a fee under a number like those of products": (("536365", "23444", "Next Day Carriage", "1", DEC, "15", "17850", UK), "non_product"),
    "any line of a bad-debt invoice": (("A563186", "85123A", "Adjust bad debt", "1", DEC, "-11062.06", None, UK), "non_product"),
    "postage at price 0: what it is goes before what it costs": (("536365", "POST", None, "1", DEC, "0", None, UK), "non_product"),
    "a discount on a credit note": (("C536379", "D", "Discount", "-1", DEC, "27.50", "14527", UK), "non_product"),
    "a write-off": (("536589", "85123A", "wet", "-10", DEC, "0", None, UK), "stock_adjustment"),
    "a write-off at a price": (("536589", "85123A", "HANGING HEART", "-10", DEC, "1", None, UK), "stock_adjustment"),
    "a note where the name should be": (("536400", "85123A", "check", "3", DEC, "0", None, UK), "warehouse_note"),
    "the name of another product is a note here": (("536400", "85123A", "WHITE METAL LANTERN", "3", DEC, "0", None, UK), "warehouse_note"),
    "given away under its name": (("536400", "85123A", " HANGING  HEART ", "3", DEC, "0", None, UK), "zero_price"),
    "without price and text there is no note": (("536400", "85123A", None, "3", DEC, "0", None, UK), "zero_price"),
    "a note to a known customer is no note of the warehouse": (("536400", "85123A", "check", "3", DEC, "0", "17850", UK), "zero_price"),
    "a price below zero": (("536400", "85123A", "HANGING HEART", "1", DEC, "-0.01", "17850", UK), "negative_price"),
    "nothing sold": (("536400", "85123A", "HANGING HEART", "0", DEC, "2.55", "17850", UK), "zero_quantity"),
    "a credit note that gives": (("C536379", "85123A", "HANGING HEART", "1", DEC, "2.55", "17850", UK), "unclear_credit"),
}

COUNTS: dict[str, Line] = {
    "a sale": SALE,
    "a return": ("C536379", "85123A", "HANGING HEART", "-1", DEC, "2.55", "17850", UK),
    "a return, the mark in lower case": (" c536379", "85123A", "HANGING HEART", "-1", DEC, "2.55", "17850", UK),
    "a sale to nobody known": ("536400", "85123A", "HANGING HEART", "1", DEC, "5.06", "", UK),
    "a code of letters that is a product": ("536400", "DCGSSGIRL", "GIRLS PARTY BAG", "1", DEC, "3.36", None, UK),
    "pads, at a tenth of a penny": ("536400", "PADS", "PADS TO MATCH ALL CUSHIONS", "1", DEC, "0.001", "17850", UK),
    "a code that begins like a voucher without being one": ("536400", "GIFTBAG", "GIFT BAG", "1", DEC, "0.65", "17850", UK),
    "a text in lower case": ("536400", "23437", "bag 125g swirly marbles", "1", DEC, "0.42", "17850", UK),
}


def raw_lines(lines: Sequence[Line], file_id: str = "a", first_line_no: int = 2) -> pl.DataFrame:
    """Lines as in RAW_TRANSACTIONS; lines without a readable date fall in December."""
    names = ["invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price", "customer_id", "country"]
    quantity, price = pl.col("quantity").cast(pl.Int32, strict=False), pl.col("unit_price").cast(pl.Decimal(18, 4), strict=False)
    invoiced_at = pl.col("invoice_date").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    return (
        pl.DataFrame(lines, dict.fromkeys(names, pl.String), orient="row")
        .with_columns(
            file_id=pl.lit(file_id),
            file_name=pl.lit(f"{file_id}.csv"),
            line_no=pl.int_range(first_line_no, first_line_no + pl.len()),
            parsed_quantity=quantity,
            parsed_unit_price=price,
            parsed_invoiced_at=invoiced_at,
            amount=quantity * price,
            invoice_month=invoiced_at.dt.date().dt.month_start().fill_null(date(2010, 12, 1)),
        )
        .select(RAW_TRANSACTIONS.polars_schema.names())
        .cast(RAW_TRANSACTIONS.polars_schema)
    )


def cleaned(raw: pl.DataFrame, names: pl.DataFrame | None = None, duplicates: Duplicates = "keep") -> Cleaned:
    return clean(raw, product_names(raw) if names is None else names, NON_PRODUCT_CODES, COUNTRY_NAMES, duplicates=duplicates)


def reasons(result: Cleaned) -> list[str]:
    return result.quarantine.get_column("reason").to_list()


def values(result: Cleaned, column: str) -> list[object]:
    return result.transactions.get_column(column).to_list()


class TestRules:
    @pytest.mark.parametrize(("line", "reason"), SET_ASIDE.values(), ids=SET_ASIDE.keys())
    def test_a_line_is_set_aside_for_the_first_rule_that_applies(self, line: Line, reason: str) -> None:
        names = product_names(raw_lines([SALE, LANTERN]))
        result = cleaned(raw_lines([line]), names)
        assert (reasons(result), result.transactions.height) == ([reason], 0)

    @pytest.mark.parametrize("line", COUNTS.values(), ids=COUNTS.keys())
    def test_sales_and_returns_of_products_count(self, line: Line) -> None:
        result = cleaned(raw_lines([line]))
        assert (reasons(result), result.transactions.height) == ([], 1)

    def test_every_reason_is_explained_once(self) -> None:
        table = rule_table()
        assert [row[0] for row in table] == [rule.reason for rule in RULES]
        assert len({row[0] for row in table}) == len(table)
        assert all(all(row) for row in table)

    def test_quarantine_keeps_the_text_as_it_came(self) -> None:
        line: Line = (" 536365 ", " post", "  POSTAGE ", "1", DEC, "18.00", "17850.0", " EIRE ")
        kept = cleaned(raw_lines([line])).quarantine.row(0, named=True)
        assert (kept["invoice_no"], kept["stock_code"], kept["description"], kept["customer_id"], kept["country"]) == (
            *line[:3],
            *line[6:],
        )

    def test_frames_have_the_schemas_of_the_contracts_even_when_empty(self) -> None:
        for lines in ([], [SALE, SET_ASIDE["postage"][0]]):
            result = cleaned(raw_lines(lines))
            assert result.transactions.schema == TRANSACTIONS.polars_schema
            assert result.quarantine.schema == QUARANTINE.polars_schema


class TestValues:
    def test_a_line_gets_the_values_of_the_contract(self) -> None:
        raw = raw_lines([(" 536365", " 85123a ", " HANGING  HEART ", "6", DEC, "2.5500", "17850.0", " EIRE")])
        assert cleaned(raw).transactions.row(0, named=True) == {
            "transaction_id": "2010-12-01/536365/85123A/6/2.55/1",
            "invoice_month": date(2010, 12, 1),
            "invoice_no": "536365",
            "line_no": 1,
            "stock_code": "85123A",
            "description": "HANGING HEART",
            "quantity": 6,
            "unit_price": Decimal("2.5500"),
            "amount": Decimal("15.3000"),
            "invoiced_at": datetime(2010, 12, 1, 8, 26),
            "customer_id": "17850",
            "country": "Ireland",
            "is_return": False,
            "is_batch_order": False,
        }

    @pytest.mark.parametrize(
        ("text", "customer"),
        [("17850.0", "17850"), ("17850", "17850"), ("17850 ", "17850"), (" ", None), (None, None), ("nan", None), (" NaN", None), (" ab7 ", "AB7")],
    )
    def test_spellings_of_a_customer_are_one_customer(self, text: str | None, customer: str | None) -> None:
        assert values(cleaned(raw_lines([(*SALE[:6], text, UK)])), "customer_id") == [customer]

    @pytest.mark.parametrize(
        ("text", "country"),
        [
            ("EIRE", "Ireland"),
            ("rsa ", "South Africa"),
            ("Unspecified", "Unspecified"),
            (None, "Unspecified"),
            (" ", "Unspecified"),
            ("Narnia", "Narnia"),
        ],
    )
    def test_countries_go_by_their_usual_names(self, text: str | None, country: str) -> None:
        assert values(cleaned(raw_lines([(*SALE[:7], text)])), "country") == [country]

    @pytest.mark.parametrize(("price", "text"), [("2.55", "2.55"), ("100", "100"), ("10.5000", "10.5"), ("0.001", "0.001")])
    def test_the_price_in_the_id_has_no_zeros_at_its_end(self, price: str, text: str) -> None:
        assert values(cleaned(raw_lines([(*SALE[:5], price, *SALE[6:])])), "transaction_id") == [f"2010-12-01/536365/85123A/6/{text}/1"]

    def test_equal_lines_are_numbered_by_time_customer_and_country(self) -> None:
        late = (*SALE[:4], "2010-12-01 08:27:00", *SALE[5:])
        result = cleaned(raw_lines([late, SALE, LANTERN]))
        assert result.transactions.select("transaction_id", "line_no", pl.col("invoiced_at").dt.minute()).rows() == [
            ("2010-12-01/536365/71053/6/3.39/1", 1, 26),
            ("2010-12-01/536365/85123A/6/2.55/1", 2, 26),
            ("2010-12-01/536365/85123A/6/2.55/2", 3, 27),
        ]


class TestBatchOrders:
    DOT: Line = ("536400", "DOT", "DOTCOM POSTAGE", "1", DEC, "569.77", None, UK)
    HEART: Line = ("536400", "85123A", "HANGING HEART", "1", DEC, "5.06", None, UK)

    def test_an_anonymous_invoice_with_postage_of_the_web_shop_batches_its_orders(self) -> None:
        result = cleaned(raw_lines([self.DOT, self.HEART, SALE]))
        assert dict(result.transactions.select("invoice_no", "is_batch_order").iter_rows()) == {"536400": True, "536365": False}

    @pytest.mark.parametrize(
        "lines",
        [
            pytest.param([HEART], id="an anonymous sale over the counter has no such postage"),
            pytest.param([HEART, ("536400", "POST", "POSTAGE", "1", DEC, "18", None, UK)], id="other postage marks nothing"),
            pytest.param([HEART, (*DOT[:6], "17850", UK)], id="a customer stands on a line, although that line is set aside"),
        ],
    )
    def test_other_invoices_do_not(self, lines: list[Line]) -> None:
        assert values(cleaned(raw_lines(lines)), "is_batch_order") == [False]

    def test_a_credit_note_batches_nothing(self) -> None:
        lines: list[Line] = [
            ("C1", "DOT", "DOTCOM POSTAGE", "-1", DEC, "8.29", None, UK),
            ("C1", "85123A", "HANGING HEART", "-1", DEC, "5.06", None, UK),
        ]
        assert values(cleaned(raw_lines(lines)), "is_batch_order") == [False]


class TestCopies:
    def test_equal_lines_of_one_file_are_separate_sales(self) -> None:
        result = cleaned(raw_lines([SALE, SALE, LANTERN]))
        assert (result.transactions.height, reasons(result)) == (3, [])

    def test_equal_lines_are_set_aside_where_the_setting_says_so(self) -> None:
        result = cleaned(raw_lines([SALE, LANTERN, SALE]), duplicates="quarantine")
        assert result.quarantine.select("line_no", "reason").rows() == [(4, "exact_duplicate")]

    def test_lines_of_overlapping_files_count_as_often_as_in_the_fullest_file(self) -> None:
        raw = pl.concat([raw_lines([SALE, LANTERN], "a"), raw_lines([SALE, SALE, OTHER_SALE], "b")])
        result = cleaned(raw)
        assert result.quarantine.select("file_id", "line_no", "reason").rows() == [("a", 2, "overlapping_file")]
        assert values(result, "transaction_id") == [
            "2010-12-01/536365/71053/6/3.39/1",
            "2010-12-01/536365/85123A/6/2.55/1",
            "2010-12-01/536365/85123A/6/2.55/2",
            "2010-12-01/536370/71053/1/3.39/1",
        ]

    def test_files_overlap_although_they_spell_their_lines_differently(self) -> None:
        other: Line = ("536365 ", "85123a", " HANGING  HEART", "6", DEC, "2.5500", "17850.0", UK)
        result = cleaned(pl.concat([raw_lines([SALE], "a"), raw_lines([other], "b")]))
        assert result.quarantine.select("file_id", "reason").rows() == [("b", "overlapping_file")]

    def test_files_overlap_although_one_calls_the_country_by_another_name(self) -> None:
        eire, ireland = (raw_lines([(*SALE[:7], country)], file_id) for file_id, country in (("a", "EIRE"), ("b", " Ireland")))
        both = pl.concat([eire, ireland])
        assert reasons(cleaned(both)) == ["overlapping_file"]
        assert_frame_equal(cleaned(both).transactions, cleaned(eire).transactions)
        assert_frame_equal(product_names(both), product_names(eire))

    def test_a_line_with_another_text_or_of_another_country_is_another_line(self) -> None:
        others: list[Line] = [(*SALE[:2], "HANGING HEARTS", *SALE[3:]), (*SALE[:7], "France")]
        assert reasons(cleaned(pl.concat([raw_lines([SALE], "a"), raw_lines(others, "b")]))) == []

    def test_anonymous_lines_overlap_too(self) -> None:
        line = (*SALE[:6], None, UK)
        assert reasons(cleaned(pl.concat([raw_lines([line], "a"), raw_lines([line], "b")]))) == ["overlapping_file"]

    def test_an_invoice_held_twice_by_one_file_counts_once(self) -> None:
        once, twice = cleaned(raw_lines([SALE, LANTERN, OTHER_SALE])), cleaned(raw_lines([SALE, LANTERN, SALE, LANTERN, OTHER_SALE]))
        assert_frame_equal(once.transactions, twice.transactions)
        assert reasons(twice) == ["repeated_invoice"] * 2

    def test_equal_lines_within_an_invoice_held_twice_stay(self) -> None:
        lines = [SALE, SALE, LANTERN]
        assert_frame_equal(cleaned(raw_lines(lines)).transactions, cleaned(raw_lines(lines * 2)).transactions)

    def test_an_invoice_of_one_line_counts_once_where_its_whole_day_is_held_twice(self) -> None:
        lines = [SALE, LANTERN, OTHER_SALE]
        assert_frame_equal(cleaned(raw_lines(lines)).transactions, cleaned(raw_lines(lines * 2)).transactions)

    def test_invoices_of_one_line_prove_nothing_by_themselves(self) -> None:
        result = cleaned(raw_lines([SALE, SALE, OTHER_SALE, OTHER_SALE]))
        assert (result.transactions.height, reasons(result)) == (4, [])


HEART_NAMES = pl.DataFrame(
    [
        # Unpriced texts name no product that has a price, however early and common they are.
        ("85123A", date(2010, 12, 1), "check", 0, 9),
        # The first month with a price; two texts as common as each other, so the alphabet decides.
        ("85123A", date(2011, 1, 1), "HANGING HEART", 2, 0),
        ("85123A", date(2011, 1, 1), "HANGING HART", 2, 0),
        # Later months do not count, however common their texts are.
        ("85123A", date(2011, 2, 1), "CREAM HEART", 50, 0),
        # Lines without a text are commoner, but name nothing.
        ("71053", date(2011, 1, 1), None, 5, 0),
        ("71053", date(2011, 1, 1), "LANTERN", 1, 0),
        # Never priced: the commonest text of the first month.
        ("21777", date(2010, 12, 1), "damages", 0, 1),
        ("21777", date(2010, 12, 1), "RECIPE BOX", 0, 2),
        ("21777", date(2011, 1, 1), "found", 0, 7),
        # Never named.
        ("35610A", date(2010, 12, 1), None, 0, 1),
    ],
    PRODUCT_NAMES.polars_schema,
    orient="row",
)


class TestNames:
    def test_a_product_is_called_as_on_most_priced_lines_of_its_first_month(self) -> None:
        assert dict(canonical_names(HEART_NAMES).iter_rows()) == {
            "21777": "RECIPE BOX",
            "35610A": "35610A",
            "71053": "LANTERN",
            "85123A": "HANGING HART",
        }

    def test_roll_ups_of_months_add_up(self) -> None:
        part = pl.DataFrame([("85123A", date(2011, 1, 1), "HANGING HEART", 1, 0)], PRODUCT_NAMES.polars_schema, orient="row")
        assert dict(canonical_names(pl.concat([HEART_NAMES, part])).iter_rows())["85123A"] == "HANGING HEART"

    def test_spellings_of_code_and_text_are_counted_together(self) -> None:
        sale, spelled, free = SALE, ("1", " 85123a", " HANGING  HEART ", *SALE[3:]), (*SALE[:5], "0", *SALE[6:])
        assert product_names(raw_lines([sale, spelled, free])).rows() == [("85123A", date(2010, 12, 1), "HANGING HEART", 2, 1)]

    def test_lines_in_overlapping_files_name_a_product_once(self) -> None:
        raw = raw_lines([SALE])
        assert_frame_equal(product_names(pl.concat([raw, raw_lines([SALE], "b")])), product_names(raw))

    def test_a_product_known_from_a_credit_note_alone_is_named_by_it(self) -> None:
        raw = raw_lines([("1", "85123A", "check", "1", DEC, "0", None, UK), COUNTS["a return"]])
        assert values(cleaned(raw), "description") == ["HANGING HEART"]

    def test_names_that_lack_a_product_are_refused(self) -> None:
        with pytest.raises(ValueError, match="lacks the products of 1 lines"):
            cleaned(raw_lines([SALE, LANTERN]), product_names(raw_lines([SALE])))


# An invoice has one day, as in the real data; everything else about a line is free.
INVOICES = [("536365", "2010-12-01"), (" 536365 ", "2010-12-01"), ("536366", "2010-12-01"), ("536370", "2010-12-02")]
INVOICES += [("C536379", "2010-12-02"), ("c536379", "2010-12-02"), ("A563185", "2011-01-05"), ("540000", "2011-01-05"), ("", "2011-01-05")]
dirty_lines = st.builds(
    lambda invoice, product, text, quantity, clock, price, customer, country: (
        invoice[0],
        product,
        text,
        quantity,
        f"{invoice[1]} {clock}",
        price,
        customer,
        country,
    ),
    st.sampled_from(INVOICES),
    st.sampled_from(["85123A", " 85123a", "71053", "DOT", "gift_0001_20", "POST", "", None]),
    st.sampled_from(["HANGING HEART", " HANGING  HEART", "LANTERN", "check", "", None]),
    st.sampled_from(["1", "2", "-1", "0", "six"]),
    st.sampled_from(["08:26:00", "08:27:00", "at noon"]),
    st.sampled_from(["2.55", "2.5500", "0.001", "0", "-1.5", "free"]),
    st.sampled_from(["17850.0", "17850", "", None]),
    st.sampled_from([UK, "EIRE", None]),
)
# Few distinct lines drawn often, so that equal lines, repeated invoices and repeated days all occur.
many_lines = st.lists(dirty_lines, min_size=1, max_size=8).flatmap(lambda pool: st.lists(st.sampled_from(pool), max_size=24))
quick = settings(max_examples=20, deadline=None)


class TestProperties:
    @quick
    @given(many_lines, st.sampled_from(["keep", "quarantine"]))
    def test_nothing_is_lost_nothing_doubled_and_every_penny_kept(self, lines: list[Line], duplicates: Duplicates) -> None:
        raw = raw_lines(lines)
        result = cleaned(raw, duplicates=duplicates)
        assert result.transactions.height + result.quarantine.height == raw.height
        assert result.quarantine.join(raw, on=["file_id", "line_no"], how="semi").height == result.quarantine.height
        assert result.quarantine.select(QUARANTINE.key).is_unique().all()
        assert result.transactions.get_column("transaction_id").is_unique().all()
        amounts = pl.concat([result.transactions.get_column("amount"), result.quarantine.get_column("amount")])
        assert amounts.sum() == raw.get_column("amount").sum()

    @quick
    @given(many_lines.flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))))
    def test_the_order_of_lines_does_not_matter(self, orders: tuple[list[Line], list[Line]]) -> None:
        one, other = (cleaned(raw_lines(lines)) for lines in orders)
        assert_frame_equal(one.transactions, other.transactions)
        assert sorted(reasons(one)) == sorted(reasons(other))

    @quick
    @given(many_lines)
    def test_a_file_a_day_gives_the_same_as_one_file(self, lines: list[Line]) -> None:
        one = raw_lines(lines)
        by_day = one.with_columns(file_id=pl.col("invoice_date").str.head(10))
        assert_frame_equal(cleaned(one).transactions, cleaned(by_day).transactions)

    @quick
    @given(many_lines, st.sets(st.sampled_from(["2010-12-01", "2010-12-02", "2011-01-05"])))
    def test_days_that_land_again_in_another_file_change_nothing(self, lines: list[Line], days: set[str]) -> None:
        raw = raw_lines(lines)
        again = raw_lines([line for line in reversed(lines) if line[4][:10] in days], "0")
        both = pl.concat([raw, again])
        assert_frame_equal(product_names(raw), product_names(both))
        assert_frame_equal(cleaned(raw).transactions, cleaned(both).transactions)

    @quick
    @given(many_lines, st.sampled_from(["keep", "quarantine"]))
    def test_months_cleaned_one_by_one_give_what_cleaning_them_at_once_does(self, lines: list[Line], duplicates: Duplicates) -> None:
        # Invoices of January have the numbers of December again.
        again = [(*line[:4], line[4].replace("2010-12-0", "2011-01-1"), *line[5:]) for line in lines]
        raw = raw_lines([*lines, *again])
        months = [raw.filter(pl.col("invoice_month") == month) for month in (date(2010, 12, 1), date(2011, 1, 1))]
        names = product_names(raw)
        assert_frame_equal(added_up(map(product_names, months)), names)
        one_by_one, at_once = [cleaned(month, names, duplicates) for month in months], cleaned(raw, names, duplicates)
        assert_frame_equal(pl.concat(month.transactions for month in one_by_one), at_once.transactions)
        assert_frame_equal(pl.concat(month.quarantine for month in one_by_one).sort(QUARANTINE.key), at_once.quarantine)

    @quick
    @given(many_lines)
    def test_later_months_change_nothing(self, lines: list[Line]) -> None:
        raw = raw_lines(lines)
        december = raw.filter(pl.col("invoice_month") == date(2010, 12, 1))
        early, late = cleaned(december), cleaned(december, product_names(raw))
        assert_frame_equal(early.transactions, late.transactions)
        assert_frame_equal(early.quarantine, late.quarantine)
