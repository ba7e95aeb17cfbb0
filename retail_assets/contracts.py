"""What every table written by Python looks like: columns, types, comments, grain and key, in one place.

From here come the DDL and comments of the warehouse, the column schemas in the Dagster UI, the schema and key checks, the dbt sources and the
column texts that the marts inherit. Tables built by dbt (`marts`, `core.products`, `core.customers`) are declared in `dbt_sql/models/` instead.
No logic and no Dagster in here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import polars as pl

_POLARS_TYPES: dict[str, pl.DataType] = {
    "BIGINT": pl.Int64(),
    "BOOLEAN": pl.Boolean(),
    "DATE": pl.Date(),
    "DOUBLE": pl.Float64(),
    "INTEGER": pl.Int32(),
    "TIMESTAMP": pl.Datetime("us"),
    "VARCHAR": pl.String(),
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")

MONEY = "DECIMAL(18,4)"
"""Money is exact from end to end. Four decimals: unit prices of the real data have up to three."""


@dataclass(frozen=True)
class Column:
    """A column: name, DuckDB type, the comment a BI tool shows, whether it may be null, and the `table.column` its values are looked up in.

    `is_volatile` where it differs between runs on the same input, as a clock does: it is left out of the content hash of its table.
    """

    name: str
    type: str
    comment: str
    nullable: bool = False
    references: str = ""
    is_volatile: bool = False

    @property
    def polars_type(self) -> pl.DataType:
        """The polars type that stores this column without loss."""
        if self.type.endswith("[]"):
            return pl.List(Column(self.name, self.type[:-2], "").polars_type)
        if decimal := _DECIMAL.fullmatch(self.type):
            return pl.Decimal(int(decimal[1]), int(decimal[2]))
        return _POLARS_TYPES[self.type]


@dataclass(frozen=True)
class Table:
    """A table: where it stands, what one row is, its columns, its key, and the column that holds its month (if it has months)."""

    schema: str
    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    month_column: str | None = None
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name.update({column.name: column for column in self.columns})
        unknown = [name for name in (*self.key, *filter(None, [self.month_column])) if name not in self._by_name]
        if unknown:
            raise ValueError(f"{self.full_name}: key or month column not among the columns: {unknown}")

    @property
    def full_name(self) -> str:
        """`schema.name`, as SQL and people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def polars_schema(self) -> pl.Schema:
        """Column names and polars types, in order."""
        return pl.Schema({column.name: column.polars_type for column in self.columns})

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]


def _snapshot_month() -> Column:
    return Column("snapshot_month", "DATE", "First day of the month at whose end the snapshot was taken, from what was known then.")


def _invoice_month() -> Column:
    return Column("invoice_month", "DATE", "First day of the month of the line.")


def _customer_id() -> Column:
    return Column("customer_id", "VARCHAR", "Customer number as text, without blanks or decimals (`17850`).")


def _stock_code() -> Column:
    return Column("stock_code", "VARCHAR", "Product code in upper case; a letter suffix is a colour or pattern and makes a product of its own.")


_LINE_TEXT = (
    Column("invoice_no", "VARCHAR", "Invoice number as it came; `C` marks a credit note, `A` a bad-debt adjustment.", nullable=True),
    Column("stock_code", "VARCHAR", "Product code as it came.", nullable=True),
    Column("description", "VARCHAR", "Product text as it came.", nullable=True),
    Column("quantity", "VARCHAR", "Quantity as it came.", nullable=True),
    Column("invoice_date", "VARCHAR", "Date and time as it came.", nullable=True),
    Column("unit_price", "VARCHAR", "Unit price in pounds sterling as it came.", nullable=True),
    Column("customer_id", "VARCHAR", "Customer number as it came.", nullable=True),
    Column("country", "VARCHAR", "Country as it came.", nullable=True),
)
"""The eight fields of a line of the Online Retail family, untouched."""

_LINE_PARSED = (
    Column("parsed_quantity", "INTEGER", "Quantity read as a whole number; null where the text is none.", nullable=True),
    Column("parsed_unit_price", MONEY, "Unit price in pounds sterling read as a number; null where the text is none.", nullable=True),
    Column("parsed_invoiced_at", "TIMESTAMP", "Local shop time read from the date; null where the text is none.", nullable=True),
    Column("amount", MONEY, "Quantity times unit price in pounds sterling; null where either could not be read.", nullable=True),
)
"""What could be read from the text of a line."""

_FILE_ID = Column("file_id", "VARCHAR", "SHA-256 of the content of the file, in hexadecimal.")
_LINE_NO = Column(
    "line_no", "INTEGER", "Number of the line in its file, as an editor or a sheet counts; the header is line 1, later sheets and members count on."
)

