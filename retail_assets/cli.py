"""The command `retail`. Progress goes to stderr, results to stdout.

Exit codes: 0 done; 1 a blocking check failed, a file was refused or nothing is published yet, with what to do; 2 wrong usage.
Imports stand inside the commands, so that `retail --help` and wrong usage answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from retail_assets import months as m
from retail_assets import remedies
from retail_assets.processes import collect_seldom, leaving_at_once
from retail_assets.settings import Settings, SettingsError
from retail_assets.terminal import one_line, printable

if TYPE_CHECKING:
    from retail_assets.landing import LandingReport

_DONE, _ATTENTION, _USAGE = 0, 1, 2
_SAMPLE_LINES, _SAMPLE_MONTHS = 50_000, 13


def program() -> None:
    """The program: run the command of the command line, and leave."""
    collect_seldom()
    leave = leaving_at_once()
    leave(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except SettingsError as error:
        parser.error(str(error))
    except (Exception, KeyboardInterrupt) as error:
        # What people can mend is told in words; anything else is a fault of ours, and its traceback is wanted.
        if (advice := remedies.advice(error)) is None:
            raise
        _say(advice)
        return _ATTENTION


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="retail", description="Customer segments and market baskets from raw retail transactions.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    at_home = argparse.ArgumentParser(add_help=False)
    at_home.add_argument("--home", type=Path, metavar="DIR", help="folder of everything that is written (default: RETAIL_HOME or ./data)")

    run = commands.add_parser("run", parents=[at_home], help="land files, refresh months, publish")
    run.add_argument("--landing", type=Path, metavar="DIR", help="folder of the files to read (default: HOME/landing)")
    which = run.add_mutually_exclusive_group()
    which.add_argument(
        "--months",
        type=_months,
        metavar="MONTHS",
        help="2011-03 or 2011-01:2011-03, and before them what they build on (default: from the first changed month on)",
    )
    which.add_argument("--all", action="store_true", help="every month from the first landed one to the last, changed or not")
    run.add_argument("--engine", choices=("duckdb", "spark"), help="what works on the lines (default: RETAIL_ENGINE or duckdb)")
    run.set_defaults(command=_run)

    sample = commands.add_parser("sample", help="write a generated sample, for trying things out")
    sample.add_argument("--lines", type=int, default=_SAMPLE_LINES, help=f"number of lines (default: {_SAMPLE_LINES})")
    sample.add_argument("--seed", type=int, default=1, help="random seed (default: 1)")
    sample.add_argument("--months", type=_positive, default=_SAMPLE_MONTHS, metavar="N", help="months from 2010-12 on (default: %(default)s)")
    sample.add_argument(
        "--format",
        choices=("csv", "parquet"),
        help="CSV or Parquet files by month (default: CSV; Parquet above a million lines or for other months than 13, piece by piece)",
    )
    sample.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    sample.set_defaults(command=_sample)

    fetch = commands.add_parser("fetch", parents=[at_home], help="download the real data from UCI, checked by hash")
    fetch.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: the landing folder)")
    fetch.set_defaults(command=_fetch)

    recommend = commands.add_parser("recommend", parents=[at_home], help="what to show beside the products of a basket, from the published file")
    recommend.add_argument("codes", nargs="+", metavar="CODE", help="stock codes of the basket, such as 85123A 22423")
    recommend.add_argument("--month", type=_month, metavar="MONTH", help="snapshot to read, such as 2011-11 (default: the last published)")
    recommend.add_argument("--shown", type=_positive, default=5, metavar="N", help="products to show (default: 5)")
    recommend.set_defaults(command=_recommend)

    commands.add_parser("publish", parents=[at_home], help="publish what stands in the warehouse").set_defaults(command=_publish)
    rollback = commands.add_parser("rollback", parents=[at_home], help="put an earlier publication back")
    rollback.add_argument("--to", metavar="VERSION", help="name of the version (default: the one before the current)")
    rollback.set_defaults(command=_rollback)
    verify = commands.add_parser("verify", parents=[at_home], help="compute the hash of every published table again")
    verify.add_argument("--file", type=Path, metavar="FILE", help="published file to verify (default: the current one)")
    verify.set_defaults(command=_verify)
    export = commands.add_parser("export", parents=[at_home], help="write published tables as Parquet or CSV")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; an earlier export in it is replaced")
    export.add_argument("--format", choices=("parquet", "csv"), default="parquet", help="Parquet by month, or CSV (default: %(default)s)")
    export.add_argument("--tables", nargs="+", metavar="TABLE", help="tables such as marts.fct_sales or fct_sales (default: all of marts)")
    export.set_defaults(command=_export)
    report = commands.add_parser("report", parents=[at_home], help="write the report on a published month, one HTML file")
    report.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: HOME/reports/MONTH.html)")
    report.add_argument("--month", type=_month, metavar="MONTH", help="published month such as 2011-11 (default: the last one)")
    report.set_defaults(command=_report)
    commands.add_parser("home", parents=[at_home], help="make the folders and print Dagster's home").set_defaults(command=_home)
    return parser


def _months(text: str) -> list[date]:
    try:
        return m.parse_range(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _month(text: str) -> date:
    months = _months(text)
    if len(months) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is a range: give one month, such as 2011-11.")
    return months[0]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0.")
    return int(text)


def _settings(options: argparse.Namespace) -> Settings:
    """The settings, with what the command line says over the environment; the environment of child processes follows."""
    from retail_assets import home  # noqa: PLC0415

    for name in ("home", "landing"):
        if value := getattr(options, name, None):
            os.environ[f"RETAIL_{name.upper()}"] = str(value.absolute())
    if engine := getattr(options, "engine", None):
        os.environ["RETAIL_ENGINE"] = engine
    settings = Settings.from_environment()
    if settings.landing and not settings.landing.is_dir():
        raise SettingsError(f"The landing folder {settings.landing} does not exist.")
    home.prepare(settings)
    return settings


def _run(options: argparse.Namespace) -> int:
    from retail_assets import run_lock  # noqa: PLC0415

    settings = _settings(options)
    with run_lock.held(settings, "retail run", _say) as was_killed:
        return _refresh(options, settings, was_killed=was_killed)


def _refresh(options: argparse.Namespace, settings: Settings, *, was_killed: bool) -> int:
    from retail_assets import pipeline, run_lock, summary  # noqa: PLC0415
    from retail_assets import report as page  # noqa: PLC0415
    from retail_assets.reading import OtherVersionError  # noqa: PLC0415

    started = time.monotonic()
    _land_sample_if_empty(settings)
    arrivals = pipeline.land(settings)
    report, pending = arrivals.report, arrivals.pending
    if not report.months:
        _say("Nothing has landed: no file of the landing folder could be read.", *_refusals(report))
        return _ATTENTION
    landed = settings.existing_months(report.months[0], report.months[-1])
    if not landed:
        raise SettingsError(
            f"RETAIL_FIRST_MONTH and RETAIL_LAST_MONTH leave none of the landed months, {m.window_label(list(report.months))}: widen or unset them."
        )
    if options.months and (unknown := [m.label(month) for month in options.months if month not in landed]):
        _say(f"There is no month {', '.join(unknown)}: months run from the first with landed lines to the last, {m.window_label(landed)}.")
        return _USAGE
    months = _with_months_before(options.months, pending) if options.months else landed if options.all else pending
    complaints: list[str] = []
    if months or not arrivals.is_published:
        succeeded, failures = pipeline.refresh(settings, months, report.line_count) if months else pipeline.publish(settings)
        if not succeeded:
            _say("Not finished. What failed, and what to do:", *(f"  {failure}" for failure in failures), *_refusals(report))
            return _ATTENTION
    else:
        if was_killed or run_lock.killed_runs(settings):
            pipeline.end_killed_runs(settings)
        if not page.is_current(settings, landed[-1]):
            with _told(page.ReportError, complaints):
                page.write(settings)
    with _told(OtherVersionError, complaints):
        print(summary.summarize(settings, months, time.monotonic() - started))  # noqa: T201
    if complaints or report.refused:
        # What keeps the report from being written keeps the summary too, where both complain.
        _say(*complaints[:1], *_refusals(report))
    return _ATTENTION if report.refused else _DONE


@contextlib.contextmanager
def _told(kind: type[Exception], complaints: list[str]) -> Iterator[None]:
    """Errors of a kind are told at the end, and what comes after the block goes on."""
    try:
        yield
    except kind as error:
        complaints.append(str(error))


def _with_months_before(wanted: list[date], pending: list[date]) -> list[date]:
    """The months asked for, from the first one before them that is not up to date: months build on the ones before."""
    first = min([*pending, wanted[0]])
    if first < wanted[0]:
        _say(f"From {m.label(first)} on: months build on the ones before them, and these are not up to date.")
    return m.window(first, wanted[-1])


def _land_sample_if_empty(settings: Settings) -> None:
    """The sample, whole or not at all: a part of it would be taken for the user's files. Never where anything was landed or published before."""
    from retail_assets import publication  # noqa: PLC0415
    from retail_assets.lib import sample  # noqa: PLC0415

    if settings.landing or any(settings.landing_dir.iterdir()) or settings.warehouse_path.exists() or publication.current(settings):
        return
    _say(f"{settings.landing_dir} is empty: landing a generated sample of {_SAMPLE_LINES:,} lines. Put your own files there to replace it.")
    aside = settings.landing_dir.with_name(".landing.next")
    sample.write(sample.generate(_SAMPLE_LINES), aside)
    try:
        aside.replace(settings.landing_dir)
    except OSError:
        # A folder that is mounted cannot be replaced.
        shutil.copytree(aside, settings.landing_dir, dirs_exist_ok=True)
        shutil.rmtree(aside)


