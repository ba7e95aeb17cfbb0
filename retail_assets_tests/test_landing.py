"""Which files count: by name and content, once, and replaced where they are landed again."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from retail_assets import landing, landing_checks, provenance
from retail_assets.landing import decide, land, write_months
from retail_assets.lib.landed import LandedFile
from retail_assets.partitions import landed_range
from retail_assets.settings import Settings

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
JANUARY = HEADER + "1,A,HEART,6,2011-01-04 08:26:00,2.55,17850.0,United Kingdom\n"
JANUARY_LATER = JANUARY + "2,B,STAR,1,2011-01-05 08:26:00,1.00,,United Kingdom\n"
FEBRUARY = HEADER + "3,A,HEART,1,2011-02-01 08:26:00,2.55,,United Kingdom\n"
FIRST, SECOND = datetime(2026, 1, 1), datetime(2026, 1, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


def lines(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
    return connection.execute(
        "select invoice_no, line_no from raw.landed_lines semi join (from raw.landed_files where status = 'landed') using (file_id) order by all"
    ).fetchall()


def statuses(report: landing.LandingReport) -> dict[str, str]:
    return {f"{file.file_name} {file.size_bytes}": file.status for file in report.files}


def test_files_are_landed_with_their_months_and_lines(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY)
    (folder / "below").mkdir()
    (folder / "below" / "february.csv").write_text(FEBRUARY)
    (folder / ".hidden.csv").write_text("not looked at")
    report = land(connection, folder, FIRST)
    assert [(file.file_name, file.status, file.months, file.line_count) for file in report.files] == [
        ("below/february.csv", "landed", (date(2011, 2, 1),), 1),
        ("january.csv", "landed", (date(2011, 1, 1),), 1),
    ]
    assert report.months == report.touched_months == (date(2011, 1, 1), date(2011, 2, 1))
    assert lines(connection) == [("1", 2), ("3", 2)]


def test_landing_again_reads_nothing_and_touches_nothing(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY)
    first = land(connection, folder, FIRST)
    second = land(connection, folder, SECOND)
    assert (second.touched_months, second.read_files) == ((), ())
    assert second.files == first.files


def test_the_same_content_under_two_names_counts_once(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY)
    (folder / "january (1).csv").write_text(JANUARY)
    report = land(connection, folder, FIRST)
    assert sorted(file.status for file in report.files) == ["duplicate", "landed"]
    assert lines(connection) == [("1", 2)]


def test_new_content_under_a_name_replaces_the_old_lines(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY)
    (folder / "february.csv").write_text(FEBRUARY)
    land(connection, folder, FIRST)
    (folder / "january.csv").write_text(JANUARY_LATER)
    report = land(connection, folder, SECOND)
    assert report.touched_months == (date(2011, 1, 1),)
    assert lines(connection) == [("1", 2), ("2", 3), ("3", 2)]
    assert sorted(file.status for file in report.files) == ["landed", "landed", "superseded"]


def test_an_earlier_content_can_come_back(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    for content in (JANUARY, JANUARY_LATER, JANUARY):
        (folder / "january.csv").write_text(content)
        report = land(connection, folder, FIRST)
    assert lines(connection) == [("1", 2)]
    assert report.touched_months == (date(2011, 1, 1),)


def test_a_file_that_was_taken_away_still_counts(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY)
    land(connection, folder, FIRST)
    (folder / "january.csv").unlink()
    assert land(connection, folder, SECOND).touched_months == ()
    assert lines(connection) == [("1", 2)]


def test_when_the_first_name_of_a_content_changes_its_content_the_second_name_takes_over(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "a.csv").write_text(JANUARY)
    (folder / "b.csv").write_text(JANUARY)
    land(connection, folder, FIRST)
    (folder / "a.csv").write_text(FEBRUARY)
    report = land(connection, folder, SECOND)
    assert {file.file_name: file.status for file in report.files if file.status != "superseded"} == {"a.csv": "landed", "b.csv": "landed"}
    assert lines(connection) == [("1", 2), ("3", 2)]
    assert report.touched_months == (date(2011, 2, 1),)


@pytest.mark.parametrize("second_name_comes", ["before", "with", "after"])
def test_a_content_keeps_its_lines_when_another_name_takes_over_whenever_that_came(
    folder: Path, connection: duckdb.DuckDBPyConnection, second_name_comes: str
) -> None:
    """`export.csv` is kept as `january.csv` and holds the next month now: whether that is seen in one landing or two, before or after."""
    (folder / "export.csv").write_text(JANUARY)
    land(connection, folder, FIRST)
    if second_name_comes == "before":
        (folder / "january.csv").write_text(JANUARY)
        land(connection, folder, FIRST)
    if second_name_comes == "with":
        (folder / "january.csv").write_text(JANUARY)
    (folder / "export.csv").write_text(FEBRUARY)
    report = land(connection, folder, SECOND)
    if second_name_comes == "after":
        assert (report.months, lines(connection)) == ((date(2011, 2, 1),), [("3", 2)])
        (folder / "january.csv").write_text(JANUARY)
        report = land(connection, folder, SECOND)
    assert {file.file_name: (file.months, file.line_count) for file in report.landed} == {
        "export.csv": ((date(2011, 2, 1),), 1),
        "january.csv": ((date(2011, 1, 1),), 1),
    }
    assert report.months == (date(2011, 1, 1), date(2011, 2, 1))
    assert lines(connection) == [("1", 2), ("3", 2)]
    assert [result.is_passed for result in landing_checks.ask(connection)] == [True, True]


@pytest.mark.parametrize("content", [b"", b"InvoiceNo,Sto", b"a,b\n1,2\n", b"PK\x03\x04"])
def test_new_content_that_cannot_be_read_replaces_nothing(folder: Path, connection: duckdb.DuckDBPyConnection, content: bytes) -> None:
    (folder / "january.csv").write_text(JANUARY)
    (folder / "february.csv").write_text(FEBRUARY)
    land(connection, folder, FIRST)
    (folder / "january.csv").write_bytes(content)
    for _ in range(2):
        report = land(connection, folder, SECOND)
        assert [(file.file_name, file.line_count) for file in report.landed] == [("february.csv", 1), ("january.csv", 1)]
        assert [file.file_name for file in report.refused] == ["january.csv"]
        assert str(report.refused[0].reason).endswith("What landed under this name before still counts.")
        assert (report.touched_months, lines(connection)) == ((), [("1", 2), ("3", 2)])
    (folder / "january.csv").write_text(JANUARY_LATER)
    report = land(connection, folder, SECOND)
    assert (report.refused, lines(connection)) == ((), [("1", 2), ("2", 3), ("3", 2)])


def test_a_content_that_cannot_be_read_is_refused_under_each_of_its_names(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("x,y\n1,2\n")
    refused = land(connection, folder, FIRST).refused
    assert [file.file_name for file in refused] == ["a.csv", "b.csv"]
    assert all("Columns are missing" in str(file.reason) for file in refused)


def test_lines_that_the_warehouse_has_lost_are_told_with_their_file(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY_LATER)
    (folder / "february.csv").write_text(FEBRUARY)
    land(connection, folder, FIRST)
    connection.execute("delete from raw.landed_lines where invoice_no in ('2', '3')")
    (lost,) = (result for result in landing_checks.ask(connection) if not result.is_passed)
    assert (lost.observed, lost.is_blocking) == ("february.csv: 0 of 1 | january.csv: 1 of 2", True)
    kept = connection.execute("select observed from quality.check_results where not is_passed").fetchall()
    assert kept == [(lost.observed,)]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("orders.pdf", b"%PDF", "Files of the kind '.pdf' are not read. Kinds that are: .csv"),
        ("empty.csv", b"", "is empty"),
        ("binary.csv", b"\x00\x01", "not text"),
        ("columns.csv", b"a,b\n1,2\n", "Columns are missing"),
        ("dates.csv", JANUARY.replace("2011-01-04", "3/4/2011").encode(), "Set RETAIL_DATE_ORDER"),
    ],
)
def test_a_refused_file_is_listed_with_its_reason_and_the_others_go_on(
    folder: Path, connection: duckdb.DuckDBPyConnection, name: str, content: bytes, complaint: str
) -> None:
    (folder / name).write_bytes(content)
    (folder / "february.csv").write_text(FEBRUARY)
    for seen_at in (FIRST, SECOND):
        report = land(connection, folder, seen_at)
        assert [file.file_name for file in report.refused] == [name]
        assert complaint in str(report.refused[0].reason)
        assert lines(connection) == [("3", 2)]
    (stored,) = connection.execute("select file_name, status, reason, line_count from raw.landed_files where status = 'refused'").fetchall()
    assert stored == (name, "refused", report.refused[0].reason, 0)


def test_a_refused_file_is_read_once_the_setting_that_its_reason_names_is_set(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "dates.csv").write_text(JANUARY.replace("2011-01-04", "3/4/2011"))
    assert "RETAIL_DATE_ORDER" in str(land(connection, folder, FIRST).refused[0].reason)
    report = land(connection, folder, SECOND, "month_first")
    assert (report.refused, report.months, report.files[0].landed_at) == ((), (date(2011, 3, 1),), FIRST)
    assert report.files[0].reason is None


def test_a_refused_file_that_is_taken_away_is_refused_no_longer(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "broken.csv").write_text("a,b\n1,2\n")
    assert len(land(connection, folder, FIRST).refused) == 1
    (folder / "broken.csv").unlink()
    report = land(connection, folder, SECOND)
    assert report.refused == ()
    assert [file.status for file in report.files] == ["superseded"]


def test_a_landing_that_fails_leaves_the_warehouse_as_it_was(
    folder: Path, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "january.csv").write_text(JANUARY)
    land(connection, folder, FIRST)
    (folder / "january.csv").write_text(JANUARY_LATER)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):

        def fail(*_: object) -> None:
            raise RuntimeError("power cut")

        patch.setattr(landing, "_frame", fail)
        land(connection, folder, SECOND)
    assert lines(connection) == [("1", 2)]
    assert land(connection, folder, SECOND).touched_months == (date(2011, 1, 1),)


def test_names_with_sql_and_escapes_are_data(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    hostile = "'; drop table raw.landed_files; --.csv"
    (folder / hostile).write_text(JANUARY)
    assert [file.file_name for file in land(connection, folder, FIRST).files] == [hostile]


def test_product_names_follow_the_files(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY_LATER)
    land(connection, folder, FIRST)
    (folder / "january.csv").write_text(JANUARY)
    land(connection, folder, SECOND)
    assert connection.execute("select stock_code, description, line_count from raw.product_names").fetchall() == [("A", "HEART", 1)]


def test_the_order_of_files_decides_nothing() -> None:
    files = [LandedFile(name, content, 1, FIRST) for name, content in (("a.csv", "x"), ("b.csv", "x"), ("c.csv", "y"))]
    assert decide([], files) == decide([], reversed(files))


def test_landed_months_are_noted_for_the_code_location(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert landed_range(settings) == (date(2010, 12, 1), date(2010, 11, 1))
    settings.months_path.parent.mkdir()
    write_months(settings.months_path, [date(2011, 2, 1), date(2011, 1, 1)])
    assert landed_range(settings) == (date(2011, 1, 1), date(2011, 2, 1))
    assert landed_range(Settings(home=tmp_path, last_month="2011-06")) == (date(2011, 1, 1), date(2011, 6, 1))
    assert landed_range(Settings(home=tmp_path, first_month="2011-06")) == (date(2011, 6, 1), date(2011, 5, 1)), "no month"


def test_a_month_outside_what_is_landed_leaves_every_table(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    def months() -> list[tuple[str, date | None]]:
        return connection.execute(
            "select 'core', invoice_month from core.returns union all select 'checks', invoice_month from quality.check_results order by all"
        ).fetchall()

    (folder / "sales.csv").write_text(JANUARY + FEBRUARY.removeprefix(HEADER))
    land(connection, folder, FIRST)
    for month in ("2011-01-01", "2011-02-01"):
        connection.execute(
            "insert into core.returns by name select 'C1/A' as return_id, 1 as match_no, $month::date as invoice_month, 'A' as stock_code, "
            "1 as quantity, 1 as amount, 'orphan' as match_status, false as is_left_censored, now()::timestamp as returned_at",
            {"month": month},
        )
        connection.execute("insert into quality.check_results values ('core.returns', 'a', $month, 'ERROR', false, '1', '0', '')", {"month": month})
    connection.execute("insert into quality.check_results values ('raw.landed_files', 'b', null, 'WARN', true, '0', '0', '')")
    (folder / "sales.csv").write_text(JANUARY)
    report = land(connection, folder, SECOND)
    assert report.months == (date(2011, 1, 1),)
    assert report.touched_months == (date(2011, 1, 1), date(2011, 2, 1))
    assert months() == [("checks", date(2011, 1, 1)), ("checks", None), ("core", date(2011, 1, 1))]


def test_when_the_last_month_is_gone_the_publication_and_the_month_that_looked_ahead_into_it_are_stale(
    folder: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    (folder / "december.csv").write_text(JANUARY.replace("2011-01", "2010-12"))
    (folder / "sales.csv").write_text(JANUARY + FEBRUARY.removeprefix(HEADER))
    land(connection, folder, FIRST)
    for month in (date(2010, 12, 1), date(2011, 1, 1), date(2011, 2, 1)):
        for table in ("core.returns", provenance.PUBLISHED):
            provenance.note(connection, [table], month, provenance.Origin("files", "settings", "0.0.1"))
    land(connection, folder, SECOND)
    assert len(provenance.built(connection)) == 6, "a landing that takes no month away leaves all notes"
    (folder / "sales.csv").write_text(JANUARY)
    land(connection, folder, SECOND)
    assert list(provenance.built(connection)) == [("core.returns", date(2010, 12, 1))]


def test_names_that_another_version_did_not_make_are_made_at_the_next_landing(folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
    (folder / "january.csv").write_text(JANUARY)
    land(connection, folder, FIRST)
    names = connection.execute("from raw.product_names").fetchall()
    assert names
    connection.execute("delete from raw.product_names")
    assert land(connection, folder, SECOND).touched_months == ()
    assert connection.execute("from raw.product_names").fetchall() == names
