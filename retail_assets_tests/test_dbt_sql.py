"""The dbt project: it builds on an empty warehouse, gives hand-computed figures for a tiny shop, and says in the database what every column means."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import duckdb
import polars as pl
import pytest
from dagster_dbt import build_dbt_asset_specs
from dbt.cli.main import dbtRunner, dbtRunnerResult

from retail_assets import contracts, dbt_models, publication, published_file
from retail_assets.settings import DBT_PROJECT_DIR, Settings
from retail_assets.warehouse import append, create_statement

if TYPE_CHECKING:
    from pathlib import Path

    from dbt.artifacts.schemas.run import RunExecutionResult

    from retail_assets.contracts import Table

pytestmark = pytest.mark.integration

DECEMBER, JANUARY, FEBRUARY = date(2010, 12, 1), date(2011, 1, 1), date(2011, 2, 1)
BUYER, NEWCOMER, RETURNER = "17850", "12345", "99999"
LANTERN, HEART = "71053", "85123A"
NAMES = {LANTERN: "WHITE METAL LANTERN", HEART: "WHITE HANGING HEART"}


def line(
    transaction_id: str, shop_time: str, stock_code: str, quantity: int, unit_price: str, customer_id: str | None, **others: Any
) -> dict[str, Any]:
    price, invoiced_at = Decimal(unit_price), datetime.fromisoformat(shop_time)
    return {
        "transaction_id": transaction_id,
        "invoice_no": transaction_id.split("/", maxsplit=1)[0],
        "invoice_month": invoiced_at.date().replace(day=1),
        "invoiced_at": invoiced_at,
        "stock_code": stock_code,
        "description": NAMES[stock_code],
        "quantity": quantity,
        "unit_price": price,
        "amount": quantity * price,
        "customer_id": customer_id,
        "country": "United Kingdom",
        "is_return": quantity < 0,
        **others,
    }


TRANSACTIONS = [
    # A basket of two products; 4 of its lanterns come back in February.
    line("536365/1", "2011-01-31 10:00", LANTERN, 10, "2.55", BUYER),
    line("536365/2", "2011-01-31 10:00", HEART, 2, "3.00", BUYER),
    # Anonymous web-shop orders in one batch: sales, and no basket in spite of two products.
    line("536366/1", "2011-01-31 17:00", LANTERN, 3, "2.50", None, is_batch_order=True),
    line("536366/2", "2011-01-31 17:00", HEART, 1, "2.50", None, is_batch_order=True),
    line("C536367/1", "2011-02-01 09:00", LANTERN, -4, "2.55", BUYER),
    # A credit that no known sale explains, of a customer without any sale.
    line("C536368/1", "2011-02-02 09:00", HEART, -1, "3.00", RETURNER),
    line("536369/1", "2011-02-03 09:00", HEART, 1, "3.00", NEWCOMER, country="France"),
]


def rule(month: date, antecedent: str, consequent: str) -> dict[str, Any]:
    names = {**NAMES, "22423": "REGENCY CAKESTAND"}
    return {
        "snapshot_month": month,
        "antecedent": [antecedent],
        "consequent": [consequent],
        "antecedent_names": [names[antecedent]],
        "consequent_names": [names[consequent]],
    }


POSTAGE = {"invoice_month": FEBRUARY, "line_no": 99, "stock_code": "POST", "reason": "non_product", "amount": Decimal("18.00")}

SHOP: dict[Table, list[dict[str, Any]]] = {
    contracts.RAW_TRANSACTIONS: [
        *({"invoice_month": row["invoice_month"], "line_no": number, "amount": row["amount"]} for number, row in enumerate(TRANSACTIONS, start=2)),
        {name: value for name, value in POSTAGE.items() if name != "reason"},
    ],
    contracts.TRANSACTIONS: TRANSACTIONS,
    contracts.QUARANTINE: [POSTAGE],
    contracts.RETURNS: [
        {
            "return_id": "C536367/1",
            "match_no": 1,
            "invoice_month": FEBRUARY,
            "sale_id": "536365/1",
            "sale_month": JANUARY,
            "customer_id": BUYER,
            "stock_code": LANTERN,
            "quantity": 4,
            "amount": Decimal("10.20"),
            "match_status": "full",
            "returned_at": datetime.fromisoformat("2011-02-01 09:00"),
        },
        {
            "return_id": "C536368/1",
            "match_no": 1,
            "invoice_month": FEBRUARY,
            "customer_id": RETURNER,
            "stock_code": HEART,
            "quantity": 1,
            "amount": Decimal("3.00"),
            "match_status": "orphan",
            "returned_at": datetime.fromisoformat("2011-02-02 09:00"),
        },
    ],
    contracts.CUSTOMER_MONTHS: [
        {"invoice_month": JANUARY, "customer_id": BUYER, "sale_invoice_count": 1},
        {"invoice_month": FEBRUARY, "customer_id": BUYER, "sale_invoice_count": 0},
        {"invoice_month": FEBRUARY, "customer_id": RETURNER, "sale_invoice_count": 0},
        {"invoice_month": FEBRUARY, "customer_id": NEWCOMER, "sale_invoice_count": 1},
    ],
    contracts.RFM_FEATURES: [
        {"snapshot_month": JANUARY, "customer_id": BUYER, "r_score": 5, "f_score": 1, "rfm_segment": "new_customers"},
        {"snapshot_month": FEBRUARY, "customer_id": BUYER, "r_score": 4, "f_score": 1, "rfm_segment": "promising"},
        {"snapshot_month": FEBRUARY, "customer_id": NEWCOMER, "r_score": 5, "f_score": 1, "rfm_segment": "new_customers"},
    ],
    contracts.CUSTOMER_SEGMENTS: [
        {"snapshot_month": JANUARY, "customer_id": BUYER, "segment_id": 1, "segment_name": "big orders"},
        {"snapshot_month": FEBRUARY, "customer_id": BUYER, "segment_id": 0, "segment_name": "fading"},
        {"snapshot_month": FEBRUARY, "customer_id": NEWCOMER, "segment_id": 1, "segment_name": "big orders"},
    ],
    contracts.ASSOCIATION_RULES: [
        {
            "snapshot_month": JANUARY,
            "antecedent": [LANTERN, HEART],
            "consequent": ["22423"],
            "antecedent_names": [NAMES[LANTERN], NAMES[HEART]],
            "consequent_names": ["REGENCY CAKESTAND"],
            # 12 joint baskets, and in February a lift above what basket sizes alone give.
            "basket_count": 12,
            "confidence": 0.5,
            "lift": 3.0,
            "expected_lift": 1.5,
            "next_month_support": 0.1,
            "next_month_confidence": 0.4,
            "next_month_lift": 2.0,
        },
        # Of these, one does worse in February than basket sizes alone, and of the other no product comes: it cannot be judged.
        {**rule(JANUARY, LANTERN, HEART), "basket_count": 19, "expected_lift": 1.5, "next_month_support": 0.1, "next_month_lift": 1.4},
        {**rule(JANUARY, HEART, LANTERN), "basket_count": 10, "expected_lift": 1.5, "next_month_support": 0.0},
        {**rule(FEBRUARY, LANTERN, HEART), "basket_count": 21, "lift": 4.0},
        {**rule(FEBRUARY, LANTERN, "22423"), "basket_count": 22},
    ],
    contracts.GROUP_RULES: [{**rule(JANUARY, HEART, LANTERN), "group_kind": "country", "group_name": "France"}],
    contracts.RECOMMENDATION_QUALITY: [{"snapshot_month": JANUARY, "shown_count": 1}],
    contracts.PRODUCT_RECOMMENDATIONS: [
        {"snapshot_month": JANUARY, "stock_code": LANTERN, "rank": 1, "recommended_stock_code": HEART, "basis": "together"},
    ],
    contracts.CHECK_RESULTS: [
        # The same check of a whole table and of a month.
        {"table_name": "core.transactions", "check_name": "key", "severity": "ERROR", "is_passed": True},
        {"table_name": "core.transactions", "check_name": "key", "severity": "ERROR", "is_passed": True, "invoice_month": JANUARY},
    ],
}
"""Only what the marts' figures depend on; every other column is blank."""

