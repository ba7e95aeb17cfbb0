"""The kinds of dirt: one definition for the generator, its users and its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retail_assets.lib.sample._catalogue import NON_PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Mapping

UNPARSEABLE = {"InvoiceDate": "unparseable_date", "Quantity": "unparseable_quantity", "UnitPrice": "unparseable_price"}

KINDS: Mapping[str, str] = {
    "alphabetic_product": "Lines on goods whose code is made of letters: `PADS` and codes starting with `DCGS`.",
    "alternative_description": "Product lines at a price above 0 whose text, without blanks at its edges, is not the commonest of the "
    "upper-cased code among these lines.",
    "bad_debt": "Lines on invoices starting with `A`.",
    "batch_order": "Lines on invoices that hold a `DOT` line, that line included.",
    "country_eire": "Lines of country `EIRE`.",
    "country_european_community": "Lines of country `European Community`.",
    "country_hong_kong": "Lines of country `Hong Kong`; none has a customer.",
    "country_rsa": "Lines of country `RSA`.",
    "country_unspecified": "Lines of country `Unspecified`.",
    "credit_full": "Product lines on `C` invoices whose quantity is that of the latest earlier sale line of the same customer and product "
    "(code in upper case, price above 0); credits of huge sales included.",
    "credit_in_later_month": "Product lines on `C` invoices whose latest earlier sale line of the same customer and product is of an earlier month.",
    "credit_note": "Lines on invoices starting with `C`, fees included.",
    "credit_over_several_sales": "As `credit_full`, but the quantity is that of the two latest earlier sale lines together.",
    "credit_partial": "As `credit_full`, but the quantity is less than that of the latest earlier sale line.",
    "credit_without_customer": "Product lines on `C` invoices without a customer.",
    "credit_without_sale": "Product lines on `C` invoices with a customer who never bought the product in the sample.",
    "description_with_apostrophe": "Lines whose description holds an apostrophe.",
    "description_with_comma": "Lines whose description holds a comma.",
    "description_with_edge_blanks": "Lines whose description starts or ends with a blank.",
    "description_with_pound_sign": "Lines whose description holds a pound sign.",
    "description_with_quote": "Lines whose description holds a double quote.",
    "exact_duplicate": "Lines equal to an earlier line in all eight columns, beyond the first.",
    "huge_sale": "Sale lines of 70,000 units and more, cancelled within the same hour.",
    "huge_sale_credit": "The credit lines of the huge sales.",
    "lower_case_code": "Product lines with a lower-case letter in the code; the code in upper case occurs as well.",
    "missing_description": "Lines without a description; all are at price 0 and without a customer.",
    "no_customer": "Lines without a customer.",
    "non_product": "Lines on any code that is no product: the codes of the kinds `non_product:<code>` together.",
    **{f"non_product:{code}": f"Lines on code `{code}`, in exactly this spelling." for code in NON_PRODUCTS},
    "shared_description": "Product lines at a price above 0 whose text, without blanks at its edges, stands on such lines of more than "
    "one upper-cased code.",
    "stock_found": "Lines at price 0 without a customer and with a quantity above 0.",
    "two_countries": "Lines of customers who have more than one country.",
    "two_timestamps": "Lines on invoices with more than one time; the times are a minute apart.",
    "unparseable_date": "Lines whose date is no date; of a third of the lines asked to be unparseable. Quantity and price can be read.",
    "unparseable_price": "Lines whose price is no number. Their amount counts as 0.",
    "unparseable_quantity": "Lines whose quantity is no number. Their amount counts as 0.",
    "warehouse_note": "Lines whose description is a remark of the warehouse (such as `check`, `?`, `damaged`); all are at price 0 and "
    "without a customer.",
    "write_off": "Lines with a quantity below 0 that are not on a `C` invoice; all are at price 0 and without a customer.",
    "zero_price": "Lines at price 0.",
    "zero_price_gift": "Lines at price 0 with a customer.",
}
"""What each kind of dirt counts. Kinds overlap: a fee on a credit note is in `non_product` and in `credit_note`. Product lines are those of codes
without a `non_product:<code>`. Unparseable lines are drawn from lines that no other kind counts, and are left out of the comparisons of these."""
