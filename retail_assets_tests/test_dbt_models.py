"""What is read from the YAML of the dbt models: texts resolved, keys and references from the data tests, and clear errors."""

from pathlib import Path

import pytest

from retail_assets import contracts, dbt_models
from retail_assets.dbt_models import DbtModelError

ORDERS = """
models:
  - name: orders
    description: One row per order and line.
    data_tests:
      - primary_key:
          arguments:
            columns: [order_id, line_no]
            nullable: [line_no]
    columns:
      - name: order_id
        data_type: varchar
        description: '{{ doc("core__transactions__invoice_no") }}'
      - name: line_no
        data_type: integer
        description: 'Line; {{ doc("by_hand") }}'
      - name: customer_id
        data_type: varchar
        description: Customer.
        data_tests:
          - not_null
          - relationships:
              arguments:
                to: ref('dim_customer')
                field: customer_id
      - name: invoice_month
        data_type: date
        description: Month.
        constraints: [{type: not_null, warn_unsupported: false}]
      - name: amount
        data_type: decimal(18,4)
        description: Pounds.
"""
DIM_CUSTOMER = """
models:
  - name: dim_customer
    description: One row per customer.
    data_tests:
      - primary_key:
          arguments:
            columns: [customer_id]
    columns:
      - name: customer_id
        data_type: varchar
        description: Customer.
"""


def project(folder: Path, **models: str) -> Path:
    for path, text in {"marts/texts.md": "{% docs by_hand %}by hand.{% enddocs %}", "sources.yml": "sources: []", **models}.items():
        (folder / "models" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / path).write_text(text, encoding="utf-8")
    return folder


def test_a_model_is_read_with_key_nulls_references_month_and_texts(tmp_path: Path) -> None:
    customers, orders = dbt_models.tables(project(tmp_path, **{"marts/orders.yml": ORDERS, "marts/dim_customer.yml": DIM_CUSTOMER}))
    assert (customers.full_name, customers.key, customers.month_column) == ("marts.dim_customer", ("customer_id",), None)
    assert (orders.full_name, orders.grain, orders.key) == ("marts.orders", "One row per order and line.", ("order_id", "line_no"))
    assert orders.month_column == "invoice_month"
    assert [(column.name, column.type, column.nullable, column.references) for column in orders.columns] == [
        ("order_id", "VARCHAR", False, ""),
        ("line_no", "INTEGER", True, ""),
        ("customer_id", "VARCHAR", False, "dim_customer.customer_id"),
        ("invoice_month", "DATE", False, ""),
        ("amount", "DECIMAL(18,4)", True, ""),
    ]
    assert orders["order_id"].comment == contracts.TRANSACTIONS["invoice_no"].comment
    assert orders["line_no"].comment == "Line; by hand."


def test_a_month_that_may_be_null_is_no_month_column(tmp_path: Path) -> None:
    nullable = ORDERS.replace("        constraints: [{type: not_null, warn_unsupported: false}]\n", "")
    [orders] = dbt_models.tables(project(tmp_path, **{"marts/orders.yml": nullable}))
    assert orders.month_column is None


def test_a_text_that_does_not_exist_is_named_with_its_place(tmp_path: Path) -> None:
    broken = ORDERS.replace("by_hand", "forgotten")
    with pytest.raises(DbtModelError, match=r"marts\.orders\.line_no refers to the docs block 'forgotten', which does not exist"):
        dbt_models.tables(project(tmp_path, **{"marts/orders.yml": broken}))


def test_a_model_without_a_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    keyless = DIM_CUSTOMER.replace("primary_key", "some_other_test")
    with pytest.raises(DbtModelError, match=r"marts\.dim_customer declares no key: give it the data test"):
        dbt_models.tables(project(tmp_path, **{"marts/dim_customer.yml": keyless}))
