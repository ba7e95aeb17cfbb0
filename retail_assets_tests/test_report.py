"""The report: figures as the published file has them, texts of users harmless, the same bytes each time, odd shops, and a real browser.

One real run on a small sample gives the published file; odd shops are copies of it from which something was taken away. Tests in a browser stand at
the end: they need chromium and chromedriver, and are skipped where these are missing.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

from retail_assets.report import ReportError, UnknownMonthError, charts, figures, render, sentences, texts
from retail_assets.report.figures import Figures, Row
from retail_assets.seeds import read_seed
from retail_assets_tests.homes import Home, retail, retail_here, sample_home

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.integration

LAST = "2011-12"
STYLE = (Path(figures.__file__).parent / "style.css").read_text(encoding="utf-8")
CHARTS = {"revenue", "customers", "segments", "map", "migration", "rfm_customers", "rfm_revenue"}


class Page(HTMLParser):
    """What a browser would find in a page: elements with attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after one run on a small sample. Nothing in it is changed here."""
    return sample_home(tmp_path_factory)


@pytest.fixture(scope="module")
def published(home: Home) -> Path:
    return home.published


@pytest.fixture(scope="module")
def html(home: Home) -> str:
    return (home.path / "reports" / f"{LAST}.html").read_text(encoding="utf-8")


def altered(published: Path, folder: Path, *statements: str, parameters: dict[str, Any] | None = None) -> str:
    """The report on a copy of the published file after some statements."""
    copy = folder / "retail.duckdb"
    shutil.copyfile(published, copy)
    with duckdb.connect(copy) as writer:
        for statement in statements:
            writer.execute(statement, parameters)
    return render(copy)[1]


def answer(published: Path, query: str) -> Any:
    with duckdb.connect(published, read_only=True) as reader:
        return reader.execute(query).fetchall()[0][0]


# With each publication


def test_a_run_writes_the_report_of_the_last_month_and_names_it(home: Home) -> None:
    path = home.path / "reports" / f"{LAST}.html"
    assert [found.name for found in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    assert f"{path}  the report" in home.run.stdout
    assert 100_000 < path.stat().st_size < 1_000_000


def test_the_same_file_gives_the_same_bytes_in_this_process_and_in_another(home: Home, published: Path, html: str, tmp_path: Path) -> None:
    assert render(published) == render(published) == (date(2011, 12, 1), html)
    again = retail("report", "--home", home.path, "--out", tmp_path / "again.html")
    assert (again.returncode, again.stdout.strip()) == (0, str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_an_earlier_month_is_told_as_of_its_end(home: Home, tmp_path: Path) -> None:
    done = retail_here("report", "--home", home.path, "--month", "2011-06", "--out", tmp_path / "june.html")
    assert done.returncode == 0, done.stderr
    page = Page((tmp_path / "june.html").read_text(encoding="utf-8"))
    assert "June 2011" in page.text
    assert "July 2011" not in page.text
    assert "Jul 2011" not in page.text


@pytest.mark.parametrize(
    ("month", "code", "complaint"), [("2015-01", 2, "2015-01 is not in the published file"), ("2011-01:2011-02", 2, "give one month")]
)
def test_a_month_that_is_none_is_refused(home: Home, month: str, code: int, complaint: str) -> None:
    done = retail_here("report", "--home", home.path, "--month", month)
    assert (done.returncode, complaint in done.stderr) == (code, True)


def test_without_a_publication_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no published file"):
        render(tmp_path / "retail.duckdb")


# The page


def test_figures_are_those_of_the_published_file(published: Path, html: str) -> None:
    text = Page(html).text
    net, orders = (
        answer(published, f"select {column} from marts.monthly_kpis order by invoice_month desc limit 1")
        for column in ("first_seen_net_amount", "order_count")
    )
    assert f"Net revenue {texts.money(net)}" in text
    assert f"from {orders} orders" in text
    for name in ("lapsing", "lost"):
        of_movement = f"select count(*) from marts.customer_segments where snapshot_month = '2011-12-01' and movement = '{name}'"
        assert f"{name.capitalize()} {answer(published, of_movement)}" in text


def test_every_segment_stands_there_with_its_rule_and_what_to_do(published: Path, html: str) -> None:
    text = Page(html).text
    with duckdb.connect(published, read_only=True) as reader:
        rows = reader.execute("select segment_name, rule from marts.segment_profiles where snapshot_month = '2011-12-01'").fetchall()
    assert len(rows) > 1
    actions = set(read_seed("segment_actions")["action"])
    assert sum(text.count(action) for action in actions) >= len(rows)
    for name, rule in rows:
        assert name in text
        assert rule[1:] in text


def test_segments_kept_from_an_earlier_month_are_told_as_such(published: Path, tmp_path: Path) -> None:
    def told(fitted_month: str) -> str:
        html = altered(published, tmp_path, f"update marts.segment_health set fitted_month = '{fitted_month}' where snapshot_month = '2011-12-01'")
        return " ".join(Page(html).text.split())

    assert "Names follow from the figures of the month." in told("2011-12-01")
    kept = told("2011-10-01")
    assert "Borders and names are those of October 2011, " in kept
    assert "Names follow from the figures of the month." not in kept


def test_nothing_in_the_page_points_outside_of_it(html: str) -> None:
    page = Page(html)
    targets = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in {"href", "src", "action", "srcset", "xlink:href"}
    ]
    assert [target for target in targets if not (target or "").startswith(("#", "data:,"))] == []
    assert not re.search(r"@import|url\(", STYLE)
    outside = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names of XML, not addresses"


def test_the_policy_allows_our_style_and_script_and_nothing_else(html: str) -> None:
    page = Page(html)
    policy = next(attributes["content"] for attributes in page.of("meta") if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'" in policy
    assert [attributes for _, attributes in page.elements if "style" in attributes] == [], "the policy would refuse them"


def test_charts_are_named_and_their_marks_say_their_figures(html: str) -> None:
    page = Page(html)
    assert {(attributes.get("id") or "").removeprefix("chart-") for attributes in page.of("figure")} == CHARTS
    drawings = [attributes for attributes in page.of("div") if attributes.get("class") == "drawing"]
    assert len(drawings) == len(CHARTS)
    assert all(len(attributes["aria-label"] or "") > 40 and attributes["tabindex"] == "0" for attributes in drawings)
    labels = [attributes["aria-label"] or "" for attributes in page.of("path") if attributes.get("role") == "graphics-symbol"]
    assert any(label.startswith("December 2011 · net £") for label in labels)
    assert sum(label.startswith("champions · recency 5, frequency 5") for label in labels) == 2


def test_headings_descend_and_tables_are_captioned_with_scopes(html: str) -> None:
    page = Page(html)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert len(page.of("caption")) == len(page.of("table")) > 5
    assert all(attributes.get("scope") in {"col", "row"} for attributes in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(attributes["href"] or "")[1:] for attributes in page.of("a")} <= set(ids)


def _variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))


def _contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(scheme: str) -> None:
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)", maxsplit=1)
    colours = _variables(light) if scheme == "light" else _variables(light) | _variables(dark.split("\n}\n", maxsplit=1)[0])
    pairs = [(text, surface) for text in ("ink", "soft", "accent", "good", "bad") for surface in ("page", "card")]
    pairs += [("ink", "notice"), *((f"t{step}", f"h{step}") for step in range(7))]
    assert {pair: round(ratio, 2) for pair in pairs if (ratio := _contrast(colours[pair[0]], colours[pair[1]])) < 4.5} == {}


# Odd shops

_TABLES_BY_MONTH = {
    "marts.monthly_kpis": "invoice_month", "marts.customer_segments": "snapshot_month", "marts.segment_profiles": "snapshot_month",
    "marts.segment_migration": "snapshot_month", "features.rfm_features": "snapshot_month", "marts.association_rules": "snapshot_month",
    "marts.product_recommendations": "snapshot_month", "marts.fct_sales": "invoice_month", "marts.fct_returns": "invoice_month",
}  # fmt: skip
_TABLES_OF_CUSTOMERS = ("marts.customer_segments", "marts.segment_profiles", "marts.segment_migration", "features.rfm_features")


def test_a_shop_without_customers_is_told_so(published: Path, tmp_path: Path) -> None:
    page = Page(altered(published, tmp_path, *(f"delete from {table}" for table in _TABLES_OF_CUSTOMERS)))
    assert "There are no segments" in page.text
    assert "No sale carries a customer number" in page.text
    assert {attributes["id"] for attributes in page.of("figure")} == {"chart-revenue"}


def test_a_shop_of_one_customer_has_a_whole_report(published: Path, tmp_path: Path) -> None:
    one = "(select min(customer_id) from marts.customer_segments where snapshot_month = '2011-12-01')"
    page = Page(
        altered(
            published,
            tmp_path,
            "delete from marts.segment_migration",
            "delete from marts.segment_profiles where segment_id <> (select min(segment_id) from marts.segment_profiles)",
            "update marts.segment_profiles set customer_count = 1, customer_share = 1, revenue_share = null",
            f"delete from features.rfm_features where customer_id <> {one}",
            f"delete from marts.customer_segments where customer_id <> {one}",
        )
    )
    assert "1 customer" in page.text
    assert "No single pattern" in page.text
    assert "1 customers" not in page.text


def test_a_single_month_compares_with_nothing(published: Path, tmp_path: Path) -> None:
    page = Page(altered(published, tmp_path, *(f"delete from {table} where {column} < '2011-12-01'" for table, column in _TABLES_BY_MONTH.items())))
    assert page.text.count("nothing to compare with") == 10
    assert "1 month of data" in page.text


def test_a_month_without_data_is_a_gap_and_not_the_month_before(published: Path, tmp_path: Path) -> None:
    page = Page(altered(published, tmp_path, "delete from marts.monthly_kpis where invoice_month = '2011-11-01'"))
    assert "Nothing has landed for November 2011." in page.text
    with pytest.raises(UnknownMonthError, match="Nothing has landed for 2011-11"):
        render(tmp_path / "retail.duckdb", date(2011, 11, 1))
    assert "on Nov 2011" not in page.text
    assert "on Dec 2010" in page.text


def test_no_rules_and_no_recommendations_are_told_so(published: Path, tmp_path: Path) -> None:
    page = Page(altered(published, tmp_path, "delete from marts.association_rules", "delete from marts.product_recommendations"))
    assert "No products are bought together" in page.text
    assert "There are no recommendations" in page.text


def test_a_file_without_months_gives_no_report(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="holds no month"):
        altered(published, tmp_path, "delete from marts.monthly_kpis")


def test_checks_that_failed_and_refused_files_are_told_with_what_to_do(published: Path, tmp_path: Path) -> None:
    failed = (
        "update marts.data_quality set is_passed = false, observed = '7 of them', expected = 'none', recovery = 'Mend it.' "
        "where check_name = 'values_in_range' and invoice_month = '2011-12-01'"
    )
    refused = (
        "update raw.landed_files set status = 'refused', reason = 'Not a table.' where file_name = (select min(file_name) from raw.landed_files)"
    )
    text = Page(altered(published, tmp_path, failed, refused)).text
    assert "values in range core.transactions, blocks 7 of them none Mend it." in text
    assert "1 file could not be read." in text
    assert "Not a table." in text


# Texts of users

HOSTILE = (
    "<script>document.title='taken'</script>",
    "</script></style></svg><img src=x onerror=\"document.title='taken'\">",
    "' onmouseover='document.title=1' x='",
    '=HYPERLINK("http://example.invalid";"x")',
    "{{ 7 * 7 }}{% raw %}",
    "back\\slash \\' \\\" 'quotes' \"of\" both & kinds; ünï \u2028 line",
    "bell \x07 escape \x1b[2J null-like \x01 right-to-left \u202e end",
)


def hostile(published: Path, folder: Path) -> str:
    """The report on a file in which every text that comes from outside tries to be something else."""
    with_all = " ".join(HOSTILE)
    statements = [
        "update marts.association_rules set antecedent_text = $bad, consequent_text = $bad",
        "update marts.product_recommendations set description = $bad, recommended_description = $bad, recommended_stock_code = $bad",
        "update marts.segment_profiles set segment_name = segment_id || $bad, top_products = $bad, top_countries = $bad",
        "update marts.segment_profiles set rule = $bad, explanation = $bad",
        "update marts.customer_segments set segment_name = segment_id || $bad",
        "update marts.segment_migration set from_segment_name = from_segment_id || $bad, to_segment_name = to_segment_id || $bad",
        "update marts.data_quality set is_passed = false, observed = $bad, expected = $bad, recovery = $bad where check_name = 'month_is_complete'",
        "update raw.landed_files set status = 'refused', file_name = line_count || $bad, reason = $bad",
        "update marts.dim_product set description = $bad",
        "update core.quarantine set reason = $bad",
    ]
    return altered(published, folder, *statements, parameters={"bad": with_all})


def test_texts_of_users_reach_the_page_as_texts(published: Path, tmp_path: Path, html: str) -> None:
    spoilt = hostile(published, tmp_path)
    page, honest = Page(spoilt), Page(html)
    for text in HOSTILE[:5]:
        assert " ".join(text.split()) in page.text
    assert len(page.of("script")) == 1
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in honest.elements}, "no element came from a text"
    assert [name for _, attributes in page.elements for name in attributes if name.startswith("on")] == []
    assert "{{ 7 * 7 }}" in page.text
    assert [letter for letter in spoilt if not letter.isprintable() and letter != "\n"] == []


# Words


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (texts.money(Decimal("1234.5")), "£1,234"),
        (texts.money(-5.5), "-£5.50"),
        (texts.money(0), "£0"),
        (texts.money(-0.001), "£0.00"),
        (texts.short_money(1_234_567), "£1.2M"),
        (texts.short_money(34_567), "£35k"),
        (texts.short_money(9_999), "£10.0k"),
        (texts.short_money(85), "£85"),
        (texts.number(2.5), "2.5"),
        (texts.number(1234.0), "1,234"),
        (texts.number(1_234_567.89), "1,234,568"),
        (texts.share(0.078), "7.8%"),
        (texts.share(0.58), "58%"),
        (texts.share(None), "-"),
        (texts.times(1.44), "1.4"),
        (texts.times(39.9), "40"),
        (texts.percent_more(1.12), "+12% on"),
        (texts.percent_more(0.966), "\N{MINUS SIGN}3.4% on"),
        (texts.percent_more(23.4), "23 times"),
        (texts.compared(1.001), "0.1% more than"),
        (texts.compared(0.31), "69% less than"),
        (texts.compared(1.0), "as much as"),
        (texts.plural(1, "order", "orders"), "1 order"),
        (texts.plural(0, "order", "orders"), "0 orders"),
    ],
)
def test_figures_are_written_as_people_read_them(shown: str, text: str) -> None:
    assert shown == text


def test_the_seeds_of_advice_cover_every_segment_that_can_have_a_name() -> None:
    assert set(read_seed("rfm_segment_actions")["rfm_segment"]) == set(read_seed("rfm_segments")["rfm_segment"])
    recency, frequency, spend = (
        {word for words in read_seed("segment_actions")[column] for word in words.split("|")} - {"any"}
        for column in ("recency", "frequency", "spend")
    )
    assert recency == {"recent", "fading", "lapsed"}
    assert frequency == {"one-time", "infrequent", "occasional", "frequent", "very frequent"}
    assert spend <= {"small spenders", "medium spenders", "big spenders", "top spenders"}
    any_action = figures.advice({})
    words = [
        dict(zip(("recency_days", "frequency", "monetary"), found, strict=True)) for found in product(recency, frequency, [*spend, "small spenders"])
    ]
    assert [found for found in words if figures.advice(found) == any_action] == []
    assert figures.advice({"recency_days": "recent", "frequency": "very frequent", "monetary": "top spenders"})["headline"] == "Keep and reward"


def _month(month: date, **values: Any) -> Row:
    blank = dict.fromkeys(
        ["order_count", "active_customer_count", "new_count", "reactivated_count", "retained_count", "lapsing_count", "lost_count", "customer_count"],
        10,
    )
    amounts = {"net_amount": Decimal(1000), "gross_amount": Decimal(1100), "credited_amount": Decimal(100), "average_order_value": 110.0}
    days = {"sale_day_count": 20, "last_sale_date": month.replace(day=28), "raw_line_count": 100, "quarantined_line_count": 5}
    return {"invoice_month": month, **blank, **amounts, **days, **values}


def _move(before: int | None, now: int, customer_count: int, net_amount: int, action: str = "-") -> Row:
    names = {0: "A", 1: "B", 7: "Z", None: None}
    return {
        "from_segment_id": before, "from_segment_name": names[before], "to_segment_id": now, "to_segment_name": names[now],
        "customer_count": customer_count, "net_amount": Decimal(net_amount), "action": action,
    }  # fmt: skip


MOVES = [
    _move(0, 1, 3, 90, "Call."),
    _move(1, 0, 2, 50),
    _move(0, 0, 9, 900),
    _move(None, 1, 1, 9),
    # From a segment that is no more: nobody can say whether the move is up or down.
    _move(7, 1, 1, 9),
]
SHOP = Figures(
    month=date(2011, 3, 1),
    ends_early=False,
    publication={"settings": '{"lapsing_after_days": 90, "lost_after_days": 180}'},
    months=[_month(date(2011, 1, 1)), _month(date(2011, 2, 1)), _month(date(2011, 3, 1), net_amount=Decimal(1500), lost_count=12)],
    customers=pl.DataFrame({"movement": ["lost", "lost", "new"], "recency_days": [200, 190, 3]}),
    segments=[
        {"segment_id": 0, "segment_name": "A", "net_amount": Decimal(1000), "customer_count": 10, "customer_share": 0.2, "revenue_share": 0.8},
        {"segment_id": 1, "segment_name": "B", "net_amount": Decimal(250), "customer_count": 40, "customer_share": 0.8, "revenue_share": 0.2},
    ],
    moves=MOVES,
    cells=[],
    rfm_segments=[{"rfm_segment": "cannot_lose", "customer_count": 2, "net_amount": Decimal(70), "is_first": True, "action": "Ring."}],
    rules=[],
    telling_rule_count=0,
    persistence={"judged_rule_count": 50, "persistent_rule_count": 45},
    hits={"shown_count": 3, "hit_rate": 0.61, "popular_hit_rate": 0.4},
    largest_credit={"stock_code": "X", "description": "CUP", "amount": Decimal(80)},
    recommendations=[],
    completeness=None,
    check_counts={},
    failed_checks=[],
    quarantine=[],
    refused_files=[],
)


def test_a_whole_month_is_compared_by_its_total() -> None:
    found = {headline.label: headline for headline in sentences.headlines(SHOP)}
    assert found["Net revenue"].changes == (sentences.Change("+50% on Feb 2011", "good"),)
    assert found["Lost"].changes == (sentences.Change("+20% on Feb 2011", "bad"),)
    assert found["Lost"].note == "No purchase for more than 180 days."
    assert found["Lapsing"].note == "No purchase for more than 90 days."
    assert sentences.in_short(SHOP)[0] == "Net revenue is £1,500 from 10 orders, 50% more than in February 2011."


def test_a_month_that_ends_early_is_compared_by_trading_day() -> None:
    months = [*SHOP.months[:2], _month(date(2011, 3, 1), net_amount=Decimal(500), sale_day_count=8, lost_count=12)]
    early = dataclasses.replace(SHOP, ends_early=True, months=months)
    found = {headline.label: headline for headline in sentences.headlines(early)}
    # 500 in 8 days are 62.50 a day, against 1,000 in 20 days.
    assert found["Net revenue"].changes == (sentences.Change("+25% on Feb 2011 by day", "good"),)
    assert found["Lost"].changes == (sentences.Change("+20% on Feb 2011", "even"),)
    assert sentences.in_short(early)[0] == "Net revenue so far is £500 from 10 orders: £62.50 per trading day, 25% more than in February 2011."
    assert "Sales reach to 28 March 2011, 8 trading days." in sentences.completeness(early)


def test_a_month_that_ends_early_asks_nobody_to_act_on_moves_that_its_missing_days_make() -> None:
    early = dataclasses.replace(SHOP, ends_early=True)
    assert any("the largest move downwards" in sentence for sentence in sentences.in_short(SHOP))
    assert not any("the largest move downwards" in sentence for sentence in sentences.in_short(early))
    assert sentences.first_steps(early) == sentences.first_steps(SHOP)[1:]


def test_new_and_lost_customers_are_not_compared_to_the_first_month_in_which_everyone_is_new() -> None:
    second = dataclasses.replace(SHOP, months=SHOP.months[1:])
    changed = {headline.label: len(headline.changes) for headline in sentences.headlines(second)}
    assert {label for label, changes in changed.items() if not changes} == {"New customers", "Reactivated", "Lapsing", "Lost"}


def test_moves_are_ordered_by_what_is_at_stake_and_lead_to_what_to_do() -> None:
    assert [move["customer_count"] for move in sentences.losses(SHOP)] == [3]
    assert [move["customer_count"] for move in sentences.gains(SHOP)] == [2]
    assert sentences.first_steps(SHOP) == [
        ("3 customers worth £90.00, now “B”, a month ago “A”", "Call."),
        ("2 customers worth £70.00: cannot lose", "Ring."),
    ]


def test_a_credit_line_that_is_most_of_the_returns_is_told() -> None:
    assert "A single credit line of £80.00 (CUP) is 80% of all returns." in sentences.in_short(SHOP)
    small = dataclasses.replace(SHOP, largest_credit={"stock_code": "X", "description": None, "amount": Decimal(24)})
    assert not any("credit line" in sentence for sentence in sentences.in_short(small))


def test_checks_of_earlier_months_are_told_apart_from_those_to_look_at() -> None:
    def told(*months: date | None) -> str:
        return sentences.in_short(dataclasses.replace(SHOP, failed_checks=[{"invoice_month": month} for month in months]))[-1]

    assert told().endswith("; every check of the month passed.")
    assert told(date(2011, 1, 1)).endswith("; every check of the month passed, and 1 of earlier months did not pass.")
    assert told(None, SHOP.month, date(2011, 1, 1)).endswith("; 2 checks need a look (see data quality), and 1 of earlier months did not pass.")


def test_told_rules_share_no_product_and_keep_variants_apart() -> None:
    found = [("a", "b", False), ("b", "c", False), ("v", "w", True), ("c", "d", False), ("w", "x", True), ("e", "f", False)]
    rules = [{"antecedent": [left], "consequent": [right], "has_variants": variants} for left, right, variants in found]
    told = [(rule["antecedent"][0], rule["consequent"][0]) for rule in sentences.told_rules(rules)]
    assert told == [("a", "b"), ("c", "d"), ("e", "f")]
    assert [rule["antecedent"] for rule in sentences.told_rules(rules, has_variants=True)] == [["v"]]


def test_what_the_month_before_foretold_is_held_against_this_one() -> None:
    assert sentences.persistence(SHOP) == "Of the 50 rules of February 2011 that March 2011 can judge, 45 (90%) held in it too."
    assert sentences.hits(SHOP) == (
        "For 61% of the lines of March 2011, the basket also held one of the 3 products to show beside them as of February 2011; "
        "of the most popular products, for 40%."
    )
    first = dataclasses.replace(SHOP, persistence=None, hits=None)
    assert (sentences.persistence(first), sentences.hits(first)) == ("", "")


def test_an_engine_of_charts_that_dies_is_an_error_and_not_the_end_of_the_process() -> None:
    # vl-convert 1.9 aborts on a control character in a text: why texts are cleaned first, and why it has a process of its own.
    with pytest.raises(charts.ChartError, match="engine of charts ended with"):
        charts.draw([{"data": {"values": [{}]}, "mark": "point", "title": "bell \x07"}])


def test_more_segments_than_colours_share_them() -> None:
    assert charts.segment_class(0) == charts.segment_class(charts.SEGMENT_COLOURS) == "s0"
    assert all(f".s{number} {{" in STYLE for number in range(charts.SEGMENT_COLOURS))


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    binary, driver_binary = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver_binary:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,900",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_binary))
    yield driver
    driver.quit()


@pytest.fixture
def shown(browser: Chrome, home: Home) -> Iterator[Chrome]:
    """The report in a browser of desktop size; afterwards, nothing may have been complained about."""
    _show(browser, home.path / "reports" / f"{LAST}.html")
    yield browser
    assert _log(browser, "browser") == []


def _show(browser: Chrome, path: Path, width: int = 1280, scheme: str = "light") -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    for log in ("browser", "performance"):
        _log(browser, log)
    browser.get(path.as_uri())


def _log(browser: Chrome, name: str) -> list[dict[str, Any]]:
    """What was noted since it was asked last."""
    entries: list[dict[str, Any]] = browser.get_log(name)  # type: ignore[no-untyped-call]
    return entries


def _column(browser: Chrome, table: str, column: int) -> list[str]:
    found = browser.execute_script(
        "return [...document.querySelector(arguments[0]).tBodies[0].rows].map(r => r.cells[arguments[1]].dataset.value)", table, column
    )
    return [str(value) for value in found]


def _overhang(browser: Chrome) -> int:
    """Pixels by which the page is wider than what shows it."""
    return int(browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def in_browser(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that drives a browser."""
    slow: Callable[..., None] = pytest.mark.slow(test)
    marked: Callable[..., None] = pytest.mark.browser(slow)
    return marked