LANDED_FILES = Table(
    schema="raw",
    name="landed_files",
    grain="One row per file name and content that ever lay in the landing folder.",
    key=("file_name", "file_id"),
    columns=(
        Column("file_name", "VARCHAR", "Name of the file below the landing folder."),
        _FILE_ID,
        Column("size_bytes", "BIGINT", "Size of the file in bytes."),
        Column(
            "status",
            "VARCHAR",
            "`landed` (its lines count), `duplicate` (same content as an earlier name), `superseded` (newer content came under its "
            "name, or it had been refused and is gone), `refused` (could not be read; see reason).",
        ),
        Column("reason", "VARCHAR", "Why the file was refused, and what to do.", nullable=True),
        Column("line_count", "BIGINT", "Lines below the header."),
        Column("months", "DATE[]", "First days of the months that have lines in the file."),
        Column("encoding", "VARCHAR", "Character encoding of a text file; several for an archive, null for xlsx and Parquet.", nullable=True),
        Column("date_format", "VARCHAR", "Date format decided from the whole column; several where parts of a file differ.", nullable=True),
        Column("landed_at", "TIMESTAMP", "When the pipeline first saw this content under this name, in UTC.", is_volatile=True),
    ),
)

LANDED_LINES = Table(
    schema="raw",
    name="landed_lines",
    grain="One row per line of every file content that was read; the source of raw.raw_transactions.",
    key=("file_id", "line_no"),
    month_column="invoice_month",
    columns=(_FILE_ID, _LINE_NO, _invoice_month(), *_LINE_TEXT, *_LINE_PARSED),
)

PRODUCT_NAMES = Table(
    schema="raw",
    name="product_names",
    grain="One row per month, product and text that stood beside its code; from these each product gets one name.",
    key=("invoice_month", "stock_code", "description"),
    month_column="invoice_month",
    columns=(
        _stock_code(),
        _invoice_month(),
        Column("description", "VARCHAR", "Text without blanks at its edges; null where the lines had none.", nullable=True),
        Column("line_count", "BIGINT", "Sale lines with a price that carry the text."),
        Column("unpriced_line_count", "BIGINT", "Other lines that carry the text."),
    ),
)

RAW_TRANSACTIONS = Table(
    schema="raw",
    name="raw_transactions",
    grain="One row per line of every landed file, as it came.",
    key=("file_id", "line_no"),
    month_column="invoice_month",
    columns=(
        Column("invoice_month", "DATE", "First day of the month of the line; a line without a readable date takes the month of the line before it."),
        _FILE_ID,
        Column("file_name", "VARCHAR", "Name of the file below the landing folder."),
        _LINE_NO,
        *_LINE_TEXT,
        *_LINE_PARSED,
    ),
)

TRANSACTIONS = Table(
    schema="core",
    name="transactions",
    grain="One row per line that sells a product or takes one back.",
    key=("transaction_id",),
    month_column="invoice_month",
    columns=(
        Column(
            "transaction_id",
            "VARCHAR",
            "Stable key made of content: day/invoice/product/quantity/unit price/occurrence among equal lines.",
        ),
        _invoice_month(),
        Column("invoice_no", "VARCHAR", "Invoice number; `C` marks a credit note. An invoice is a number within `invoice_month`."),
        Column("line_no", "INTEGER", "Position of the line within its invoice, in the order of time, product and transaction_id."),
        _stock_code(),
        Column("description", "VARCHAR", "Name of the product: one text per stock code, the commonest on priced lines of its first month."),
        Column("quantity", "INTEGER", "Units; negative on credit lines."),
        Column("unit_price", MONEY, "Price of one unit in pounds sterling."),
        Column("amount", MONEY, "quantity * unit_price in pounds sterling; negative on credit lines."),
        Column("invoiced_at", "TIMESTAMP", "Local shop time of the invoice, without zone."),
        Column("customer_id", "VARCHAR", "Customer number as text, without blanks or decimals (`17850`); null for anonymous sales.", nullable=True),
        Column("country", "VARCHAR", "Country of the invoice."),
        Column("is_return", "BOOLEAN", "The line is on a credit note and takes goods back."),
        Column("is_batch_order", "BOOLEAN", "The invoice batches many web-shop orders, and is therefore no basket of one shopper."),
    ),
)

QUARANTINE = Table(
    schema="core",
    name="quarantine",
    grain="One row per raw line that is neither a product sale nor a product return.",
    key=("file_id", "line_no"),
    month_column="invoice_month",
    columns=(
        _invoice_month(),
        Column("file_id", "VARCHAR", "SHA-256 of the content of the file, in hexadecimal."),
        Column("file_name", "VARCHAR", "Name of the file below the landing folder."),
        _LINE_NO,
        Column("reason", "VARCHAR", "Why the line is set aside, from a closed list."),
        *_LINE_TEXT,
        *_LINE_PARSED,
    ),
)

