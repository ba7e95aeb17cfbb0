"""What users bring is data wherever it goes: texts and file names that a shell, SQL, HTML, a sheet or a terminal would act on reach the end harmless.

One whole run over a hostile landing folder, as a user starts it; then tables, report, exports, terminal and the bytes of the published file.
"""

import csv
import os
import re
import socket
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets.contracts import TRANSACTIONS
from retail_assets.export import FORMULA_STARTS
from retail_assets.lib import sample
from retail_assets.monthly import preview
from retail_assets.published_file import published_tables
from retail_assets.terminal import one_line, printable
from retail_assets_tests.fuzz.cases import HOSTILE_TEXTS
from retail_assets_tests.processes import BESIDE_PYTHON, run

pytestmark = pytest.mark.integration

LINES, SEED, LAST_MONTH = 2_500, 11, "2011-02"
USER = "mallory-the-operator"
NAMES = (
    "'; drop table core.transactions; --.csv",
    "<script>alert(1)<|script>.csv",
    "=cmd|' C calc'!A0.csv",
    "\x1b]0;pwned\x07\x1b[31m.csv",
    "two\nlines.csv",
    "\u202egnp.csv",
    "{{ 7 * 7 }}.csv",
    "[red]bold[|red].csv",
    "%s {0} $HOME `id`.csv",
    "-rf.csv",
)
"""Names of files that land: each holds one line."""

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What must not reach a terminal; a line break may."""


@dataclass(frozen=True)
class Home:
    """A home after a run over hostile files, and the texts that went in."""

    path: Path
    done: subprocess.CompletedProcess[str]
    descriptions: frozenset[str]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with duckdb.connect(self.path / "serving" / "retail.duckdb", read_only=True) as reader:
            return reader.execute(sql).fetchall()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The best selling products have hostile names, and so have some countries, customers and files; other files cannot be read at all."""
    path = tmp_path_factory.mktemp("operators-secret-place")
    landing = path / "landing"
    sample.write(sample.generate(LINES, SEED), landing)
    descriptions = _poison(landing)
    line = ["900001", "85123A", "WHITE HEART", "1", "2011-01-04 10:00:00", "2.55", "17850", "United Kingdom"]
    header = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    for number, name in enumerate(NAMES):
        _write(landing / name, [header, [str(900_001 + number), *line[1:]]])
    _write(landing / "\x1b[2Jrefused\n0 files were refused.csv", [["<script>", "\x1b]0;pwned\x07", "=1+1"], line])
    (landing / "broken.csv").write_text("a,b\n3,4\n")
    (landing / "passwd.csv").symlink_to("/etc/passwd")
    (landing / "loop.csv").symlink_to("loop.csv")
    (landing / "folder.csv").mkdir()
    Path(os.fsdecode(os.fsencode(landing) + b"/\xff\xfe.csv")).write_text("a,b\n1,2\n")
    done = run([BESIDE_PYTHON / "retail", "run"], path, USER=USER, LOGNAME=USER)
    return Home(path, done, descriptions)


def _poison(landing: Path) -> frozenset[str]:
    """Give the products that sell most a hostile name each; returns these names. A file with a null byte is refused, so that one is left out."""
    tables = {file: list(csv.reader(file.open(newline="", encoding="utf-8"))) for file in sorted(landing.iterdir()) if file.stem <= LAST_MONTH}
    for file in landing.iterdir():
        file.unlink()
    codes = Counter(row[1] for rows in tables.values() for row in rows[1:])
    names = dict(
        zip([code for code, _ in codes.most_common() if code[:5].isdecimal()], [text for text in HOSTILE_TEXTS if "\0" not in text], strict=False)
    )
    for number, (file, rows) in enumerate(tables.items()):
        for row in rows[1:]:
            row[2] = names.get(row[1], row[2])
        rows[1][7], rows[2][6] = HOSTILE_TEXTS[number % len(HOSTILE_TEXTS)], HOSTILE_TEXTS[(number + 1) % len(HOSTILE_TEXTS)]
        _write(file, rows)
    return frozenset(names.values())


def _write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows(rows)


def test_every_hostile_file_that_can_be_read_lands_and_the_others_are_refused_by_name(home: Home) -> None:
    assert home.done.returncode == 1, "files were refused"
    assert "Traceback" not in home.done.stderr
    statuses = {str(name): status for name, status in home.query("select file_name, status from raw.landed_files")}
    assert {name: statuses[name] for name in NAMES} == dict.fromkeys(NAMES, "landed")
    assert {name for name, status in statuses.items() if status == "refused"} == {
        "\x1b[2Jrefused\n0 files were refused.csv", "broken.csv", "passwd.csv", "loop.csv", "\\xff\\xfe.csv"
    }  # fmt: skip


