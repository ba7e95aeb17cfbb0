"""The command `retail`: usage errors at once, and one whole run on a sample as a user would do it, in a process of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets import cli, summary
from retail_assets.cli import main
from retail_assets.lib import sample
from retail_assets.settings import Settings
from retail_assets_tests.homes import LINES, SEED, Done, Home, query, retail, retail_here, sample_home

pytestmark = pytest.mark.integration

MONTHS = 13
OTHER_VERSION = "20200101T000000.000000Z"
QUESTIONS = (Path(__file__).parents[1] / "docs" / "questions.md").read_text(encoding="utf-8").split("\n## ")[1:]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after a run of a small sample."""
    return sample_home(tmp_path_factory)


@pytest.fixture(scope="module")
def again(home: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A copy of the home after a second run, of one month, and what that run said."""
    path = Path(shutil.copytree(home.path, tmp_path_factory.mktemp("again") / "home", symlinks=True))
    return path, retail("run", "--home", path, "--months", "2011-03")


@pytest.fixture
def copied(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home to do harm to, up to date."""
    # Commands that ran in this process before have set it.
    monkeypatch.delenv("RETAIL_LANDING", raising=False)
    return Path(shutil.copytree(home.path, tmp_path / "home", symlinks=True))


@pytest.fixture
def published_twice(again: tuple[Path, Done], tmp_path: Path) -> Path:
    """A home to do harm to, after the run of one month."""
    return Path(shutil.copytree(again[0], tmp_path / "home", symlinks=True))


def test_a_run_exits_0_and_says_on_stdout_what_came_out(home: Home) -> None:
    assert home.run.returncode == 0, home.run.stderr
    assert f"{LINES:,}" in home.run.stdout
    assert "2010-12..2011-12" in home.run.stdout
    assert str(home.path / "serving" / "retail.duckdb") in home.run.stdout


def test_progress_on_stderr_names_steps_months_and_seconds(home: Home) -> None:
    assert "core/transactions" in home.run.stderr
    assert "2011-03: " in home.run.stderr
    assert "done in" in home.run.stderr
    assert "Traceback" not in home.run.stderr
    assert "Warning" not in home.run.stderr


def test_every_line_and_penny_of_every_month_is_accounted_for(home: Home) -> None:
    found = home.query(
        """
        with kept as (
            select invoice_month, amount from core.transactions union all select invoice_month, amount from core.quarantine
        )
        select invoice_month, count(*), sum(amount) from kept group by invoice_month order by invoice_month
        """
    )
    oracle = sample.generate(LINES, SEED).months.sort("invoice_month")
    assert [(month, count) for month, count, _ in found] == oracle.select("invoice_month", "line_count").rows()
    assert [amount for *_, amount in found] == oracle["amount"].to_list()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("raw.raw_transactions", "invoice_month"),
        ("core.transactions", "invoice_month"),
        ("features.customer_months", "invoice_month"),
        ("features.rfm_features", "snapshot_month"),
        ("segments.segment_model", "snapshot_month"),
        ("segments.customer_segments", "snapshot_month"),
        ("segments.segment_migration", "snapshot_month"),
        ("rules.product_recommendations", "snapshot_month"),
        ("marts.monthly_kpis", "invoice_month"),
    ],
)
def test_every_layer_has_every_month(home: Home, table: str, column: str) -> None:
    assert home.query(f"select count(distinct {column}) from {table}") == [(MONTHS,)]


def test_the_generated_dirt_is_found_again(home: Home) -> None:
    oracle = dict(sample.generate(LINES, SEED).dirt.select("kind", "line_count").rows())
    reasons: dict[object, object] = dict(home.query("select reason, count(*) from core.quarantine group by reason"))  # type: ignore[arg-type]
    assert reasons["non_product"] == oracle["non_product"]
    assert reasons["stock_adjustment"] == oracle["write_off"]


def test_every_check_passed_and_is_published(home: Home) -> None:
    assert home.query("select table_name, check_name, observed from marts.data_quality where not is_passed and severity = 'ERROR'") == []
    assert home.query("select count(*) > 100 from marts.data_quality") == [(True,)]