RETURNS = Table(
    schema="core",
    name="returns",
    grain="One row per credit line and sale line it reverses, plus one per credit line for what no sale explains.",
    key=("return_id", "match_no"),
    month_column="invoice_month",
    columns=(
        Column("return_id", "VARCHAR", "transaction_id of the credit line."),
        Column("match_no", "INTEGER", "1 for the latest sale that the credit line reverses, then counting up."),
        Column("invoice_month", "DATE", "First day of the month of the credit line: the month as first seen."),
        Column("sale_id", "VARCHAR", "transaction_id of the sale line; null for the part that no known sale explains.", nullable=True),
        Column("sale_month", "DATE", "First day of the month of the sale: the month that is restated.", nullable=True),
        Column("customer_id", "VARCHAR", "Customer number; null for anonymous returns, which match no sale.", nullable=True),
        _stock_code(),
        Column("quantity", "INTEGER", "Units taken back in this match, positive."),
        Column("amount", MONEY, "Pounds sterling credited for these units, positive, at the price of the credit note."),
        Column("match_status", "VARCHAR", "Of the whole credit line: `full`, `partial` or `orphan`."),
        Column(
            "is_left_censored",
            "BOOLEAN",
            "No known sale explains the units, but one before the data may: a credit note of a customer within 90 days of the first known month.",
        ),
        Column("returned_at", "TIMESTAMP", "Local shop time of the credit note."),
    ),
)

CUSTOMER_MONTHS = Table(
    schema="features",
    name="customer_months",
    grain="One row per identified customer and month with a sale or a return.",
    key=("invoice_month", "customer_id"),
    month_column="invoice_month",
    columns=(
        _invoice_month(),
        _customer_id(),
        Column("sale_invoice_count", "INTEGER", "Distinct sale invoices."),
        Column("sale_day_count", "INTEGER", "Distinct days with a sale."),
        Column("sale_line_count", "INTEGER", "Sale lines."),
        Column("units_sold", "BIGINT", "Units sold, before returns."),
        Column("gross_amount", MONEY, "Sales in pounds sterling, before returns."),
        Column("returned_amount", MONEY, "Pounds sterling credited in this month for sales known by then (matched returns), positive."),
        Column("orphan_amount", MONEY, "Pounds sterling credited in this month that no known sale explains, positive."),
        Column("first_sale_at", "TIMESTAMP", "First sale in the month; null in a month of returns only.", nullable=True),
        Column("last_sale_at", "TIMESTAMP", "Last sale in the month; null in a month of returns only.", nullable=True),
        Column("first_day_amount", MONEY, "Gross sales on the first sale day of the month, in pounds sterling; 0 in a month of returns only."),
        Column("country", "VARCHAR", "Country of the last sale in the month; null in a month of returns only.", nullable=True),
        Column("stock_codes", "VARCHAR[]", "Distinct products bought, sorted."),
    ),
)

RFM_FEATURES = Table(
    schema="features",
    name="rfm_features",
    grain="One row per snapshot month and customer who had bought by its end.",
    key=("snapshot_month", "customer_id"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        _customer_id(),
        Column("recency_days", "INTEGER", "Days from the last purchase to the last day of the snapshot month; 0 for a purchase on that day."),
        Column("frequency", "INTEGER", "Distinct sale invoices to date; with RETAIL_RFM_FREQUENCY=days, distinct days with a sale."),
        Column(
            "monetary",
            MONEY,
            "Sales to date in pounds sterling, net of matched returns; with RETAIL_RFM_AMOUNT=gross before returns, with RETAIL_RFM_MONETARY=mean "
            "per unit of frequency.",
        ),
        Column("tenure_days", "INTEGER", "Days from the first purchase to the last day of the snapshot month: T of CLV models."),
        Column("gross_amount", MONEY, "Sales to date in pounds sterling, before returns."),
        Column("returned_amount", MONEY, "Matched returns credited to date in pounds sterling, positive."),
        Column("net_amount", MONEY, "gross_amount - returned_amount in pounds sterling: what the customer is worth to date, whatever the settings."),
        Column("average_order_value", "DOUBLE", "net_amount / distinct sale invoices, in pounds sterling."),
        Column("distinct_products", "INTEGER", "Distinct products bought to date."),
        Column("return_rate", "DOUBLE", "Share of gross sales that came back as matched returns, 0 to 1."),
        Column("clv_frequency", "INTEGER", "Days with a sale after the first such day: frequency of lifetimes and pymc-marketing."),
        Column("clv_recency_days", "INTEGER", "Days from the first to the last day with a sale: recency of lifetimes and pymc-marketing."),
        Column(
            "clv_monetary_value",
            "DOUBLE",
            "Mean gross sales per day with a sale after the first such day, in pounds sterling; 0 without one: monetary_value of lifetimes and "
            "pymc-marketing.",
        ),
        Column("country", "VARCHAR", "Country of the last purchase."),
        Column("r_score", "INTEGER", "Recency score, 5 for the most recent; equal values score equally, see features.rfm_cut_points."),
        Column("f_score", "INTEGER", "Frequency score, 5 for the most frequent; equal values score equally, see features.rfm_cut_points."),
        Column("m_score", "INTEGER", "Monetary score, 5 for the highest; equal values score equally, see features.rfm_cut_points."),
        Column("rfm_segment", "VARCHAR", "Named segment of the recency and frequency scores, from the seed `rfm_segments`."),
        Column("previous_rfm_segment", "VARCHAR", "Named segment at the end of the month before; null for who was no customer then.", nullable=True),
        Column(
            "movement",
            "VARCHAR",
            "`new` (first purchase this month), `reactivated` (bought again after more than RETAIL_LAPSING_AFTER_DAYS), `retained` (last purchase "
            "within these days), `lapsing` (longer ago), `lost` (longer ago than RETAIL_LOST_AFTER_DAYS).",
        ),
    ),
)