BLANKS: dict[str, Any] = {
    "BIGINT": 0,
    "BOOLEAN": False,
    "DATE": DECEMBER,
    "DOUBLE": 0.0,
    "INTEGER": 0,
    "TIMESTAMP": datetime.fromisoformat("2010-12-01"),
    "VARCHAR": "-",
    "VARCHAR[]": [],
    contracts.MONEY: Decimal(0),
}


class Built(NamedTuple):
    """A warehouse in which dbt ran, and what dbt said and wrote."""

    warehouse: Path
    target: Path
    manifest: dict[str, Any]
    statuses_on_empty_tables: dict[str, str]
    test_statuses_on_shop: dict[str, str]
    warnings: list[str]

    def rows(self, query: str) -> list[dict[str, Any]]:
        with duckdb.connect(self.warehouse) as connection:
            return cast("pl.DataFrame", connection.sql(query).pl()).to_dicts()

    def models(self) -> list[dict[str, Any]]:
        return [node for node in self.manifest["nodes"].values() if node["resource_type"] == "model"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds on empty tables, then fills them and tests again: the models are views, so they need no second build."""
    home = tmp_path_factory.mktemp("dbt_sql")
    warehouse = home / "retail.duckdb"
    warnings: list[str] = []

    def note_warning(event: Any) -> None:
        if event.info.level in {"warn", "error"}:
            warnings.append(event.info.msg)

    runner = dbtRunner(callbacks=[note_warning])

    def run(*arguments: str) -> dbtRunnerResult:
        project = ["--project-dir", str(DBT_PROJECT_DIR), "--profiles-dir", str(DBT_PROJECT_DIR)]
        done = runner.invoke([*arguments, *project, "--target-path", str(home / "target"), "--log-path", str(home), "--quiet"])
        if done.exception:
            raise done.exception
        return done

    def statuses(*arguments: str) -> dict[str, str]:
        done = run(*arguments)
        return {result.node.unique_id: str(result.status) for result in cast("RunExecutionResult", done.result).results}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETAIL_WAREHOUSE", str(warehouse))
        with duckdb.connect(warehouse) as connection:
            for table in contracts.TABLES:
                connection.execute(create_statement(table))
        on_empty_tables = statuses("build")
        with duckdb.connect(warehouse) as connection:
            for table, rows in SHOP.items():
                append(connection, table, pl.DataFrame([{**blank_row(table), **row} for row in rows], schema=table.polars_schema))
        on_shop = statuses("test", "--exclude-resource-type", "unit_test")
        run("docs", "generate", "--static")
    manifest = json.loads((home / "target" / "manifest.json").read_text(encoding="utf-8"))
    return Built(warehouse, home / "target", manifest, on_empty_tables, on_shop, warnings)


def blank_row(table: Table) -> dict[str, Any]:
    return {column.name: None if column.nullable else BLANKS[column.type] for column in table.columns}


def test_the_project_builds_on_empty_tables(built: Built) -> None:
    assert {status for name, status in built.statuses_on_empty_tables.items() if not name.startswith("exposure.")} == {"success", "pass"}
    built_models = {name for name in built.statuses_on_empty_tables if name.startswith("model.")}
    assert built_models == {model["unique_id"] for model in built.models()}


def test_the_tests_of_the_project_pass_on_the_shop(built: Built) -> None:
    assert set(built.test_statuses_on_shop.values()) == {"pass"}


def test_dbt_warns_of_nothing(built: Built) -> None:
    assert built.warnings == []


def test_a_month_is_readable_as_first_seen_and_as_restated(built: Built) -> None:
    january, february = built.rows("select * from marts.monthly_kpis order by invoice_month")
    assert january == {
        "invoice_month": JANUARY,
        "raw_line_count": 4,
        "transaction_line_count": 4,
        "quarantined_line_count": 0,
        "raw_amount": Decimal("41.50"),
        "transaction_amount": Decimal("41.50"),
        "quarantined_amount": 0,
        "gross_amount": Decimal("41.50"),
        "credited_amount": 0,
        "orphan_amount": 0,
        "first_seen_net_amount": Decimal("41.50"),
        "returned_amount": Decimal("10.20"),
        "restated_net_amount": Decimal("31.30"),
        "order_count": 2,
        "average_order_value": pytest.approx(20.75),
        "basket_count": 1,
        "active_customer_count": 1,
        "new_customer_count": 1,
        "anonymous_share": pytest.approx(10 / 41.5),
    }
    assert february == {
        "invoice_month": FEBRUARY,
        "raw_line_count": 4,
        "transaction_line_count": 3,
        "quarantined_line_count": 1,
        "raw_amount": Decimal("7.80"),
        "transaction_amount": Decimal("-10.20"),
        "quarantined_amount": Decimal("18.00"),
        "gross_amount": Decimal("3.00"),
        "credited_amount": Decimal("13.20"),
        "orphan_amount": Decimal("3.00"),
        "first_seen_net_amount": Decimal("-10.20"),
        "returned_amount": 0,
        "restated_net_amount": Decimal("3.00"),
        "order_count": 1,
        "average_order_value": pytest.approx(3.0),
        "basket_count": 0,
        "active_customer_count": 1,
        "new_customer_count": 1,
        "anonymous_share": 0.0,
    }


def test_a_sale_is_restated_by_what_came_back_later(built: Built) -> None:
    sales = built.rows("select transaction_id, sale_date, quantity, net_quantity, amount, net_amount from marts.fct_sales order by 1")
    assert [sale["transaction_id"] for sale in sales] == ["536365/1", "536365/2", "536366/1", "536366/2", "536369/1"]
    assert sales[0] == {
        "transaction_id": "536365/1",
        "sale_date": date(2011, 1, 31),
        "quantity": 10,
        "net_quantity": 6,
        "amount": Decimal("25.50"),
        "net_amount": Decimal("15.30"),
    }


def test_customer_360_knows_sales_credits_favourite_and_both_segments(built: Built) -> None:
    columns = "customer_id, home_country, order_count, net_amount, orphan_amount, favourite_product, rfm_segment, segment_name, previous_segment_name"
    customers = built.rows(f"select {columns} from marts.customer_360 order by customer_id")
    assert [tuple(customer.values()) for customer in customers] == [
        (NEWCOMER, "France", 1, Decimal("3.00"), 0, NAMES[HEART], "new_customers", "big orders", None),
        (BUYER, "United Kingdom", 1, Decimal("21.30"), 0, NAMES[LANTERN], "promising", "fading", "big orders"),
        (RETURNER, "United Kingdom", 0, 0, Decimal("3.00"), None, None, None, None),
    ]


def test_dim_date_covers_whole_months_and_knows_the_trading_days(built: Built) -> None:
    days = built.rows("select * from marts.dim_date order by calendar_date")
    assert (len(days), days[0]["calendar_date"], days[-1]["calendar_date"]) == (31 + 28, date(2011, 1, 1), date(2011, 2, 28))
    # A day of credit notes only is none: 1 and 2 February.
    assert [day["calendar_date"] for day in days if day["is_trading_day"]] == [date(2011, 1, 31), date(2011, 2, 3)]
    # 2011 begins on a Saturday, which ISO 8601 counts to the last week of 2010.
    assert days[0] == {
        "calendar_date": date(2011, 1, 1),
        "month_start": JANUARY,
        "calendar_year": 2011,
        "calendar_quarter": 1,
        "calendar_month": 1,
        "week_start": date(2010, 12, 27),
        "iso_week": 52,
        "iso_weekday": 6,
        "weekday_name": "Saturday",
        "is_weekend": True,
        "is_trading_day": False,
    }


def test_rules_and_recommendations_are_readable_without_codes(built: Built) -> None:
    longest = "select antecedent_text, consequent_text from marts.association_rules where len(antecedent) = 2"
    assert built.rows(longest) == [{"antecedent_text": "WHITE METAL LANTERN + WHITE HANGING HEART", "consequent_text": "REGENCY CAKESTAND"}]
    [of_group] = built.rows("select group_name, antecedent_text, consequent_text from marts.group_rules")
    assert of_group == {"group_name": "France", "antecedent_text": NAMES[HEART], "consequent_text": NAMES[LANTERN]}
    [recommendation] = built.rows("select description, recommended_description from marts.product_recommendations")
    assert recommendation == {"description": NAMES[LANTERN], "recommended_description": NAMES[HEART]}


def test_rules_are_new_kept_or_gone_against_the_month_before(built: Built) -> None:
    changes = built.rows("select antecedent, consequent, rule_status, lift_before, lift, snapshot_month from marts.rule_changes order by all")
    assert {row.pop("snapshot_month") for row in changes} == {FEBRUARY}, "January has no month before to compare to"
    assert changes == [
        {"antecedent": [LANTERN], "consequent": ["22423"], "rule_status": "new", "lift_before": None, "lift": 0.0},
        {"antecedent": [LANTERN], "consequent": [HEART], "rule_status": "kept", "lift_before": 0.0, "lift": 4.0},
        {"antecedent": [LANTERN, HEART], "consequent": ["22423"], "rule_status": "gone", "lift_before": 3.0, "lift": None},
        {"antecedent": [HEART], "consequent": [LANTERN], "rule_status": "gone", "lift_before": 0.0, "lift": None},
    ]


def test_persistence_counts_judged_rules_by_support_band(built: Built) -> None:
    [band] = built.rows("select * from marts.rule_persistence")
    assert band == {
        "snapshot_month": JANUARY,
        "min_basket_count": 10,
        "rule_count": 3,
        "judged_rule_count": 2,
        "persistent_rule_count": 1,
        "persistence_rate": 0.5,
        "mean_confidence": 0.25,
        "mean_next_month_confidence": 0.4,
        "mean_lift": 1.5,
        "mean_next_month_lift": 1.7,
    }


def test_every_model_and_column_carries_its_text_in_the_database(built: Built) -> None:
    views = {(row["schema_name"], row["view_name"]): row["comment"] for row in built.rows("from duckdb_views() where not internal")}
    columns = built.rows("from duckdb_columns() where not internal")
    assert set(views) == {(model["schema"], model["name"]) for model in built.models()}
    for model in built.models():
        comments = {
            column["column_name"]: column["comment"]
            for column in columns
            if (column["schema_name"], column["table_name"]) == (model["schema"], model["name"])
        }
        assert views[model["schema"], model["name"]] == model["description"]
        assert list(comments.items()) == [(name, column["description"]) for name, column in model["columns"].items()]
        assert all(comments.values())


def test_models_read_from_the_yaml_are_those_of_dbt(built: Built) -> None:
    tables = {table.full_name: table for table in dbt_models.tables()}
    models = {f"{model['schema']}.{model['name']}": model for model in built.models()}
    assert set(tables) == set(models)
    for name, table in tables.items():
        assert table.grain == models[name]["description"]
        assert [(column.name, column.type.lower(), column.comment) for column in table.columns] == [
            (column, details["data_type"], details["description"]) for column, details in models[name]["columns"].items()
        ]
        assert models[name]["contract"]["enforced"]


def test_every_model_says_what_one_row_is_and_every_mart_has_a_reader(built: Built) -> None:
    assert [model["name"] for model in built.models() if not model["description"].startswith("One row")] == []
    read = {parent for exposure in built.manifest["exposures"].values() for parent in exposure["depends_on"]["nodes"]}
    assert {model["unique_id"] for model in built.models() if model["schema"] == "marts"} - read == set()


def test_references_name_keys_of_marts() -> None:
    keys = {f"{table.name}.{table.key[0]}" for table in dbt_models.tables() if table.schema == "marts" and len(table.key) == 1}
    references = {column.references for table in dbt_models.tables() for column in table.columns if column.references}
    assert references
    assert references <= keys


def test_the_documentation_of_dbt_builds_with_every_table_and_its_columns(built: Built) -> None:
    catalog = json.loads((built.target / "catalog.json").read_text(encoding="utf-8"))
    described = {name: set(node["columns"]) for name, node in (catalog["nodes"] | catalog["sources"]).items()}
    for name, node in (built.manifest["nodes"] | built.manifest["sources"]).items():
        if node["resource_type"] in {"model", "source"}:
            assert described[name] == set(node["columns"])
    page = (built.target / "static_index.html").read_text(encoding="utf-8")
    assert "cohort_retention" in page


def test_contracts_yaml_and_published_file_say_the_same(built: Built, tmp_path: Path) -> None:
    with duckdb.connect(built.warehouse) as connection:
        published = publication.publish(connection, Settings(home=tmp_path), datetime.fromisoformat("2011-03-01"), "run")
    with duckdb.connect(published.path, read_only=True) as reader:
        tables = {
            f"{schema}.{name}": comment
            for schema, name, comment in reader.execute("select schema_name, table_name, comment from duckdb_tables()").fetchall()
        }
        columns = reader.execute(
            "select schema_name || '.' || table_name, column_name, data_type, is_nullable, comment from duckdb_columns() "
            "where not internal order by schema_name, table_name, column_index"
        ).fetchall()
        keys = reader.execute(
            "select schema_name || '.' || table_name, constraint_column_names from duckdb_constraints() where constraint_type = 'PRIMARY KEY'"
        ).fetchall()
    declared = published_file.published_tables()
    assert tables == {table.full_name: table.grain for table in declared}
    assert columns == [
        (table.full_name, column.name, column.type, column.nullable, column.comment)
        for table in sorted(declared, key=lambda table: (table.schema, table.name))
        for column in table.columns
    ]
    assert dict(keys) == {table.full_name: list(table.key) for table in declared if published_file.has_primary_key(table)}
    assert "marts.dim_customer" in dict(keys)


def test_asset_keys_mirror_storage_and_groups_are_schemas(built: Built) -> None:
    specs = {spec.key.to_user_string(): spec for spec in build_dbt_asset_specs(manifest=built.manifest)}
    names = {f"{node['schema']}/{node['name']}" for node in built.manifest["nodes"].values() if node["resource_type"] in {"model", "seed"}}
    assert set(specs) == names
    assert all(spec.group_name == spec.key.path[0] and spec.owners == ["team:data-engineering"] for spec in specs.values())
    assert {dependency.asset_key.to_user_string() for dependency in specs["marts/fct_sales"].deps} == {"core/transactions", "core/returns"}