def _sample(options: argparse.Namespace) -> int:
    from retail_assets.lib import sample  # noqa: PLC0415

    is_large = options.lines > sample.PIECE_LINES or options.months != _SAMPLE_MONTHS
    if is_large and options.format == "csv":
        _say(f"CSV is written up to {sample.PIECE_LINES:,} lines of {_SAMPLE_MONTHS} months. Leave out --format for Parquet.")
        return _USAGE
    try:
        if is_large or options.format == "parquet":
            paths = sample.write_history(options.out, options.lines, options.seed, options.months)
        else:
            paths = sample.write(sample.generate(options.lines, options.seed), options.out)
    except (ValueError, FileExistsError) as error:
        _say(str(error))
        return _USAGE
    print(f"{options.lines:,} lines in {len(paths)} files in {options.out}")  # noqa: T201
    return _DONE


def _fetch(options: argparse.Namespace) -> int:
    from retail_assets import fetch  # noqa: PLC0415

    out = options.out or _settings(options).landing_dir
    try:
        fetched = fetch.fetch(out, fetch.ONLINE_RETAIL)
    except fetch.FetchError as error:
        _say(str(error))
        return _ATTENTION
    if not fetched.is_new:
        _say("Already there, nothing was downloaded.")
    if any(path != fetched.path and not path.name.startswith(".") for path in out.iterdir()):
        _say(f"{out} holds other files too, and they land as well: take a generated sample out before you run.")
    print(fetched.path)  # noqa: T201
    return _DONE