@in_browser
def test_charts_are_drawn_and_nothing_is_asked_of_the_network(shown: Chrome) -> None:
    sizes = shown.execute_script(
        "return [...document.querySelectorAll('svg.chart')].map(c => [c.getBoundingClientRect().width, c.getBoundingClientRect().height,"
        " [...c.querySelectorAll('path[aria-label]')].filter(m => m.getBoundingClientRect().width > 0).length])"
    )
    assert len(sizes) == len(CHARTS)
    assert all(width > 300 and height > 100 and marks > 0 for width, height, marks in sizes), sizes
    requests = [json.loads(entry["message"])["message"] for entry in _log(shown, "performance")]
    addresses = {message["params"]["request"]["url"] for message in requests if message["method"] == "Network.requestWillBeSent"}
    assert [address for address in addresses if not address.startswith(("file:", "data:"))] == []


@in_browser
def test_tables_are_sorted_by_pointer_and_by_keyboard(shown: Chrome) -> None:
    from selenium.webdriver.common.by import By  # noqa: PLC0415
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    button = shown.find_elements(By.CSS_SELECTOR, "#rules-table th button")[3]
    shown.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    shares = [float(value) for value in _column(shown, "#rules-table", 3)]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) > 5
    button.send_keys(Keys.ENTER)
    assert [float(value) for value in _column(shown, "#rules-table", 3)] == sorted(shares)
    heading = button.find_element(By.XPATH, "..")
    assert heading.get_attribute("aria-sort") == "ascending"


