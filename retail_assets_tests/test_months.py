"""Months and ranges of months."""

from datetime import date

import pytest

from retail_assets import months as m

DECEMBER = date(2010, 12, 1)


@pytest.mark.parametrize(
    ("by", "expected"),
    [(0, DECEMBER), (1, date(2011, 1, 1)), (13, date(2012, 1, 1)), (-11, date(2010, 1, 1)), (-12, date(2009, 12, 1))],
)
def test_shift_crosses_years_both_ways(by: int, expected: date) -> None:
    assert m.shift(DECEMBER, by) == expected


def test_the_last_day_knows_leap_years() -> None:
    assert [m.last_day(date(year, 2, 1)).day for year in (2011, 2012)] == [28, 29]


def test_a_window_holds_both_ends_and_is_empty_when_it_runs_backwards() -> None:
    assert m.window(DECEMBER, date(2011, 2, 1)) == [DECEMBER, date(2011, 1, 1), date(2011, 2, 1)]
    assert m.window(DECEMBER, date(2010, 11, 1)) == []


@pytest.mark.parametrize(("text", "count"), [("2011-03", 1), ("2011-01:2011-03", 3), ("2011-01-01:2011-03-01", 3), (" 2010-12:2011-12 ", 13)])
def test_ranges_are_read(text: str, count: int) -> None:
    assert len(m.parse_range(text)) == count


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("March", "no range of months"),
        ("2011-13", "does not exist"),
        ("2011-03:2011-01", "runs backwards: write 2011-01:2011-03"),
        ("2011-03-15", "no range"),
    ],
)
def test_what_is_no_range_is_refused_with_the_remedy(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        m.parse_range(text)
