"""The usual notebook on Online Retail as one script: what most published analyses do, with pandas, scikit-learn and mlxtend.

Reads the workbook (or CSV files), drops lines without customer and credit notes, computes RFM at the end of the data, tries k-means for k from 2 to
10 on the unscaled features by silhouette, and mines the baskets with mlxtend. One snapshot, no checks, nothing stored but three CSV files.
Measured by `whole.py`; not a model of how to do it: docs/customers.md says what goes wrong.

Run: `python benchmarks/notebook.py FILE.xlsx|FOLDER OUT`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from mlxtend.frequent_patterns import association_rules, fpgrowth
from mlxtend.preprocessing import TransactionEncoder
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

MIN_SUPPORT, MAX_LENGTH, MIN_CONFIDENCE = 0.01, 4, 0.2
"""As in the settings of retail_assets."""


def main(source: Path, out: Path) -> None:
    """Read, clean, segment, mine, write."""
    lines = read(source)
    rfm = segmented(rfm_of(sales_of(lines)))
    rfm.to_csv(out / "customers.csv")
    rfm.groupby("Segment").mean().to_csv(out / "segments.csv")
    rules_of(lines).to_csv(out / "rules.csv")


def read(source: Path) -> pd.DataFrame:
    """The lines of the workbook, or of all CSV files of a folder."""
    if source.is_dir():
        return pd.concat([pd.read_csv(path, parse_dates=["InvoiceDate"], dtype={"InvoiceNo": str}) for path in sorted(source.glob("*.csv"))])
    return pd.read_excel(source, engine="openpyxl")


def sales_of(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines that count for a notebook: with a customer, sold and not taken back."""
    sales = lines[lines["CustomerID"].notna() & ~lines["InvoiceNo"].astype(str).str.startswith("C") & (lines["Quantity"] > 0)].copy()
    sales["Amount"] = sales["Quantity"] * sales["UnitPrice"]
    return sales


def rfm_of(sales: pd.DataFrame) -> pd.DataFrame:
    """Recency, frequency and monetary value per customer."""
    end = sales["InvoiceDate"].max() + pd.Timedelta(days=1)
    return sales.groupby("CustomerID").agg(
        Recency=("InvoiceDate", lambda dates: (end - dates.max()).days), Frequency=("InvoiceNo", "nunique"), Monetary=("Amount", "sum")
    )


def segmented(rfm: pd.DataFrame) -> pd.DataFrame:
    """The customers with the labels of the k that has the best silhouette."""
    fits = {k: KMeans(n_clusters=k, n_init=10, random_state=0).fit(rfm) for k in range(2, 11)}
    best = max(fits, key=lambda k: silhouette_score(rfm, fits[k].labels_))
    return rfm.assign(Segment=fits[best].labels_)


def rules_of(lines: pd.DataFrame) -> pd.DataFrame:
    """Rules over the baskets of all sale invoices."""
    sales = lines[~lines["InvoiceNo"].astype(str).str.startswith("C") & (lines["Quantity"] > 0)]
    baskets = sales.groupby("InvoiceNo")["StockCode"].apply(lambda codes: sorted(set(codes.astype(str)))).tolist()
    encoder = TransactionEncoder()
    table = pd.DataFrame.sparse.from_spmatrix(encoder.fit_transform(baskets, sparse=True), columns=encoder.columns_)
    itemsets = fpgrowth(table, min_support=MIN_SUPPORT, use_colnames=True, max_len=MAX_LENGTH)
    return association_rules(itemsets, metric="confidence", min_threshold=MIN_CONFIDENCE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
