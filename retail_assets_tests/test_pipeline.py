"""Runs of the command line in Dagster's history: those of killed commands are ended, those of others left alone."""

from collections.abc import Iterator

import dagster as dg
import pytest

from retail_assets import pipeline

POOL = "warehouse"


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        made.event_log_storage.set_concurrency_slots(POOL, 3)
        yield made


def started(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    """A run that holds a turn at the warehouse."""
    run = instance.create_run_for_job(nothing, status=status, tags=tags)
    assert instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "step").is_claimed
    return run.run_id


def test_a_run_of_a_killed_command_fails_and_gives_its_turn_back_and_a_run_of_others_keeps_its_own(
    instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = started(instance, dg.DagsterRunStatus.STARTED, {"retail/command": "yes"})
    others = started(instance, dg.DagsterRunStatus.STARTED, {})
    ended = started(instance, dg.DagsterRunStatus.CANCELED, {})
    pipeline.end_killed_runs()
    found = {run.run_id: run.status.value for run in instance.get_runs()}
    assert found == {ours: "FAILURE", others: "STARTED", ended: "CANCELED"}
    assert instance.event_log_storage.get_concurrency_run_ids() == {others}
    assert f"Run {others[:8]} of the job nothing, started elsewhere, has its turn" in capsys.readouterr().err
