"""Resources: the settings, the warehouse and dbt. Read from the environment when the code location loads."""

from collections.abc import Iterator

import dagster as dg

from retail_assets import run_lock
from retail_assets.dbt_project import dbt_resource
from retail_assets.progress import progress_logger
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

_EXECUTORS = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor.configured({"max_concurrent": 1})}
"""In one process by default: a process per step costs seconds each and wins nothing where writers take turns."""


@dg.resource
def _warehouse(context: dg.InitResourceContext) -> Iterator[Warehouse]:
    """The warehouse, for a run that others can see meanwhile: a step's turn at it stays taken in Dagster when the process of the run is killed."""
    settings = Settings.from_environment()
    with run_lock.executing(settings, str(context.run_id)):
        yield Warehouse.of(settings)


@dg.definitions
def resources() -> dg.Definitions:
    """What the assets get from outside."""
    settings = Settings.from_environment()
    return dg.Definitions(
        resources={
            "settings": settings,
            "warehouse": _warehouse,
            "dbt": dbt_resource(),
        },
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
        executor=_EXECUTORS[settings.executor],
    )
