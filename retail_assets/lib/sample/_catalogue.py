"""What the shop sells: invented products in families, and the special codes of the real data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import polars as pl

from retail_assets.lib.sample._facts import FAMILY_SIZE, NOTES, TEXTS_PER_ITEM, Ints
from retail_assets.lib.sample._random import draw_weighted

_LINES_PER_FAMILY = 250
_FEWEST_FAMILIES = 50
_MOST_FAMILIES = 500

_STYLES = (
    "ALPINE", "AMBER", "BRAMBLE", "CHALK", "COASTAL", "COTTAGE", "DAMSON", "DAPPLED", "FADED", "FROSTY", "GINGHAM", "HARVEST", "INDIGO",
    "LINEN", "MARBLED", "MEADOW", "MIDNIGHT", "MISTY", "MOSSY", "PATCHWORK", "PEBBLE", "QUILTED", "RUSTIC", "SUNLIT", "WINTER",
)  # fmt: skip
_MOTIFS = (
    "ACORN", "BADGER", "BLUEBELL", "CURLEW", "DAISY", "FERN", "FINCH", "FOXGLOVE", "HARE", "HEDGEHOG", "HERON", "LAPWING", "MOTH",
    "OTTER", "PLUM", "PUFFIN", "ROWAN", "SNAIL", "SPARROW", "THISTLE",
)  # fmt: skip
_ARTICLES = (
    ("TEAPOT", "TEACUP AND SAUCER", "MILK JUG", "CAKE FORKS, BOX OF 6", "SUGAR BOWL", "CAKE STAND"),
    ("COOK'S APRON", "OVEN GLOVE", "TEA TOWEL", "EGG CUP", "SPICE JAR", "BREAD BIN"),
    ("WATERING CAN", "GARDENER'S KNEELER", "SEED TIN", "PLANT LABELS, WOOD", "BIRD FEEDER", "WIND CHIME"),
    ("NOTEBOOK", 'PHOTO FRAME 6"', "PENCIL CASE", "MONEY BOX FOR £2 COINS", "GIFT WRAP", "GREETING CARD"),
    ("LANTERN", "T-LIGHT GLASS", "SOAP 125g", "STRING LIGHTS", "LAMP SHADE", "CANDLE PLATE"),
    ("SHOPPER BAG", "LUNCH BAG", "WASH BAG", "PURSE", "KEY RING", "TRAVEL TIN"),
)
_COLOURS = (("BLUE", "B"), ("GREEN", "G"), ("IVORY", "C"), ("PINK", "P"), ("RED", "R"), ("YELLOW", "Y"))

_PRICES = (390, 420, 550, 650, 850, 1_250, 1_450, 1_650, 2_100, 2_550, 2_950, 3_750, 4_250, 4_950, 7_950, 9_950, 12_750, 18_000)
_PRICE_WEIGHTS = (4, 6, 5, 6, 10, 14, 8, 12, 9, 6, 7, 4, 4, 6, 3, 2, 1, 1)


class Special(NamedTuple):
    """A code outside the catalogue: how often it stands on sales and on credit notes of the real data, and its price range in 1/1000 pound."""

    code: str
    description: str
    price_range: tuple[int, int]
    sale_count: int
    credit_count: int
    has_customer: bool
    is_product: bool = False


SPECIALS = (
    Special("POST", "POSTAGE", (15_000, 40_000), 1_130, 126, has_customer=True),
    Special("C2", "CARRIAGE", (25_000, 50_000), 142, 2, has_customer=True),
    Special("M", "Manual", (420, 295_000), 327, 244, has_customer=True),
    Special("m", "Manual", (2_550, 2_550), 1, 0, has_customer=False),
    Special("D", "Discount", (1_200, 98_000), 0, 77, has_customer=True),
    Special("S", "SAMPLES", (2_900, 95_000), 0, 63, has_customer=False),
    Special("CRUK", "CRUK Commission", (14_880, 880_000), 0, 16, has_customer=True),
    Special("BANK CHARGES", "Bank Charges", (15_000, 120_000), 12, 25, has_customer=True),
    Special("AMAZONFEE", "AMAZON FEE", (1_200_000, 7_900_000), 0, 34, has_customer=False),
    Special("23444", "Next Day Carriage", (15_000, 15_000), 80, 1, has_customer=True),
    Special("23574", "PACKING CHARGE", (7_500, 7_500), 15, 2, has_customer=True),
    Special("23702", "HIGH RESOLUTION IMAGE", (2_250, 2_250), 4, 0, has_customer=True),
    Special("22016", "Dotcomgiftshop Gift Voucher £100.00", (83_330, 83_330), 1, 0, has_customer=False),
    Special("gift_0001_10", "Dotcomgiftshop Gift Voucher £10.00", (8_330, 8_330), 9, 0, has_customer=False),
    Special("gift_0001_20", "Dotcomgiftshop Gift Voucher £20.00", (16_670, 16_670), 10, 0, has_customer=False),
    Special("gift_0001_30", "Dotcomgiftshop Gift Voucher £30.00", (25_000, 25_000), 8, 0, has_customer=False),
    Special("gift_0001_40", "Dotcomgiftshop Gift Voucher £40.00", (33_330, 33_330), 3, 0, has_customer=False),
    Special("gift_0001_50", "Dotcomgiftshop Gift Voucher £50.00", (41_670, 41_670), 4, 0, has_customer=False),
    # These two stand on invoices of their own making: one DOT a batch order, three B in all.
    Special("DOT", "DOTCOM POSTAGE", (45_000, 950_000), 0, 0, has_customer=False),
    Special("B", "Adjust bad debt", (8_412_360, 8_412_360), 0, 0, has_customer=False),
    Special("DCGSSGIRL", "GIRLS PARTY BAG", (3_290, 3_290), 13, 0, has_customer=False, is_product=True),
    Special("DCGSSBOY", "BOYS PARTY BAG", (3_290, 3_290), 11, 0, has_customer=False, is_product=True),
    Special("DCGS0003", "BOXED GLASS PAPERWEIGHT", (2_460, 2_460), 5, 0, has_customer=False, is_product=True),
    Special("DCGS0076", "LIGHT IN A JAR", (16_130, 16_130), 2, 0, has_customer=False, is_product=True),
    Special("PADS", "PADS TO MATCH ALL CUSHIONS", (1, 1), 4, 0, has_customer=True, is_product=True),
)
NON_PRODUCTS = tuple(special.code for special in SPECIALS if not special.is_product)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Products and special codes. The text of variant v of item i is `texts[i * TEXTS_PER_ITEM + v]`; notes follow behind those of all items.

    `items` has one row per item, products first and families together: `item`, `code`, `price` (1/1000 pound), `has_suffix`,
    `has_alternatives`, `is_alphabetic`, `is_product`.
    """

    items: pl.DataFrame
    texts: pl.Series
    product_count: int

    @property
    def first_note(self) -> int:
        return self.items.height * TEXTS_PER_ITEM

    def item(self, code: str) -> int:
        """The number of a special code."""
        return self.product_count + [special.code for special in SPECIALS].index(code)

    def draw_products(self, rng: np.random.Generator, size: int) -> Ints:
        """Products at random, popular or not."""
        return rng.integers(0, self.product_count, size)


