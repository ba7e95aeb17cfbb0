"""Runs of the command line in Dagster's history: those of killed processes are ended, the others left alone."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from retail_assets import pipeline, run_lock
from retail_assets.settings import Settings

POOL = "warehouse"


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        made.event_log_storage.set_concurrency_slots(POOL, 4)
        yield made


def started(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, tags: dict[str, str]) -> str:
    """A run that holds a turn at the warehouse."""
    run = instance.create_run_for_job(nothing, status=status, tags=tags)
    assert instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "step").is_claimed
    return run.run_id


def test_runs_of_killed_processes_fail_and_give_their_turns_back_and_one_of_which_nothing_is_known_keeps_its_own(
    instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=tmp_path)
    ours = started(instance, dg.DagsterRunStatus.STARTED, {"retail/command": "yes"})
    others = started(instance, dg.DagsterRunStatus.STARTED, {})
    unknown = started(instance, dg.DagsterRunStatus.STARTED, {})
    ended = started(instance, dg.DagsterRunStatus.CANCELED, {})
    with run_lock.executing(settings, others):
        pipeline.end_killed_runs(settings)
        assert status(instance) == {ours: "FAILURE", others: "STARTED", unknown: "STARTED", ended: "CANCELED"}
        assert instance.event_log_storage.get_concurrency_run_ids() == {others, unknown}
    # As a killed process leaves it.
    (run_lock.executing_folder(settings) / others).touch()
    pipeline.end_killed_runs(settings)
    assert status(instance) == {ours: "FAILURE", others: "FAILURE", unknown: "STARTED", ended: "CANCELED"}
    assert instance.event_log_storage.get_concurrency_run_ids() == {unknown}
    assert list(run_lock.executing_folder(settings).iterdir()) == []
    assert f"Run {unknown[:8]} of the job nothing, started elsewhere, has its turn" in capsys.readouterr().err


def status(instance: dg.DagsterInstance) -> dict[str, str]:
    return {run.run_id: run.status.value for run in instance.get_runs()}