RFM_CUT_POINTS = Table(
    schema="features",
    name="rfm_cut_points",
    grain="One row per snapshot month, metric and score that occurs.",
    key=("snapshot_month", "metric", "score"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("metric", "VARCHAR", "`recency_days`, `frequency` or `monetary`."),
        Column("score", "INTEGER", "Score from 1 to 5."),
        Column("method", "VARCHAR", "`quintiles` of the customers of the month, or `fixed` cut points from the seed `rfm_fixed_cut_points`."),
        Column("lowest", "DOUBLE", "Lowest value that got the score, inclusive."),
        Column("highest", "DOUBLE", "Highest value that got the score, inclusive."),
        Column("customer_count", "INTEGER", "Customers with the score."),
    ),
)

SEGMENT_MODEL = Table(
    schema="segments",
    name="segment_model",
    grain="One row per snapshot month, segment and feature: the model that assigns the customers of the month.",
    key=("snapshot_month", "segment_id", "feature"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("segment_id", "INTEGER", "Segment, aligned to the month before."),
        Column("feature", "VARCHAR", "Feature of features.rfm_features that was clustered."),
        Column("fitted_month", "DATE", "First day of the month whose customers the model was fitted on; an earlier one where it was kept."),
        Column("algorithm", "VARCHAR", "`kmeans`, `gmm` (Gaussian mixture) or `ward` (hierarchical)."),
        Column("k", "INTEGER", "Number of segments of the model."),
        Column("scaled_center", "DOUBLE", "Centroid on the scaled feature."),
        Column("center", "DOUBLE", "Centroid in the feature's own unit."),
        Column("variance", "DOUBLE", "Variance of the segment on the scaled feature that distances are divided by; 1 unless it is a mixture."),
        Column("weight", "DOUBLE", "Prior share of the segment that assignment starts from; equal unless it is a mixture."),
        Column("power", "DOUBLE", "Power of the Yeo-Johnson transform of the feature; 0 is log1p."),
        Column("scaler_mean", "DOUBLE", "Mean of the transformed feature that the scaler subtracts."),
        Column("scaler_scale", "DOUBLE", "Standard deviation of the transformed feature that the scaler divides by."),
        Column("seed", "INTEGER", "Random seed of the fit."),
    ),
)

SEGMENT_CANDIDATES = Table(
    schema="segments",
    name="segment_candidates",
    grain="One row per snapshot month and number of segments tried; none where the model of an earlier month was kept.",
    key=("snapshot_month", "k"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("k", "INTEGER", "Number of segments tried."),
        Column("is_chosen", "BOOLEAN", "The model of the month has this number of segments."),
        Column("silhouette", "DOUBLE", "Mean silhouette (Rousseeuw 1987), -1 to 1; higher is better separated."),
        Column("stability", "DOUBLE", "Mean adjusted Rand index between the fit and fits on bootstrap samples; 1 is perfectly stable."),
        Column("calinski_harabasz", "DOUBLE", "Variance ratio (Calinski and Harabasz 1974); higher is better."),
        Column("davies_bouldin", "DOUBLE", "Mean similarity of nearest clusters (Davies and Bouldin 1979); lower is better."),
        Column("inertia", "DOUBLE", "Sum of squared distances to the centroids on the scaled features."),
        Column("smallest_share", "DOUBLE", "Share of customers in the smallest segment, 0 to 1."),
    ),
)

SEGMENT_ALIGNMENT = Table(
    schema="segments",
    name="segment_alignment",
    grain="One row per snapshot month that has a month before it.",
    key=("snapshot_month",),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("previous_month", "DATE", "First day of the month the ids were aligned to."),
        Column("k", "INTEGER", "Number of segments of this month."),
        Column("previous_k", "INTEGER", "Number of segments of the month before."),
        Column("customer_count", "INTEGER", "Customers in both snapshots."),
        Column("raw_agreement", "DOUBLE", "Share of these whose id as fitted equals that of the month before, 0 to 1."),
        Column("aligned_agreement", "DOUBLE", "Share of these whose aligned id equals that of the month before, 0 to 1."),
    ),
)

