"""What `retail run` says at the end: what was read, what came out, where to look. Read from the published file, as any reader would."""

from __future__ import annotations

from datetime import date
from typing import Final

from retail_assets import months as m
from retail_assets import publication
from retail_assets.reading import reading
from retail_assets.settings import Settings
from retail_assets.terminal import printable

_LINES: Final = """
    select
        (select count(*) from raw.raw_transactions) as raw_lines,
        (select coalesce(sum(amount), 0) from raw.raw_transactions) as raw_amount,
        (select count(*) from core.transactions) as kept_lines,
        (select coalesce(sum(amount), 0) from core.transactions) as kept_amount,
        first_month,
        last_month
    from marts.publication
"""
_REASONS: Final = "select reason, count(*) as line_count from core.quarantine group by reason order by line_count desc, reason"
_SEGMENTS: Final = """
    select segment_name, customer_count, coalesce(revenue_share, 0) as share
    from marts.segment_profiles
    where snapshot_month = $month
    order by net_amount desc, segment_id
"""
TELLING_RULE: Final = "not is_redundant and not is_mirror and q_value < 0.05 and lift > expected_lift"
"""Which rules of marts.association_rules say something: no simpler rule does, nor the same backwards, and basket sizes alone do not explain them."""

_RULES: Final = f"""
    select antecedent_text, consequent_text, basket_count, confidence, lift, expected_lift, count(*) over () as rule_count
    from marts.association_rules
    where snapshot_month = $month and {TELLING_RULE}
    order by lift / expected_lift desc, basket_count desc, antecedent_text, consequent_text
    limit 3
"""  # noqa: S608 - a constant of ours


def summarize(settings: Settings, months: list[date], seconds: float) -> str:
    """The closing lines of a run over `months` that took `seconds`.

    Raises:
        OtherVersionError: Code of another version made what readers see.
    """
    path = settings.serving_dir / publication.FILE_NAME
    with reading(path, settings.duckdb_config) as reader:
        ((raw_lines, raw_amount, kept_lines, kept_amount, first, last),) = reader.execute(_LINES).fetchall()
        reasons = reader.execute(_REASONS).fetchall()
        segments = reader.execute(_SEGMENTS, {"month": last}).fetchall()
        rules = reader.execute(_RULES, {"month": last}).fetchall()
    lines = [
        f"{raw_lines:>11,}  {raw_amount:>16,.2f} GBP  raw",
        f"{kept_lines:>11,}  {kept_amount:>16,.2f} GBP  product sales and returns",
        f"{raw_lines - kept_lines:>11,}  {raw_amount - kept_amount:>16,.2f} GBP  in quarantine: "
        + (", ".join(f"{reason} {count:,}" for reason, count in reasons) or "nothing"),
    ]
    rule_count = rules[0][-1] if rules else 0
    parts = [
        f"Published {m.window_label(m.window(first, last))}; "
        + (f"refreshed {m.window_label(months)} in {seconds:.1f} s." if months else "nothing has changed since."),
        *_put_back(settings),
        _block("Lines", lines),
        _block(
            f"Segments at the end of {m.label(last)}",
            [f"{count:>11,} customers, {share:>4.0%} of net sales  {name}" for name, count, share in segments],
        ),
        _block(
            f"Strongest of {rule_count:,} rules at the end of {m.label(last)} that basket sizes do not explain",
            [_rule(*rule[:-1]) for rule in rules],
        ),
        _block(
            "Where to look",
            [
                f"{path}  for BI tools, read-only",
                *([f"{report}  the report, for a browser"] if (report := settings.report_path(last)).exists() else []),
                "`make dev` opens the Dagster UI, which shows this run",
            ],
        ),
    ]
    return printable("\n\n".join(parts))


def _put_back(settings: Settings) -> list[str]:
    """What to know where readers do not see the newest publication: a run without news leaves them where `retail rollback` has put them."""
    seen, newest = publication.current(settings), publication.versions(settings)[0]
    if seen is None or seen.name == newest.name:
        return []
    return [f"Readers see the publication {seen.name}, which `retail rollback` put back, not {newest.name}. `retail publish` publishes anew."]


def _block(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _rule(antecedent: str, consequent: str, baskets: int, confidence: float, lift: float, expected: float) -> str:
    return f"{antecedent} => {consequent}: {baskets:,} baskets, confidence {confidence:.0%}, lift {lift:.1f} (basket sizes alone: {expected:.1f})"