def test_every_published_table_and_column_is_described(home: Home) -> None:
    assert home.query("select table_name from duckdb_tables() where coalesce(comment, '') = ''") == []
    assert home.query("select table_name, column_name from duckdb_columns() where not internal and coalesce(comment, '') = ''") == []


def test_no_basket_holds_what_is_no_product(home: Home) -> None:
    assert home.query("select count(*) from core.transactions where stock_code in ('POST', 'DOT', 'M', 'BANK CHARGES', '23444', '22016')") == [(0,)]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.partition(".")[0])
def test_a_question_of_the_docs_is_answered_with_the_columns_it_promises(home: Home, question: str) -> None:
    [sql] = re.findall(r"```sql\n(.*?)```", question, re.DOTALL)
    [promised] = re.findall(r"^Columns: (.*)\.$", question, re.MULTILINE)
    with duckdb.connect(home.published, read_only=True) as reader:
        answer = reader.sql(sql)
        assert answer.columns == [name.strip("`") for name in promised.split(", ")]
        assert answer.fetchall() != []


def test_there_are_ten_questions() -> None:
    assert [question.partition(".")[0] for question in QUESTIONS] == [str(number) for number in range(1, 11)]


def test_every_mart_is_exported_with_all_its_rows(home: Home, tmp_path: Path) -> None:
    done = retail_here("export", "--home", home.path, "--out", tmp_path / "out", "--format", "csv")
    assert done.returncode == 0, done.stderr
    ((rows,),) = home.query("select count(*) from marts.fct_sales")
    with duckdb.connect() as reader:
        found = reader.execute("select count(*), sum(amount) from read_csv(?)", [str(tmp_path / "out" / "marts" / "fct_sales.csv")]).fetchall()
    assert [count for count, _ in found] == [rows]
    marts = {str(name) for (name,) in home.query("select table_name from duckdb_tables() where schema_name = 'marts'")}
    assert {path.stem for path in (tmp_path / "out" / "marts").iterdir()} == marts


def test_one_month_again_ends_in_identical_tables(home: Home, again: tuple[Path, Done]) -> None:
    path, done = again
    tables = [f"{schema}.{name}" for schema, name in home.query("select schema_name, table_name from duckdb_tables() where schema_name <> 'marts'")]

    def contents(path: Path) -> dict[str, pl.DataFrame]:
        with duckdb.connect(path / "serving" / "retail.duckdb", read_only=True) as reader:
            # A month that was published again stands behind the others.
            return {table: reader.sql(f"select * from {table} order by all").pl() for table in tables}

    assert done.returncode == 0, done.stderr
    assert query(path, "from marts.publication") != home.query("from marts.publication")
    before, after = contents(home.path), contents(path)
    assert [table for table in tables if not before[table].equals(after[table])] == []


def test_recommend_prints_what_to_show_beside_a_basket_with_reasons(home: Home) -> None:
    [(code, other)] = home.query(
        "select stock_code, recommended_stock_code from marts.product_recommendations "
        "where basis = 'together' and snapshot_month = date '2011-12-01' order by score desc, stock_code limit 1"
    )
    found = retail_here("recommend", "--home", home.path, str(code).lower(), "NONSENSE", "--shown", "3")
    assert found.returncode == 0, found.stderr
    beside, first, *more = found.stdout.splitlines()
    assert beside.startswith(f"Beside {code} ")
    assert "(as of 2011-12)" in beside
    assert first.startswith(f"  1. {other} ")
    assert f"bought together with {code}, score " in first
    assert len(more) == 2
    assert "left out: NONSENSE" in found.stderr


def test_recommend_says_what_it_cannot_find_and_exits_2(home: Home) -> None:
    [(best,)] = home.query(
        "select stock_code from marts.product_recommendations where snapshot_month = date '2011-12-01' and rank = 1 "
        "and basis = 'together' order by basket_count desc, stock_code limit 1"
    )
    for arguments, message in (
        (["NONSENSE"], f"No product sold up to 2011-12 has the code NONSENSE: codes stand in marts.dim_product, such as {best} and "),
        (["NONSENSE", "--month", "2031-01"], "No recommendations are published for 2031-01; published are 2010-12..2011-12"),
        (["NONSENSE", "--month", "2011-01:2011-02"], "is a range: give one month"),
        (["NONSENSE", "--shown", "0"], "no whole number above 0"),
    ):
        found = retail_here("recommend", "--home", home.path, *arguments)
        assert (found.returncode, found.stdout) == (2, "")
        assert message in found.stderr