SEGMENT_DRIFT = Table(
    schema="segments",
    name="segment_drift",
    grain="One row per snapshot month that has an earlier month to compare with, and measure.",
    key=("snapshot_month", "measure"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("measure", "VARCHAR", "Feature of features.rfm_features, or `segment_id` for the sizes of the segments."),
        Column("reference_month", "DATE", "First day of the month compared with: the one the model was fitted on if earlier, else the month before."),
        Column("psi", "DOUBLE", "Population stability index; below 0.1 stable, from 0.25 on the customers are others than those of the reference."),
        Column("bin_count", "INTEGER", "Bins compared: tenths of the reference, fewer where values tie, or the segments."),
    ),
)

CUSTOMER_SEGMENTS = Table(
    schema="segments",
    name="customer_segments",
    grain="One row per snapshot month and customer who had bought by its end.",
    key=("snapshot_month", "customer_id"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        _customer_id(),
        Column("segment_id", "INTEGER", "Segment; the id keeps its meaning from month to month."),
        Column("segment_name", "VARCHAR", "Name of the segment, from its profile against all customers of the month."),
        Column("distance", "DOUBLE", "Distance to the segment's centroid on the scaled features."),
        Column(
            "silhouette",
            "DOUBLE",
            "How much nearer the customer is to the own centroid than to the next one, -1 to 1: the simplified silhouette (Hruschka et al. 2004).",
        ),
        Column(
            "is_outlier", "BOOLEAN", "A feature lies more than 3 standard deviations from the mean, as of wholesalers; it counts as 3 in the fit."
        ),
    ),
)

SEGMENT_PROFILES = Table(
    schema="segments",
    name="segment_profiles",
    grain="One row per snapshot month and segment.",
    key=("snapshot_month", "segment_id"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("segment_id", "INTEGER", "Segment; the id keeps its meaning from month to month."),
        Column("segment_name", "VARCHAR", "Name of the segment, unique within the month."),
        Column("explanation", "VARCHAR", "What sets the segment apart: its rule and how well it holds, the features that matter, its medians."),
        Column("rule", "VARCHAR", "The segment in words and thresholds, from a shallow decision tree."),
        Column("rule_precision", "DOUBLE", "Share of the customers the rule fits who are in the segment, 0 to 1."),
        Column("rule_recall", "DOUBLE", "Share of the segment's customers the rule fits, 0 to 1."),
        Column("customer_count", "INTEGER", "Customers in the segment."),
        Column("customer_share", "DOUBLE", "Share of all customers, 0 to 1."),
        Column("outlier_count", "INTEGER", "Customers of the segment with is_outlier."),
        Column("net_amount", MONEY, "Net sales to date of the segment in pounds sterling."),
        Column("revenue_share", "DOUBLE", "Share of the net sales to date of all customers, 0 to 1.", nullable=True),
        Column("median_recency_days", "DOUBLE", "Median days since the last purchase."),
        Column("median_frequency", "DOUBLE", "Median RFM frequency."),
        Column("median_monetary", "DOUBLE", "Median RFM monetary in pounds sterling."),
        Column("recency_contribution", "DOUBLE", "Share of recency in what sets the segment apart from all customers, 0 to 1."),
        Column("frequency_contribution", "DOUBLE", "Share of frequency in what sets the segment apart from all customers, 0 to 1."),
        Column("monetary_contribution", "DOUBLE", "Share of spend in what sets the segment apart from all customers, 0 to 1."),
        Column("top_stock_codes", "VARCHAR[]", "Products that most customers of the segment have bought to date, most first."),
        Column("top_products", "VARCHAR[]", "Names of these products, in the same order."),
        Column("top_countries", "VARCHAR[]", "Countries of most customers of the segment, most first."),
        Column("mean_silhouette", "DOUBLE", "Mean simplified silhouette of the customers of the segment, -1 to 1."),
    ),
)

SEGMENT_MIGRATION = Table(
    schema="segments",
    name="segment_migration",
    grain="One row per snapshot month, segment before and segment now that share a customer.",
    key=("snapshot_month", "movement_id"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("movement_id", "VARCHAR", "`from>to` segment ids; `joined` stands for no segment before, `left` for none now."),
        Column("from_segment_id", "INTEGER", "Segment in the month before; null for customers who joined.", nullable=True),
        Column("from_segment_name", "VARCHAR", "Name of that segment then; null for customers who joined.", nullable=True),
        Column("to_segment_id", "INTEGER", "Segment now; null for customers who left.", nullable=True),
        Column("to_segment_name", "VARCHAR", "Name of that segment now; null for customers who left.", nullable=True),
        Column("customer_count", "INTEGER", "Customers who made this move."),
        Column("net_amount_before", MONEY, "Their net sales to date in the month before, in pounds sterling."),
        Column("net_amount", MONEY, "Their net sales to date now, in pounds sterling."),
    ),
)