def _recommend(options: argparse.Namespace) -> int:
    from retail_assets import lookup, publication  # noqa: PLC0415

    try:
        found = lookup.recommend(_settings(options), options.codes, options.month, options.shown)
    except lookup.LookupRefusedError as error:
        _say(str(error))
        return _USAGE
    except publication.NothingPublishedError as error:
        _say(str(error))
        return _ATTENTION
    if found.unknown:
        _say(f"Not sold up to {m.label(found.month)}, and left out: {', '.join(found.unknown)}.")
    basket = "; ".join(f"{code} {name}" for code, name in found.products.iter_rows())
    lines = [f"Beside {basket} (as of {m.label(found.month)}):"]
    for rank, row in enumerate(found.recommended.to_dicts(), start=1):
        why = f"bought together with {', '.join(row['because_of'])}" if row["basis"] == "together" else "popular"
        lines.append(f"{rank:3}. {row['recommended_stock_code']:<8} {row['description']}  ({why}, score {row['score']:.3f})")
    print(printable("\n".join(lines)))  # noqa: T201
    return _DONE


def _publish(options: argparse.Namespace) -> int:
    from retail_assets import pipeline, run_lock  # noqa: PLC0415

    settings = _settings(options)
    with run_lock.held(settings, "retail publish", _say):
        succeeded, failures = pipeline.publish(settings)
    if not succeeded:
        _say("Not finished. What failed, and what to do:", *(f"  {failure}" for failure in failures))
        return _ATTENTION
    print(settings.serving_dir / "retail.duckdb")  # noqa: T201
    return _DONE