def test_recommend_before_anything_is_published_says_what_to_do(tmp_path: Path) -> None:
    found = retail_here("recommend", "--home", tmp_path, "85123A")
    assert found.returncode == 1
    assert "`retail run` does it" in found.stderr


def test_publishing_before_anything_has_landed_says_what_to_do(home: Home) -> None:
    assert home.too_early.returncode == 1
    assert "published__retail: Nothing has landed" in home.too_early.stderr
    assert "`retail run`" in home.too_early.stderr


def test_a_run_without_changes_refreshes_nothing_and_says_so(copied: Path) -> None:
    before = query(copied, "select published_at from marts.publication")
    again = retail("run", "--home", copied)
    assert again.returncode == 0, again.stderr
    assert "nothing has changed since" in again.stdout
    assert query(copied, "select published_at from marts.publication") == before


def test_rollback_puts_the_first_publication_back(home: Home, published_twice: Path) -> None:
    newest = query(published_twice, "select published_at from marts.publication")
    assert retail("rollback", "--home", published_twice).returncode == 0
    assert query(published_twice, "select published_at from marts.publication") < newest
    assert query(published_twice, "from marts.publication") == home.query("from marts.publication")


def test_rollback_to_an_unknown_version_exits_1_and_lists_what_is_kept(published_twice: Path) -> None:
    kept = sorted(path.name for path in (published_twice / "serving" / "versions").iterdir())
    done = retail_here("rollback", "--home", published_twice, "--to", "yesterday")
    assert done.returncode == 1
    assert all(name in done.stderr for name in kept)
    assert len(kept) == 2
    for name in kept:
        assert retail_here("rollback", "--home", published_twice, "--to", name).returncode == 0
        assert (published_twice / "serving" / "retail.duckdb").resolve().parent.name == name


