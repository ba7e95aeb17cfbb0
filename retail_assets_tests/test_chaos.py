"""Slow: faults injected into real runs; the short form of `make chaos`. What each promises stands in README.md."""

import pytest

from retail_assets_tests.chaos import plan
from retail_assets_tests.chaos.homes import prepare
from retail_assets_tests.chaos.kills import TOO_LATE
from retail_assets_tests.chaos.outcome import Outcome

pytestmark = pytest.mark.slow

KINDS = ("kill -9, first", "kill -9, monthly", "kill -9, elsewhere", "disk full", "read-only", "damaged file", "at once")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """The short suite, two faults at a time."""
    folder = tmp_path_factory.mktemp("chaos")
    return plan.run(plan.short_plan(prepare(folder, plan.SHORT)), folder)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_doubled_and_the_next_run_ends_as_if_nothing_had_been(outcomes: list[Outcome], kind: str) -> None:
    injected = [outcome for outcome in outcomes if outcome.kind == kind]
    if reasons := [outcome.skipped for outcome in injected if outcome.skipped]:
        pytest.skip(reasons[0])
    assert [problem for outcome in injected for problem in outcome.problems] == []
    assert injected
    assert sum(outcome.lines_lost for outcome in injected) == 0


def test_every_kill_struck_a_run_that_was_at_work_while_readers_read(outcomes: list[Outcome]) -> None:
    kills = [outcome for outcome in outcomes if outcome.kind.startswith("kill")]
    assert len(kills) == 6
    assert all(outcome.struck and outcome.struck != TOO_LATE for outcome in kills)
    assert sum(outcome.reads for outcome in outcomes) > len(kills)


def test_every_kind_of_fault_is_injected(outcomes: list[Outcome]) -> None:
    assert {outcome.kind for outcome in outcomes} == set(KINDS)