FREQUENT_ITEMSETS = Table(
    schema="rules",
    name="frequent_itemsets",
    grain="One row per snapshot month and set of products bought together often enough.",
    key=("snapshot_month", "itemset"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("itemset", "VARCHAR[]", "Stock codes, sorted."),
        Column("item_count", "INTEGER", "Products in the set."),
        Column("count", "BIGINT", "Baskets that hold all of them."),
        Column("support", "DOUBLE", "count / baskets of the window, 0 to 1."),
        Column("total_basket_count", "BIGINT", "Baskets of the trailing window."),
        Column("is_closed", "BOOLEAN", "No larger set is in as many baskets: the counts of closed sets give those of all (Pasquier et al. 1999)."),
        Column("is_maximal", "BOOLEAN", "No larger set is frequent: frequent sets are the subsets of maximal ones (Bayardo 1998)."),
    ),
)

ASSOCIATION_RULES = Table(
    schema="rules",
    name="association_rules",
    grain="One row per snapshot month and rule antecedent => consequent.",
    key=("snapshot_month", "antecedent", "consequent"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("antecedent", "VARCHAR[]", "Stock codes in the basket, sorted."),
        Column("consequent", "VARCHAR[]", "Stock codes bought with them, sorted."),
        Column("antecedent_names", "VARCHAR[]", "Product names of the antecedent, in the order of the codes."),
        Column("consequent_names", "VARCHAR[]", "Product names of the consequent, in the order of the codes."),
        Column("basket_count", "BIGINT", "Baskets that hold antecedent and consequent."),
        Column("antecedent_count", "BIGINT", "Baskets that hold the antecedent."),
        Column("consequent_count", "BIGINT", "Baskets that hold the consequent."),
        Column("total_basket_count", "BIGINT", "Baskets of the trailing window."),
        Column("support", "DOUBLE", "Share of all baskets that hold both, 0 to 1."),
        Column("confidence", "DOUBLE", "Share of the antecedent's baskets that hold the consequent too, 0 to 1."),
        Column("lift", "DOUBLE", "confidence / share of all baskets with the consequent; 1 if independent (Brin et al. 1997)."),
        Column("leverage", "DOUBLE", "Support above that of independence (Piatetsky-Shapiro 1991)."),
        Column("conviction", "DOUBLE", "(1 - share of the consequent) / (1 - confidence); infinite at confidence 1 (Brin et al. 1997)."),
        Column("zhangs_metric", "DOUBLE", "Association from -1 to 1 (Zhang 2000)."),
        Column("jaccard", "DOUBLE", "Baskets with both / baskets with either, 0 to 1."),
        Column("expected_lift", "DOUBLE", "Lift that basket sizes alone would give: same basket sizes and item counts, else at random."),
        Column("q_value", "DOUBLE", "False discovery rate at which the rule exceeds expected_lift (Benjamini and Hochberg 1995)."),
        Column("is_redundant", "BOOLEAN", "A rule with a smaller antecedent predicts the consequent at least as well (Bayardo 1999)."),
        Column(
            "is_mirror", "BOOLEAN", "The rule read backwards is among the rules too and has the higher confidence: leave out to see each pair once."
        ),
        Column("has_variants", "BOOLEAN", "A product of each side are the same goods in another colour, pattern or size, by code or name."),
        Column("certainty", "DOUBLE", "(confidence - share of the consequent) / (1 - share of the consequent), up to 1 (Berzal et al. 2002)."),
        Column("cosine", "DOUBLE", "support / root of the product of both sides' shares, 0 to 1; not moved by baskets without either."),
        Column("kulczynski", "DOUBLE", "Mean of the confidences of the rule and of its mirror, 0 to 1 (Wu, Chen and Han 2010)."),
        Column("imbalance_ratio", "DOUBLE", "How unequally common the sides are: 0 equally, towards 1 very unequally (Wu, Chen and Han 2010)."),
        Column(
            "odds_ratio", "DOUBLE", "Odds of the consequent with the antecedent over those without; infinite where one never comes without the other."
        ),
        Column("phi", "DOUBLE", "Correlation of the two sides over all baskets, -1 to 1 (Yule 1912)."),
        Column("chi_squared", "DOUBLE", "Pearson's statistic of independence, one degree of freedom, no continuity correction."),
        Column("fisher_p_value", "DOUBLE", "Chance of as many joint baskets if independent (Fisher 1935); blind to basket sizes, see q_value."),
        Column("next_month_antecedent_count", "BIGINT", "Baskets of the next month with the antecedent; null until it has landed.", nullable=True),
        Column("next_month_support", "DOUBLE", "Support in the baskets of the next month as far as it has landed; null until then.", nullable=True),
        Column("next_month_confidence", "DOUBLE", "Confidence there; null also where no basket holds the antecedent.", nullable=True),
        Column("next_month_lift", "DOUBLE", "Lift there; null also where no basket holds one of the sides.", nullable=True),
    ),
)