def _rollback(options: argparse.Namespace) -> int:
    from retail_assets import publication, published_file, report, run_lock  # noqa: PLC0415

    settings = _settings(options)
    # What a run publishes in a moment would undo it, and after that another publication is the one before.
    with run_lock.at_rest(settings):
        try:
            directory = publication.rollback(settings, options.to)
        except published_file.PublicationRefusedError as error:
            _say(str(error))
            return _ATTENTION
        readers = f"Readers see the publication {directory.name} again"
        try:
            path = report.write(settings)
        except report.ReportError as error:
            print(f"{readers}.")  # noqa: T201
            _say(f"There is no report on it: {error}")
            return _DONE
    print(f"{readers}, and {path} is the report on it.")  # noqa: T201
    return _DONE


def _verify(options: argparse.Namespace) -> int:
    import duckdb  # noqa: PLC0415

    from retail_assets import content_hash  # noqa: PLC0415

    settings = Settings.from_environment() if options.file else _settings(options)
    file = options.file or settings.serving_dir / "retail.duckdb"
    try:
        compared = content_hash.compare(file, settings.duckdb_config)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        _say(f"{file} is no published file that states hashes. `retail run` publishes one. ({error})")
        return _ATTENTION
    print("\n".join(f"{table.found}  {table.table_name}" for table in compared))  # noqa: T201
    changed = [table.table_name for table in compared if not table.is_as_stated]
    if changed:
        _say(f"Not as published: {', '.join(changed)}. Something wrote into the file. `retail publish` makes it anew, `retail rollback` goes back.")
        return _ATTENTION
    _say(f"{len(compared)} tables are as published. The same input gives the same hashes on every machine.")
    return _DONE


def _report(options: argparse.Namespace) -> int:
    from retail_assets import report  # noqa: PLC0415

    try:
        path = report.write(_settings(options), options.month, options.out)
    except report.ReportError as error:
        _say(str(error))
        return _USAGE if isinstance(error, report.UnknownMonthError) else _ATTENTION
    print(path)  # noqa: T201
    return _DONE


def _export(options: argparse.Namespace) -> int:
    from retail_assets import export, publication  # noqa: PLC0415

    try:
        exported = export.export(_settings(options), options.out, options.format, options.tables)
    except export.ExportError as error:
        _say(str(error))
        return _USAGE
    except publication.NothingPublishedError as error:
        _say(str(error))
        return _ATTENTION
    print("\n".join([*(f"{count:>11,}  {name}" for name, count in exported.row_counts.items()), str(exported.folder)]))  # noqa: T201
    return _DONE


def _home(options: argparse.Namespace) -> int:
    print(_settings(options).dagster_home)  # noqa: T201
    return _DONE


def _refusals(report: LandingReport) -> list[str]:
    if not report.refused:
        return []
    counted = "1 file was" if len(report.refused) == 1 else f"{len(report.refused)} files were"
    return [
        f"{counted} refused{'; the rest was used' if report.landed else ''}:",
        *(f"  {one_line(f'{file.file_name}: {file.reason}')}" for file in report.refused),
    ]


def _say(*lines: str) -> None:
    """Lines for people, on stderr, with nothing in them that a terminal would act on."""
    print(printable("\n".join(lines)), file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    program()