def test_a_refused_file_leaves_exit_code_1_and_the_rest_published(home: Home) -> None:
    assert home.done.returncode == 1
    assert "broken.csv: Columns are missing" in home.done.stderr
    assert home.query("select count(*) > 0 from core.transactions") == [(True,)]
    assert home.query("select is_passed from marts.data_quality where check_name = 'no_file_refused'") == [(False,)]


def test_texts_stand_in_the_raw_tables_as_they_came(home: Home) -> None:
    found = {text for (text,) in home.query("select distinct description from raw.raw_transactions")}
    assert {text for text in home.descriptions if text.strip()} <= found
    assert home.query("select count(*) > 100 from core.transactions") == [(True,)], "no text was run as SQL"
    assert {f"{schema}.{name}" for schema, name in home.query("select schema_name, table_name from duckdb_tables()")} == {
        table.full_name for table in published_tables()
    }


def test_hostile_names_are_sold_bought_together_and_recommended_like_any_other(home: Home) -> None:
    names = {str(name) for (name,) in home.query("select description from core.products")}
    assert {"<script>alert(1)</script>", "=cmd|' /C calc'!A0", "{{ 7 * 7 }}{% raw %}", "'; drop table core.transactions; --"} <= names


def test_the_report_shows_texts_and_runs_none(home: Home) -> None:
    [report] = (home.path / "reports").glob("*.html")
    page = report.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert CONTROLS.search(page.replace("\t", "")) is None
    shown = [text for text in ("&lt;script&gt;alert(1)", "{{ 7 * 7 }}", "drop table core.transactions") if text in page]
    assert shown, "none of the names is in the report, so this test shows nothing"


def test_no_cell_of_a_csv_export_begins_like_a_formula_or_drives_a_terminal(home: Home, tmp_path: Path) -> None:
    done = run([BESIDE_PYTHON / "retail", "export", "--out", tmp_path / "out", "--format", "csv"], home.path)
    assert done.returncode == 0, done.stderr
    for file in (tmp_path / "out").rglob("*.csv"):
        table = next(table for table in published_tables() if table.full_name == f"{file.parent.name}.{file.stem}")
        texts = [at for at, column in enumerate(table.columns) if column.type == "VARCHAR"]
        with file.open(newline="", encoding="utf-8") as opened:
            cells = [row[at] for row in csv.reader(opened) for at in texts]
        assert [cell for cell in cells if cell.startswith(FORMULA_STARTS)] == []
        assert [cell for cell in cells if re.search(r"[\x07\x1b\x9b]", cell)] == []


def test_nothing_printed_drives_a_terminal_or_looks_like_a_line_of_ours(home: Home) -> None:
    for printed in (home.done.stdout, home.done.stderr):
        assert CONTROLS.search(printed) is None
    assert [line for line in home.done.stderr.splitlines() if line.startswith(("0 files", "lines.csv"))] == []
    assert "5 files were refused" in home.done.stderr


def test_no_file_outside_of_the_folder_was_read(home: Home) -> None:
    assert home.query("select count(*) from raw.landed_files where contains(reason, 'root:')") == [(0,)]
    assert "leads out of the landing folder" in home.done.stderr


def test_the_published_file_names_neither_the_machine_nor_its_user_nor_a_path_on_it(home: Home) -> None:
    published = (home.path / "serving" / "retail.duckdb").resolve()
    secrets = [
        text for text in (str(home.path), home.path.name, str(Path.home()) + "/", USER, socket.gethostname(), str(BESIDE_PYTHON)) if len(text) > 4
    ]
    content = published.read_bytes()
    assert [secret for secret in secrets if secret.encode() in content] == []
    # The file is compressed, so every text of every table, comment and view is looked at as well.
    for schema, table in home.query("select schema_name, table_name from duckdb_tables()"):
        texts = [str(row) for row in home.query(f'from "{schema}"."{table}"')]
        assert [secret for secret in secrets if any(secret in text for text in texts)] == [], f"{schema}.{table}"
    catalog = home.query(
        "select comment from duckdb_tables() union all select comment from duckdb_columns() union all select sql from duckdb_views()"
    )
    assert [secret for secret in secrets if any(secret in str(text) for text in catalog)] == []


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_a_preview_in_the_ui_shows_a_text_and_obeys_none(text: str) -> None:
    cell = preview(pl.DataFrame({"description": [text]})).splitlines()[-1]
    assert re.fullmatch(r"\| [^|<>`*_\[\]\\\n]* \|", cell), cell
    assert TRANSACTIONS.name not in cell or "drop" in text


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_what_is_printed_holds_no_control_character(text: str) -> None:
    assert CONTROLS.search(printable(text)) is None
    assert "\n" not in one_line(text)
    assert len(one_line(text)) == len(text), "each letter is shown, or shown to be hidden"
