"""Marks that thin out a list of rules for a reader: mirrored rules, and sides that are the same goods in another colour.

Redundancy is decided where rules are made (`_rules`), because it needs those below the thresholds.
"""

from __future__ import annotations

import re

import polars as pl

from retail_assets.lib.baskets._lines import check_columns

COLOURS = frozenset(
    """
    AMBER AMETHYST ANTIQUE AQUA BEIGE BLACK BLUE BRONZE BROWN CHARCOAL CHOCOLATE CLEAR COFFEE COPPER CREAM CRIMSON CRYSTAL DARK DIAMANTE
    EMERALD FUSCHIA FUSCIA GOLD GOLDEN GREEN GREY IVORY JADE LAVENDER LIGHT LILAC MAGENTA MINT MONTANA MULTI MULTICOLOUR MULTICOLOURED
    NATURAL NAVY OLIVE ORANGE PALE PASTEL PEACH PINK PURPLE RED ROSE RUBY SILVER TOPAZ TURQ TURQUOISE VIOLET WHITE YELLOW
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
"""Words that name a colour or finish of the same goods."""
FILLERS = frozenset("A AND DESIGN FOR IN OF ON PACK S SET THE TO WITH".split())  # noqa: SIM905
"""Words that name no goods."""
COMMON_WORDS, OTHER_WORDS = 2, (1, 2)
"""Fewest words that two names share, and most that the one and the other have beside them."""
_WORD = re.compile(r"[A-Z0-9']+")
_VARIANT_CODE = re.compile(r"([0-9]+)[A-Z]+")


def mark_mirrors(rules: pl.DataFrame) -> pl.DataFrame:
    """Mark one rule of every pair A => C and C => A, so that a display that leaves the marked ones out tells everything once.

    Args:
        rules: `antecedent`, `consequent` and `confidence`, as `association_rules` returns them.

    Returns:
        `rules`, rows in the same order, with `is_mirror` (Boolean): the mirrored rule is among the rules too and has the higher confidence, or the
        same and comes first by antecedent.

    Raises:
        ValueError: A column is missing or holds nulls.
    """
    check_columns(rules, ("antecedent", "consequent", "confidence"), frame="rules")
    mirrored = rules.select(antecedent="consequent", consequent="antecedent", mirrored_confidence="confidence")
    both = rules.select("antecedent", "consequent", "confidence").join(
        mirrored, on=["antecedent", "consequent"], how="left", maintain_order="left", validate="1:1"
    )
    comes_later = pl.col("antecedent").list.join("\n") > pl.col("consequent").list.join("\n")
    is_weaker = (pl.col("mirrored_confidence") > pl.col("confidence")) | ((pl.col("mirrored_confidence") == pl.col("confidence")) & comes_later)
    return rules.with_columns(both.select(is_mirror=is_weaker.fill_null(value=False)))


def mark_variants(rules: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Mark the rules that say of goods that they are bought with the same goods in another colour, pattern or size.

    Two products are variants of each other when their codes are one number with different letters (`15056BL`, `15056N`), when their names are the
    same but for colours, or when these share two words and differ in one word of the one and at most two of the other (`PLASTERS IN TIN SKULLS`,
    `PLASTERS IN TIN WOODLAND ANIMALS`). Names are a convention of the shop: some variants are not recognised, and a word may be all the difference
    between goods.

    Args:
        rules: `antecedent` and `consequent`, lists of product codes.
        names: `stock_code`, unique, and `description`; products without a row are judged by their code alone.

    Returns:
        `rules`, rows in the same order, with `has_variants` (Boolean): a product of the antecedent and one of the consequent are variants.

    Raises:
        ValueError: A column is missing or holds nulls.
    """
    check_columns(rules, ("antecedent", "consequent"), frame="rules")
    check_columns(names, ("stock_code", "description"), frame="names")
    words = {code: _goods(text) for code, text in names.select("stock_code", "description").iter_rows()}
    sides = rules.select("antecedent", "consequent").with_row_index("rule")
    pairs = sides.explode("antecedent").explode("consequent")
    distinct = pairs.select("antecedent", "consequent").unique(maintain_order=True)
    is_variant = [_are_variants(one, other, words) for one, other in distinct.iter_rows()]
    found = pairs.join(distinct.filter(pl.Series(is_variant, dtype=pl.Boolean)), on=["antecedent", "consequent"], how="semi")
    return rules.with_columns(sides.select(has_variants=pl.col("rule").is_in(found["rule"].unique().implode())))


def _goods(name: str) -> frozenset[str]:
    """The words of a name that say which goods they are."""
    return frozenset(_WORD.findall(name.upper())) - COLOURS - FILLERS


def _are_variants(one: str, other: str, words: dict[str, frozenset[str]]) -> bool:
    numbers = [match[1] if (match := _VARIANT_CODE.fullmatch(code)) else code for code in (one, other)]
    if numbers[0] == numbers[1]:
        return True
    goods, others = words.get(one, frozenset()), words.get(other, frozenset())
    fewer, more = sorted((len(goods - others), len(others - goods)))
    is_close = len(goods & others) >= COMMON_WORDS and fewer <= OTHER_WORDS[0] and more <= OTHER_WORDS[1]
    return is_close or (bool(goods) and goods == others)
