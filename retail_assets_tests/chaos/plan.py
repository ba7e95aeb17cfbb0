"""Which faults the long and the short suite inject, how they are run, and the table that sums them up."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from retail_assets_tests.chaos import damage, disks, state, together
from retail_assets_tests.chaos.homes import Case
from retail_assets_tests.chaos.kills import TOO_LATE, Kill, Target, inject, inject_elsewhere, random_kills
from retail_assets_tests.chaos.outcome import Outcome

SEED: Final = 20101201

LONG: Final = ("first", "monthly", "corrected", "publish", "again")
SHORT: Final = ("first", "monthly")

_RANDOM_KILLS: Final = {"first": 14, "monthly": 14, "corrected": 8, "publish": 6, "again": 4}
"""Kills at random moments of the long suite, by case."""

_BUILDING: Final = "./serving/versions/*.building"


@dataclass(frozen=True)
class Fault:
    """A fault, and what to call with a new folder to inject it."""

    name: str
    inject: Callable[[Path], Outcome]


def _kill(cases: dict[str, Case], case: str, at: str, after: float, target: Target = "group") -> Fault:
    kill = Kill(case, at, after, target)
    return Fault(kill.name, partial(inject, cases[case], kill))


def _tight_kills(cases: dict[str, Case], case: str) -> list[Fault]:
    """Kills where it hurts: Dagster's files are made, dbt is at work, a publication is being written, put in place, reported on."""
    return [
        *(_kill(cases, case, "dbt_models", after) for after in (0.5, 2.5)),
        _kill(cases, case, "dbt_models", 2.0, "process"),
        _kill(cases, case, "dbt_models", 1.5, "children"),
        *(_kill(cases, case, step, 0.1, "Ctrl-C") for step in ("core/transactions", "dbt_models")),
        *(_kill(cases, case, _BUILDING, after) for after in (0.0, 0.1, 0.2, 0.3, 0.4)),
        *(_kill(cases, case, "published/report", after) for after in (0.0, 0.3)),
    ]


def long_plan(cases: dict[str, Case]) -> list[Fault]:
    """Every fault."""
    monthly, first = cases["monthly"], cases["first"]
    kills = [kill for name, count in _RANDOM_KILLS.items() for kill in random_kills(cases[name], count, SEED)]
    return [
        *(Fault(name, partial(damage.refuse, monthly, name)) for name in damage.REFUSED),
        *(Fault(name, partial(damage.survive, monthly, name)) for name in damage.SURVIVED),
        *_disks(monthly, disks.FULL, disks.READ_ONLY),
        Fault("two runs at once", partial(together.commands, monthly, [("run",), ("run",)])),
        Fault("three runs at once in a new home", partial(together.commands, first, [("run",), ("run",), ("run",)])),
        Fault("a run and a publication at once", partial(together.commands, monthly, [("run",), ("publish",)])),
        Fault("a client holds the warehouse", partial(together.client, monthly)),
        Fault("backfills and a run at once", partial(together.backfill, monthly)),
        Fault("a rollback beside a run", partial(together.rollback, monthly)),
        *(Fault(f"a killed run begun elsewhere + {after} s", partial(inject_elsewhere, monthly, after)) for after in (0.0, 3.0, 6.0)),
        *_tight_kills(cases, "monthly"),
        *(_kill(cases, "corrected", _BUILDING, after) for after in (0.0, 0.1, 0.2, 0.3)),
        *(_kill(cases, "first", "./dagster/history/*.db", after) for after in (0.0, 0.05, 0.1, 0.2)),
        *(_kill(cases, "first", "./warehouse/retail.duckdb", after) for after in (0.0, 0.05, 0.1)),
        *(Fault(kill.name, partial(inject, cases[kill.case], kill)) for kill in kills),
    ]


def short_plan(cases: dict[str, Case]) -> list[Fault]:
    """Six kills, one of them of a run begun elsewhere, one full disk, one read-only, one damaged warehouse, two runs at once."""
    monthly = cases["monthly"]
    ((early, late), (mid,)) = random_kills(cases["monthly"], 2, SEED), random_kills(cases["first"], 1, SEED)
    kills = [early, late, mid, Kill("monthly", "dbt_models", 1.5, "process"), Kill("monthly", _BUILDING, 0.1)]
    half = "a warehouse cut in half"
    return [
        Fault("two runs at once", partial(together.commands, monthly, [("run",), ("run",)])),
        *(Fault(kill.name, partial(inject, cases[kill.case], kill)) for kill in kills),
        Fault("a killed run begun elsewhere", partial(inject_elsewhere, monthly, 3.0)),
        *_disks(monthly, [("serving", 1_000)], ["warehouse"], has_landing=False),
        Fault(half, partial(damage.refuse, monthly, half)),
    ]


def _disks(case: Case, full: Sequence[tuple[str, int]], read_only: Sequence[str], *, has_landing: bool = True) -> list[Fault]:
    return [
        *(Fault(f"no space in {folder} but for {kilobytes} kB", partial(disks.fill, case, folder, kilobytes)) for folder, kilobytes in full),
        *(Fault(f"read-only {folder}", partial(disks.lock, case, folder)) for folder in read_only),
        *([Fault("read-only landing", partial(disks.read_only_landing, case))] if has_landing else []),
    ]


def run(plan: Sequence[Fault], folder: Path, workers: int = 2, tell: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Inject every fault, a few at a time, each in a folder of its own; homes of faults that were survived are deleted."""

    def one(number: int, fault: Fault) -> Outcome:
        home, started = folder / f"fault-{number:03}", time.monotonic()
        try:
            outcome = fault.inject(home)
        except Exception:  # noqa: BLE001 - the other faults go on, and this one counts as not survived
            outcome = Outcome(fault.name, "not injected", problems=[traceback.format_exc()])
        outcome.seconds = time.monotonic() - started
        if not outcome.problems:
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(state.scratch(home), ignore_errors=True)
        if tell:
            tell(outcome)
        return outcome

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(len(plan)), plan))


def summary(outcomes: Sequence[Outcome]) -> str:
    """The table of a suite: by kind of fault how many were injected and survived, lines lost, reads meanwhile; and what went wrong."""
    lines = [f"{'fault':<22}{'injected':>10}{'struck':>10}{'survived':>10}{'lines lost':>12}{'reads':>8}{'seconds':>9}"]
    kinds = [*dict.fromkeys(outcome.kind for outcome in outcomes)]
    for kind in [*kinds, "all"]:
        of_kind = [outcome for outcome in outcomes if kind in (outcome.kind, "all") and not outcome.skipped]
        counts = (
            len(of_kind),
            sum(outcome.struck != TOO_LATE for outcome in of_kind),
            sum(not outcome.problems for outcome in of_kind),
            sum(outcome.lines_lost for outcome in of_kind),
            sum(outcome.reads for outcome in of_kind),
            round(sum(outcome.seconds for outcome in of_kind)),
        )
        lines.append(f"{kind:<22}" + "".join(f"{count:>{width}}" for count, width in zip(counts, (10, 10, 10, 12, 8, 9), strict=True)))
    lines += [f"left out: {outcome.fault}: {outcome.skipped}" for outcome in outcomes if outcome.skipped]
    lines += [f"NOT SURVIVED: {outcome.fault}: {problem}" for outcome in outcomes for problem in outcome.problems]
    return "\n".join(lines)