def test_a_file_that_is_replaced_by_half_of_it_keeps_what_it_was_and_the_refusal_is_published(copied: Path) -> None:
    """The upload broke off, and nothing else has changed: an analyst sees it in the data-quality results, and no line is gone."""

    def published(sql: str) -> list[tuple[object, ...]]:
        return query(copied, sql)

    month = sorted((copied / "landing").iterdir())[-1]
    lines = published("select count(*), sum(amount) from raw.raw_transactions")
    whole = month.read_bytes()
    month.write_bytes(whole[: whole.index(b"\n") // 2])
    done = retail("run", "--home", copied)
    assert (done.returncode, "What landed under this name before still counts." in done.stderr) == (1, True)
    assert f"1 file was refused; the rest was used:\n  {month.name}: " in done.stderr
    refused = f"select count(*) from raw.landed_files where file_name = '{month.name}' and status = 'refused'"
    failed = "select is_passed from marts.data_quality where check_name = 'no_file_refused'"
    assert (published("select count(*), sum(amount) from raw.raw_transactions"), published(refused), published(failed)) == (lines, [(1,)], [(False,)])
    month.write_bytes(whole)
    assert retail("run", "--home", copied).returncode == 0
    assert (published("select count(*), sum(amount) from raw.raw_transactions"), published(refused), published(failed)) == (lines, [(0,)], [(True,)])


def test_what_was_rolled_back_stays_until_there_is_news_and_a_run_says_so(published_twice: Path) -> None:
    link = published_twice / "serving" / "retail.duckdb"
    newest = link.readlink()
    assert retail_here("rollback", "--home", published_twice).returncode == 0
    put_back = link.readlink()
    again = retail("run", "--home", published_twice)
    assert (again.returncode, link.readlink()) == (0, put_back)
    assert f"Readers see the publication {put_back.parent.name}, which `retail rollback` put back, not {newest.parent.name}." in again.stdout
    assert retail("publish", "--home", published_twice).returncode == 0
    assert link.readlink() > newest


def test_a_month_without_lines_between_landed_ones_is_a_month(tmp_path: Path) -> None:
    sample.write(sample.generate(2_000, SEED), tmp_path / "landing")
    for file in (tmp_path / "landing").iterdir():
        if file.stem not in ("2010-12", "2011-02"):
            file.unlink()
    done = retail("run", "--home", tmp_path, "--months", "2010-12:2011-02")
    assert done.returncode == 0, done.stderr
    assert "Published 2010-12..2011-02; refreshed 2010-12..2011-02" in done.stdout
    outside = retail("run", "--home", tmp_path, "--months", "2011-02:2011-03")
    assert (outside.returncode, "There is no month 2011-03" in outside.stderr) == (2, True)
    report = retail("report", "--home", tmp_path, "--month", "2011-01")
    assert (report.returncode, report.stderr.split(",")[0]) == (2, "Nothing has landed for 2011-01")


def test_settings_say_which_of_the_landed_months_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.write(sample.generate(2_000, SEED), tmp_path / "landing")
    monkeypatch.setenv("RETAIL_FIRST_MONTH", "2011-01")
    monkeypatch.setenv("RETAIL_LAST_MONTH", "2011-02")
    done = retail("run", "--home", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Published 2011-01..2011-02; refreshed 2011-01..2011-02" in done.stdout
    assert "nothing has changed since" in retail("run", "--home", tmp_path).stdout
    outside = retail("run", "--home", tmp_path, "--months", "2011-03")
    assert (outside.returncode, "run from the first with landed lines to the last, 2011-01..2011-02" in outside.stderr) == (2, True)
    monkeypatch.setenv("RETAIL_LAST_MONTH", "2010-12")
    refused = retail("run", "--home", tmp_path)
    assert (refused.returncode, "must not be before RETAIL_FIRST_MONTH" in refused.stderr) == (2, True)
    monkeypatch.setenv("RETAIL_FIRST_MONTH", "2009-01")
    monkeypatch.setenv("RETAIL_LAST_MONTH", "2009-02")
    nothing = retail("run", "--home", tmp_path)
    assert (nothing.returncode, "leave none of the landed months, 2010-12..2011-12" in nothing.stderr) == (2, True)


def test_a_warehouse_held_by_another_process_is_named_and_leaves_exit_code_1(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_LOCK_TIMEOUT_SECONDS", "0.1")
    with duckdb.connect(copied / "warehouse" / "retail.duckdb"):
        done = retail("run", "--home", copied)
    assert done.returncode == 1
    assert "was held by another process" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--months", "March"], "no range of months"),
        (["run", "--months", "2011-03", "--all"], "not allowed with"),
        (["run", "--landing", "/does/not/exist"], "does not exist"),
        (["walk"], "invalid choice"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_exits_2_and_says_why(arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--home", str(tmp_path)] if arguments[:1] == ["run"] else arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_sample_is_written_and_too_small_a_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--lines", "2000", "--out", str(tmp_path / "a")]) == 0
    assert "2,000 lines" in capsys.readouterr().out
    assert main(["sample", "--lines", "1", "--out", str(tmp_path / "b")]) == 2


@pytest.mark.parametrize("command", [["verify"], ["report"], ["export", "--out", "exported"], ["recommend", "85123A"], ["run"]])
def test_whatever_opens_a_file_keeps_to_the_memory_limit_and_says_so(command: list[str], copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIL_MEMORY_LIMIT", "1MB")
    monkeypatch.chdir(copied)
    bounded = retail_here(*command, "--home", copied)
    assert bounded.returncode == 1
    assert "RETAIL_MEMORY_LIMIT is 1MB: raise it, then run again. (" in bounded.stderr
    assert "Traceback" not in bounded.stderr


def test_a_report_that_is_missing_is_written_though_nothing_else_is_to_do(copied: Path) -> None:
    report = copied / "reports" / "2011-12.html"
    text = report.read_text(encoding="utf-8")
    report.unlink()
    done = retail_here("run", "--home", copied)
    assert "nothing has changed since" in done.stdout
    assert report.read_text(encoding="utf-8") == text


def test_the_summary_of_a_shop_that_sold_nothing_yet_is_told_in_zeros(copied: Path) -> None:
    published = (copied / "serving" / "retail.duckdb").resolve()
    published.chmod(0o644)
    with duckdb.connect(published) as writer:
        writer.execute("delete from core.transactions")
        writer.execute("update raw.raw_transactions set amount = null")
    lines = summary.summarize(Settings(home=copied), [], 0.0).splitlines()
    assert [line.split("  ")[-1] for line in lines if " 0.00 GBP" in line][:2] == ["raw", "product sales and returns"]
    assert "\n            0              0.00 GBP  product sales" in "\n".join(lines)


@pytest.fixture
def rolled_back(copied: Path) -> Path:
    """A home whose readers see a version of other code: a column and a table of today are missing in it."""
    now = (copied / "serving" / "retail.duckdb").resolve().parent
    earlier = Path(shutil.copytree(now, now.with_name(OTHER_VERSION)))
    (earlier / "retail.duckdb").chmod(0o644)
    with duckdb.connect(earlier / "retail.duckdb") as writer:
        writer.execute("alter table marts.monthly_kpis drop column anonymous_share")
        writer.execute("drop table marts.association_rules")
        writer.execute("drop table marts.product_recommendations")
    return copied


def test_a_version_of_other_code_is_put_back_and_run_and_rollback_say_that_its_report_cannot_be_written(rolled_back: Path) -> None:
    back = retail("rollback", "--home", rolled_back, "--to", OTHER_VERSION)
    assert (back.returncode, back.stdout) == (0, f"Readers see the publication {OTHER_VERSION} again.\n")
    assert f"There is no report on it: The publication {OTHER_VERSION} was made by another version" in back.stderr
    again = retail("run", "--home", rolled_back)
    assert again.returncode == 0
    assert again.stderr.count(f"The publication {OTHER_VERSION} was made by another version") == 1, again.stderr
    for command in (["report"], ["recommend", "85123A"]):
        refused = retail(*command, "--home", rolled_back)
        assert (refused.returncode, "`retail publish` makes one anew" in refused.stderr) == (1, True)
    assert "Traceback" not in back.stderr + again.stderr


def test_no_sample_takes_the_place_of_what_was_published(copied: Path) -> None:
    shutil.rmtree(copied / "warehouse")
    shutil.rmtree(copied / "landing")
    published = (copied / "serving" / "retail.duckdb").readlink()
    refused = retail_here("run", "--home", copied)
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (1, "Nothing has landed: no file of the landing folder could be read.")
    assert (copied / "serving" / "retail.duckdb").readlink() == published
    assert list((copied / "landing").iterdir()) == []


def test_a_sample_whose_writing_was_cut_off_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_SAMPLE_LINES", LINES)
    landing = tmp_path / "landing"
    sample.write(sample.generate(LINES), landing)
    whole = {path.name: path.read_bytes() for path in landing.iterdir()}
    landing.rename(tmp_path / ".landing.next")
    for name in sorted(whole)[3:]:
        (tmp_path / ".landing.next" / name).unlink()
    landing.mkdir()
    cli._land_sample_if_empty(Settings(home=tmp_path))
    assert {path.name: path.read_bytes() for path in landing.iterdir()} == whole
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


LEAVES = """
import atexit, sys
from retail_assets.processes import leaving_at_once
leave = leaving_at_once()
class Kept:
    def __del__(self):
        print("taken apart")
kept = Kept()
atexit.register(print, "the last to be done")
print("done")
{end}
"""


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("leave(3)", 3, ["done", "the last to be done"]),
        ("leave(0)", 0, ["done", "the last to be done"]),
        ("raise OSError", 1, ["done", "the last to be done", "taken apart"]),
    ],
)
def test_a_process_that_leaves_at_once_does_what_is_to_be_done_at_the_end(end: str, code: int, said: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES.format(end=end)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.split("\n")[:-1]) == (code, said)
    assert ("OSError" in ended.stderr) == (end == "raise OSError")
