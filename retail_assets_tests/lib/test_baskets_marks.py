"""Marks for display: mirrored rules are told once, and the same goods in another colour are recognised."""

from __future__ import annotations

import polars as pl
import pytest

from retail_assets.lib.baskets import association_rules, mark_mirrors, mark_variants

RULES = pl.DataFrame(
    {
        "antecedent": [["A"], ["B"], ["C"], ["D"], ["E"], ["A", "B"]],
        "consequent": [["B"], ["A"], ["D"], ["C"], ["A"], ["C"]],
        "confidence": [0.5, 0.8, 0.4, 0.4, 0.9, 0.7],
    }
)
"""A => B is weaker than B => A; C and D are as sure of each other; E => A and AB => C have no mirror."""

NAMES = pl.DataFrame(
    [
        ("22697", "GREEN REGENCY TEACUP AND SAUCER"),
        ("22699", "ROSES REGENCY TEACUP AND SAUCER"),
        ("22423", "REGENCY CAKESTAND 3 TIER"),
        ("22556", "PLASTERS IN TIN SKULLS"),
        ("22554", "PLASTERS IN TIN WOODLAND ANIMALS"),
        ("20725", "LUNCH BAG RED RETROSPOT"),
        ("85099B", "JUMBO BAG RED RETROSPOT"),
        ("20726", "LUNCH BAG WOODLAND"),
        ("22720", "SET OF 3 CAKE TINS PANTRY DESIGN"),
        ("22722", "SET OF 6 SPICE TINS PANTRY DESIGN"),
        ("15056N", "EDWARDIAN PARASOL NATURAL"),
        ("15056BL", "PARASOL, EDWARDIAN STYLE, IN BLACK"),
        ("A1", "RED UMBRELLA"),
        ("A2", "Blue umbrella"),
        ("A3", "SET OF TEACUPS"),
        ("A4", "SET OF SCREWDRIVERS"),
        ("A5", "RED"),
        ("A6", "BLUE"),
    ],
    schema=["stock_code", "description"],
    orient="row",
)


def are_variants(one: str, other: str) -> bool:
    rules = pl.DataFrame({"antecedent": [[one]], "consequent": [[other]]})
    return bool(mark_variants(rules, NAMES)["has_variants"].item())


def test_of_two_mirrored_rules_the_weaker_is_marked_and_of_equals_the_later() -> None:
    marked = mark_mirrors(RULES)
    assert marked["is_mirror"].to_list() == [True, False, False, True, False, False]
    assert marked.drop("is_mirror").equals(RULES)


def test_leaving_mirrors_out_tells_every_pair_of_sides_once() -> None:
    itemsets = pl.DataFrame({"itemset": [["A"], ["B"], ["C"], ["A", "B"], ["A", "C"], ["B", "C"], ["A", "B", "C"]], "count": [5, 6, 5, 4, 3, 3, 2]})
    rules = mark_mirrors(association_rules(itemsets, 10))
    kept = [frozenset([frozenset(a), frozenset(c)]) for a, c in rules.filter(~pl.col("is_mirror")).select("antecedent", "consequent").iter_rows()]
    assert len(kept) == len(set(kept)) == rules.height / 2


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("22697", "22699", True),  # one word differs
        ("22697", "22423", False),  # only the series is the same
        ("22556", "22554", True),  # a motif of one word and one of two
        ("20725", "20726", True),  # lunch bags
        ("20725", "85099B", True),  # bags in the same pattern, of another size
        ("22720", "22722", False),  # two words of each differ
        ("15056N", "15056BL", True),  # one code, whatever the names
        ("A1", "A2", True),  # the same but for the colour, whatever the case
        ("A3", "A4", False),  # `SET OF` names no goods
        ("A5", "A6", False),  # nothing but a colour
        ("A1", "unknown", False),
    ],
)
def test_variants_are_recognised_by_code_and_name(one: str, other: str, *, expected: bool) -> None:
    assert are_variants(one, other) is expected
    assert are_variants(other, one) is expected


def test_a_rule_has_variants_when_any_two_products_of_its_sides_are() -> None:
    rules = pl.DataFrame(
        {"antecedent": [["22423", "22697"], ["22423", "22556"], ["22697", "22699"]], "consequent": [["22699"], ["22699"], ["22423"]]}
    )
    assert mark_variants(rules, NAMES)["has_variants"].to_list() == [True, False, False]


def test_no_rules_get_the_columns_all_the_same() -> None:
    assert mark_mirrors(RULES.clear()).schema == mark_mirrors(RULES).schema
    assert mark_variants(RULES.clear(), NAMES).schema == mark_variants(RULES, NAMES).schema