GROUP_RULES = Table(
    schema="rules",
    name="group_rules",
    grain="One row per snapshot month, segment or country with enough baskets, and rule antecedent => consequent within it.",
    key=("snapshot_month", "group_kind", "group_name", "antecedent", "consequent"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("group_kind", "VARCHAR", "`segment` (of the customer in this snapshot) or `country` (of the invoice)."),
        Column("group_name", "VARCHAR", "Name of the segment or country."),
        Column("antecedent", "VARCHAR[]", "Stock codes in the basket, sorted."),
        Column("consequent", "VARCHAR[]", "Stock code bought with them."),
        Column("antecedent_names", "VARCHAR[]", "Product names of the antecedent, in the order of the codes."),
        Column("consequent_names", "VARCHAR[]", "Product name of the consequent."),
        Column("basket_count", "BIGINT", "Baskets of the group that hold antecedent and consequent."),
        Column("antecedent_count", "BIGINT", "Baskets of the group that hold the antecedent."),
        Column("consequent_count", "BIGINT", "Baskets of the group that hold the consequent."),
        Column("total_basket_count", "BIGINT", "Baskets of the group in the trailing window."),
        Column("support", "DOUBLE", "Share of the group's baskets that hold both, 0 to 1."),
        Column("confidence", "DOUBLE", "Share of the antecedent's baskets in the group that hold the consequent too, 0 to 1."),
        Column("lift", "DOUBLE", "Lift within the group; 1 if independent."),
        Column("everyone_lift", "DOUBLE", "Lift of the same rule over all baskets of the window."),
        Column("lift_difference", "DOUBLE", "lift - everyone_lift."),
        Column("lift_ratio", "DOUBLE", "lift / everyone_lift; above 1 where the group buys them together more than everyone."),
        Column(
            "lift_ratio_low",
            "DOUBLE",
            "Lower end of the 95% interval of lift_ratio (delta method on the logarithm). It holds for a rule named beforehand; of the rules found "
            "in a random group, up to 11% exclude 1: choose by difference_q_value.",
        ),
        Column("lift_ratio_high", "DOUBLE", "Upper end of the 95% interval of lift_ratio; see lift_ratio_low."),
        Column(
            "difference_q_value",
            "DOUBLE",
            "False discovery rate, over all rules frequent among everyone, of a lift_ratio other than 1 (Benjamini and Hochberg 1995); null for "
            "other rules, which were found in the baskets that would test them.",
            nullable=True,
        ),
    ),
)

PRODUCT_RECOMMENDATIONS = Table(
    schema="rules",
    name="product_recommendations",
    grain="One row per snapshot month, product sold or returned by its end and rank.",
    key=("snapshot_month", "stock_code", "rank"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        _stock_code(),
        Column("rank", "INTEGER", "1 for the first recommendation."),
        Column("recommended_stock_code", "VARCHAR", "Product to show beside it."),
        Column("basis", "VARCHAR", "Why: `together` (baskets that held both) or `popular` (in most baskets, where too few held both)."),
        Column("basket_count", "BIGINT", "Baskets that held both; for `popular`, baskets that held the recommended product."),
        Column("score", "DOUBLE", "Ranking score within the basis; higher is better."),
    ),
)

RECOMMENDATION_QUALITY = Table(
    schema="rules",
    name="recommendation_quality",
    grain="One row per snapshot month whose next month has landed, and number of recommendations shown.",
    key=("snapshot_month", "shown_count"),
    month_column="snapshot_month",
    columns=(
        _snapshot_month(),
        Column("shown_count", "INTEGER", "Recommendations shown beside a product, from the first on."),
        Column("line_count", "BIGINT", "Lines of the next month's baskets whose product has recommendations."),
        Column("hit_count", "BIGINT", "Lines whose basket also holds a product shown."),
        Column("hit_rate", "DOUBLE", "hit_count / line_count, 0 to 1."),
        Column("popular_hit_count", "BIGINT", "The same with the most popular products of the window shown beside every product."),
        Column("popular_hit_rate", "DOUBLE", "popular_hit_count / line_count, 0 to 1: what recommendations must beat."),
    ),
)