@in_browser
def test_tables_are_filtered(shown: Chrome) -> None:
    from selenium.webdriver.common.by import By  # noqa: PLC0415

    sought = shown.execute_script("return document.querySelector('#rules-table').tBodies[0].rows[0].cells[0].textContent")
    field = shown.find_element(By.CSS_SELECTOR, "[data-filters='rules-table']")
    field.send_keys(sought.lower())
    left = shown.execute_script("return [...document.querySelector('#rules-table').tBodies[0].rows].filter(r => !r.hidden).map(r => r.textContent)")
    assert left
    assert all(sought in text for text in left)


@in_browser
def test_marks_are_told_by_pointer_and_by_keyboard(shown: Chrome) -> None:
    from selenium.webdriver.common.action_chains import ActionChains  # noqa: PLC0415
    from selenium.webdriver.common.by import By  # noqa: PLC0415
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    tip = shown.find_element(By.ID, "tip")
    bar = shown.find_element(By.CSS_SELECTOR, "#chart-revenue path[aria-label^='November 2011']")
    shown.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", bar)
    ActionChains(shown).move_to_element(bar).perform()
    assert tip.text == bar.get_attribute("aria-label")
    drawing = shown.find_element(By.CSS_SELECTOR, "#chart-rfm_customers .drawing")
    shown.execute_script("arguments[0].focus()", drawing)
    drawing.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "recency" in tip.text
    drawing.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_page_fits_its_width_and_follows_the_scheme(shown: Chrome, home: Home, width: int, scheme: str) -> None:
    _show(shown, home.path / "reports" / f"{LAST}.html", width, scheme)
    assert _overhang(shown) == 0
    background, ink = shown.execute_script("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
    text = shown.execute_script("return getComputedStyle(document.querySelector('#chart-revenue .role-axis-label text')).fill")
    assert text == ink, "charts take the colours of the page"
    brightness = sum(int(part) for part in re.findall(r"\d+", background)[:3])
    assert (brightness < 200) == (scheme == "dark")


@in_browser
def test_hostile_texts_do_nothing_in_a_browser(shown: Chrome, published: Path, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(hostile(published, tmp_path), encoding="utf-8")
    _show(shown, path)
    assert shown.title == "Customers and baskets, December 2011"
    assert shown.execute_script("return document.querySelectorAll('img, iframe, object, script').length") == 1
    assert _overhang(shown) == 0


@in_browser
def test_the_policy_stops_what_would_reach_for_the_network(browser: Chrome, home: Home) -> None:
    _show(browser, home.path / "reports" / f"{LAST}.html")
    violated = browser.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective), {once: true});"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image);"
    )
    assert violated == "img-src"


def test_where_no_engine_can_be_started_ahead_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/does/not/exist")
        with charts.ready():
            broken.undo()
            assert charts.draw([{"data": {"values": []}, "mark": "point"}])[0].startswith("<svg")


def test_an_engine_that_started_ahead_draws_the_same_once_and_is_not_missed() -> None:
    specs: list[charts.Spec] = [{"data": {"values": [{"a": 1}]}, "mark": "point", "encoding": {"x": {"field": "a", "type": "quantitative"}}}]
    drawn = charts.draw(specs)
    with charts.ready():
        [ahead] = charts._ready
        assert charts.draw(specs) == drawn
        assert ahead.returncode == 0, "it was this one"
        assert charts.draw(specs) == drawn, "and the next one is started when it is needed"
    with charts.ready():
        [ahead] = charts._ready
        ahead.kill()
        ahead.wait()
        assert charts.draw(specs) == drawn
    with charts.ready():
        [ahead] = charts._ready
    assert ahead.returncode, "one that nobody needed is ended"
