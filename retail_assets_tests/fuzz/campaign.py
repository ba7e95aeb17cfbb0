"""Many cases at once: made, landed within bounds, held against the independent count. What breaks a landing is found by halves."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from retail_assets_tests.fuzz import bounded, cases, counting

_CASES_PER_LANDING: Final = 250
_SHORTEST_REASON: Final = 20


@dataclass(frozen=True)
class Finding:
    """A case that the product did not pass: which, what was done to the file, and what went wrong."""

    case: cases.Case
    problem: str

    def __str__(self) -> str:
        return f"{self.case.name} ({self.case.story}): {self.problem}"


@dataclass
class Counts:
    """What a campaign saw. `lines_lost` and `findings` must be 0 and empty."""

    cases: int = 0
    landed: int = 0
    refused: int = 0
    duplicate: int = 0
    lines_landed: int = 0
    lines_counted_twice_over: int = 0
    lines_lost: int = 0
    peak_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)


def fuzz(case_count: int, seed: int) -> Counts:
    """Land `case_count` files that `seed` makes, and count what became of them."""
    counts = Counts()
    for first in range(0, case_count, _CASES_PER_LANDING):
        batch = [cases.make(number, seed) for number in range(first, min(first + _CASES_PER_LANDING, case_count))]
        _judge_batch(batch, counts)
    return counts


def _judge_batch(batch: Sequence[cases.Case], counts: Counts) -> None:
    try:
        landed = _land(batch)
    except bounded.CrashedError as crash:
        if len(batch) == 1:
            counts.cases += 1
            counts.findings.append(Finding(batch[0], str(crash)))
            return
        half = len(batch) // 2
        _judge_batch(batch[:half], counts)
        _judge_batch(batch[half:], counts)
        return
    counts.cases += len(batch)
    counts.peak_bytes = max(counts.peak_bytes, landed.peak_bytes)
    counts.lines_landed += landed.raw[0]
    if landed.raw != landed.cleaned:
        counts.lines_lost += abs(landed.raw[0] - landed.cleaned[0])
        counts.findings.append(Finding(batch[0], f"and {len(batch) - 1} more: raw {landed.raw}, cleaned {landed.cleaned}"))
    for case in batch:
        _judge(case, landed, counts)


def _land(batch: Sequence[cases.Case]) -> bounded.Landed:
    with tempfile.TemporaryDirectory() as folder:
        for case in batch:
            (Path(folder) / case.name).write_bytes(case.content)
        return bounded.land(Path(folder))


def _judge(case: cases.Case, landed: bounded.Landed, counts: Counts) -> None:
    if (outcome := landed.files.get(case.name)) is None:
        counts.findings.append(Finding(case, "the landing says nothing of it"))
        return
    if outcome.status == "refused":
        counts.refused += 1
        if len(outcome.reason or "") < _SHORTEST_REASON:
            counts.findings.append(Finding(case, f"refused without a reason: {outcome.reason!r}"))
        return
    if outcome.status == "duplicate":
        counts.duplicate += 1
        return
    counts.landed += 1
    stored = landed.stored.get(case.name, 0)
    if outcome.line_count != stored:
        counts.lines_lost += abs(outcome.line_count - stored)
        counts.findings.append(Finding(case, f"{outcome.line_count} lines read, {stored} stored"))
    if (expected := counting.line_count(case.name, case.content)) is not None:
        counts.lines_counted_twice_over += expected
        if expected != stored:
            counts.lines_lost += max(0, expected - stored)
            counts.findings.append(Finding(case, f"{stored} lines stored, {expected} counted"))