def draw_catalogue(rng: np.random.Generator, line_count: int) -> Catalogue:
    family_count = min(max(line_count // _LINES_PER_FAMILY, _FEWEST_FAMILIES), _MOST_FAMILIES)
    product_count = family_count * FAMILY_SIZE
    names = _draw_product_names(rng, family_count)
    products = pl.DataFrame(
        {
            "code": _draw_product_codes(rng, product_count),
            "price": np.array(_PRICES, dtype=np.int64)[draw_weighted(rng, _PRICE_WEIGHTS, product_count)],
            "has_suffix": [_has_colours(item // FAMILY_SIZE) for item in range(product_count)],
            "has_alternatives": [_has_alternatives(item) for item in range(product_count)],
            "is_alphabetic": False,
            "is_product": True,
        }
    )
    specials = pl.DataFrame(
        {
            "code": [special.code for special in SPECIALS],
            "price": np.array([special.price_range[0] for special in SPECIALS], dtype=np.int64),
            "has_suffix": False,
            "has_alternatives": False,
            "is_alphabetic": [special.is_product for special in SPECIALS],
            "is_product": [special.is_product for special in SPECIALS],
        }
    )
    texts = [
        *(text for item, (style, article) in enumerate(names) for text in _product_texts(item, style, article)),
        *(text for special in SPECIALS for text in (special.description,) * TEXTS_PER_ITEM),
        *NOTES,
    ]
    items = pl.concat([products, specials]).with_row_index("item").cast({"item": pl.Int64})
    return Catalogue(items, pl.Series("Description", texts, dtype=pl.String), product_count)


def _has_colours(family: int) -> bool:
    """The family is one article in several colours: one number with a letter each."""
    return family % 8 == 2  # noqa: PLR2004


def _has_alternatives(item: int) -> bool:
    return item % 18 == 0


def _takes_over_text(item: int) -> bool:
    """The product carries the text of its counterpart in the family before. Never one with alternative texts."""
    return item % 96 == 31  # noqa: PLR2004


def _draw_product_names(rng: np.random.Generator, family_count: int) -> list[tuple[str, str]]:
    """Style and article of every product; together they make its name."""
    styles = list(product(_STYLES, _MOTIFS))
    names: list[tuple[str, str]] = []
    for family, pick in enumerate(rng.permutation(len(styles))[:family_count].tolist()):
        articles: tuple[str, ...] = _ARTICLES[family % len(_ARTICLES)]
        if _has_colours(family):
            articles = tuple(f"{articles[0]} {colour}" for colour, _ in _COLOURS)
        names.extend((" ".join(styles[pick]), article) for article in articles)
    for item in filter(_takes_over_text, range(len(names))):
        names[item] = names[item - FAMILY_SIZE]
    return names


def _product_texts(item: int, style: str, article: str) -> tuple[str, ...]:
    """The name of a product and its two alternatives. Some products carry a blank at the edge of them all."""
    before = " " if item % 50 == 4 else ""  # noqa: PLR2004
    behind = " " if item % 5 == 1 else ""
    return tuple(f"{before}{text}{behind}" for text in (f"{style} {article}", f"{article} {style}", f"{style} {article} NEW"))


def _draw_product_codes(rng: np.random.Generator, product_count: int) -> list[str]:
    numbers = rng.permutation(np.setdiff1d(np.arange(20_000, 91_000), [int(code) for code in NON_PRODUCTS if code.isdigit()])).tolist()
    return [
        f"{numbers[item // FAMILY_SIZE * FAMILY_SIZE]}{_COLOURS[item % FAMILY_SIZE][1]}" if _has_colours(item // FAMILY_SIZE) else str(numbers[item])
        for item in range(product_count)
    ]
