"""What a person is told when a step fails: what to do. In the log of the run, and at `RETAIL_ALERT_URL` where that is set."""

from __future__ import annotations

import json
import urllib.request
from typing import Final

import dagster as dg

from retail_assets import remedies
from retail_assets.settings import Settings
from retail_assets.warehouse import ContractError

HANDBOOK: Final = "docs/operations.md"

_TIMEOUT_SECONDS: Final = 10


@dg.failure_hook(name="say_what_to_do")
def say_what_to_do(context: dg.HookContext) -> None:
    """Log what to do about a step that failed, and send it to where alerts go."""
    text = f"{context.op.name.replace('__', '/')} failed in run {context.run_id} of the job {context.job_name}. {remedy(context.op_exception)}"
    context.log.error(text)
    if url := Settings.from_environment().alert_url:
        try:
            send(url, text)
        except OSError as error:
            context.log.warning("The alert did not reach RETAIL_ALERT_URL: %s", error)


def remedy(error: BaseException | None) -> str:
    """What to do about an error, in a sentence or two."""
    if isinstance(error, dg.Failure):
        return str(error.description)
    if isinstance(error, dg.RetryRequested):
        error = error.__cause__ or error
    if isinstance(error, ContractError):
        return f"{error}. A fault of the code: nothing was written. Report it with the month."
    if error and (advice := remedies.advice(error)):
        return advice
    return (
        f"{type(error).__name__}: {error}. No month is half written, and readers keep the last publication. Run it again; should it fail again, see "
        f"{HANDBOOK} and report the log of the run."
    )


def send(url: str, text: str) -> None:
    """POST `{"text": ...}`, as chat webhooks take it.

    Raises:
        OSError: It did not arrive.
    """
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url!r} is no http address")
    request = urllib.request.Request(url, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"})  # noqa: S310 - checked above
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - checked above
        pass