CHECK_RESULTS = Table(
    schema="quality",
    name="check_results",
    grain="One row per check and month it last ran on; month null for checks of a whole table.",
    key=("table_name", "check_name", "invoice_month"),
    month_column="invoice_month",
    columns=(
        Column("table_name", "VARCHAR", "Table that was checked, with its schema."),
        Column("check_name", "VARCHAR", "Name of the check in the Dagster UI."),
        Column("invoice_month", "DATE", "First day of the month that was checked; null for checks of a whole table.", nullable=True),
        Column("severity", "VARCHAR", "`ERROR` blocks the month, `WARN` reports."),
        Column("is_passed", "BOOLEAN", "The check found nothing wrong."),
        Column("observed", "VARCHAR", "What was found."),
        Column("expected", "VARCHAR", "What was expected."),
        Column("recovery", "VARCHAR", "What to do when the check fails.", nullable=True),
    ),
)

BUILT_MONTHS = Table(
    schema="quality",
    name="built_months",
    grain="One row per table and month that is built from the files landed then, and per month of the published file: what it was built from.",
    key=("table_name", "invoice_month"),
    month_column="invoice_month",
    columns=(
        Column("table_name", "VARCHAR", "Table with its schema; `published.retail` for the published file."),
        _invoice_month(),
        Column("files_hash", "VARCHAR", "Changes when other file contents count for the month or one before it."),
        Column("settings_hash", "VARCHAR", "Changes when a setting or a seed changes that tables are built from."),
        Column("code_version", "VARCHAR", "Version of retail_assets, and six digits that change with the modules that compute."),
    ),
)

WAREHOUSE_FORMAT = Table(
    schema="quality",
    name="warehouse_format",
    grain="One row: which format the warehouse has, so that an older version of retail_assets leaves a newer warehouse alone.",
    key=("format",),
    columns=(
        Column("format", "INTEGER", "Number of the format; a version of retail_assets refuses numbers above its own."),
        Column("code_version", "VARCHAR", "Version of retail_assets that brought the warehouse to this format."),
    ),
)

FORMAT = 1
"""The format that this code reads and writes. One more whenever code of before must not open the warehouse: when landed tables change."""

UNPUBLISHED_MONTHS = Table(
    schema="quality",
    name="unpublished_months",
    grain="One row per month of a table that was written after the last publication.",
    key=("table_name", "invoice_month"),
    columns=(
        Column("table_name", "VARCHAR", "Table with its schema."),
        Column("invoice_month", "DATE", "First day of the month."),
    ),
)

LAST_PUBLICATION = Table(
    schema="quality",
    name="last_publication",
    grain="One row: the published file that `quality.unpublished_months` speaks of, as it was left.",
    key=("version",),
    columns=(
        Column("version", "VARCHAR", "Name of the publication."),
        Column("code_hash", "VARCHAR", "That of `marts.publication`."),
        Column("duckdb_version", "VARCHAR", "Version of DuckDB that wrote the file."),
        Column("size_bytes", "BIGINT", "Size of the file."),
        Column("modified_ns", "BIGINT", "When the file was last written to, in nanoseconds since 1970: a client that wrote to it changed this."),
        Column("landed_files_hash", "VARCHAR", "Changes when a file lands, is refused or is taken away: SHA-256 of what raw.landed_files said."),
    ),
)

TABLES: tuple[Table, ...] = (
    LANDED_FILES,
    LANDED_LINES,
    PRODUCT_NAMES,
    RAW_TRANSACTIONS,
    TRANSACTIONS,
    QUARANTINE,
    RETURNS,
    CUSTOMER_MONTHS,
    RFM_FEATURES,
    RFM_CUT_POINTS,
    SEGMENT_MODEL,
    SEGMENT_CANDIDATES,
    SEGMENT_ALIGNMENT,
    SEGMENT_DRIFT,
    CUSTOMER_SEGMENTS,
    SEGMENT_PROFILES,
    SEGMENT_MIGRATION,
    FREQUENT_ITEMSETS,
    ASSOCIATION_RULES,
    PRODUCT_RECOMMENDATIONS,
    RECOMMENDATION_QUALITY,
    GROUP_RULES,
    CHECK_RESULTS,
    BUILT_MONTHS,
    WAREHOUSE_FORMAT,
    UNPUBLISHED_MONTHS,
    LAST_PUBLICATION,
)
"""Every table that Python writes, in the order of the flow."""

BUILT_TABLES: tuple[Table, ...] = tuple(
    table for table in TABLES if table.month_column and table.schema != "quality" and table not in (LANDED_LINES, PRODUCT_NAMES)
)
"""Tables that are built month by month from what has landed, and can be built again. The landing keeps the others up to date by itself."""

IRREPLACEABLE_TABLES: tuple[Table, ...] = (LANDED_FILES, LANDED_LINES)
"""Tables that nothing in the warehouse can be asked to make again: the files may be gone from the landing folder."""
