"""Trading days are learned from a shop's own days, and a missing day is told from a holiday closure."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from retail_assets.lib.trading_days import judge, public_holidays, trading_weekdays

MONDAY, SATURDAY, SUNDAY = 0, 5, 6
NO_HOLIDAYS: frozenset[date] = frozenset()
GOOD_FRIDAY = date(2011, 4, 22)
MARCH, MARCH_END = date(2011, 3, 1), date(2011, 3, 31)


def days(first: date, last: date, *, without: frozenset[int] = frozenset({SATURDAY})) -> list[date]:
    every = [first + timedelta(days=step) for step in range((last - first).days + 1)]
    return [day for day in every if day.weekday() not in without]


class TestWeekdays:
    def test_a_shop_that_never_opens_on_saturdays_is_not_expected_to(self) -> None:
        assert trading_weekdays(days(MARCH, MARCH_END), NO_HOLIDAYS) == {0, 1, 2, 3, 4, SUNDAY}

    def test_another_shop_has_another_week(self) -> None:
        assert trading_weekdays(days(MARCH, MARCH_END, without=frozenset({MONDAY, SUNDAY})), NO_HOLIDAYS) == {1, 2, 3, 4, SATURDAY}

    def test_one_opening_does_not_make_a_trading_day(self) -> None:
        once = [*days(MARCH, MARCH_END), date(2011, 3, 12)]
        assert SATURDAY not in trading_weekdays(once, NO_HOLIDAYS)

    def test_one_closing_does_not_unmake_a_trading_day(self) -> None:
        assert MONDAY in trading_weekdays([day for day in days(MARCH, MARCH_END) if day != date(2011, 3, 14)], NO_HOLIDAYS)

    def test_public_holidays_do_not_count_against_a_weekday(self) -> None:
        # Two of the four Mondays are holidays, and on one of the others the shop was closed.
        off = {date(2011, 4, 25), date(2011, 5, 2)}
        traded = [day for day in days(date(2011, 4, 24), date(2011, 5, 20)) if day not in {*off, date(2011, 5, 9)}]
        assert MONDAY in trading_weekdays(traded, off)
        assert MONDAY not in trading_weekdays(traded, NO_HOLIDAYS)

    def test_nothing_is_learned_from_nothing(self) -> None:
        assert trading_weekdays([], NO_HOLIDAYS) == frozenset()


class TestMissingDays:
    @pytest.mark.parametrize("lost", [date(2011, 3, 1), date(2011, 3, 13), date(2011, 3, 31)])
    def test_one_lost_day_is_missing_wherever_it_lies(self, lost: date) -> None:
        found = judge(MARCH, MARCH_END, [day for day in days(MARCH, MARCH_END) if day != lost], {0, 1, 2, 3, 4, 6}, NO_HOLIDAYS)
        assert (found.missing, found.closed, len(found.expected)) == ((lost,), (), 27)

    def test_a_day_off_in_the_week_is_never_missing(self) -> None:
        assert judge(MARCH, MARCH_END, days(MARCH, MARCH_END), {0, 1, 2, 3, 4, 6}, NO_HOLIDAYS).missing == ()

    def test_days_off_beside_a_public_holiday_are_a_closure(self) -> None:
        april, off = days(date(2011, 4, 18), date(2011, 4, 29)), {GOOD_FRIDAY, date(2011, 4, 25)}
        easter_sunday = date(2011, 4, 24)
        found = judge(april[0], april[-1], [day for day in april if day not in {*off, easter_sunday}], {0, 1, 2, 3, 4, 6}, off)
        assert (found.missing, found.closed) == ((), (easter_sunday,))

    def test_a_closure_may_touch_a_holiday_beyond_the_end(self) -> None:
        new_year = date(2011, 1, 1)
        found = judge(date(2010, 12, 27), date(2010, 12, 31), [date(2010, 12, 27), date(2010, 12, 28)], {0, 1, 2, 3, 4}, {new_year})
        assert found.closed == (date(2010, 12, 29), date(2010, 12, 30), date(2010, 12, 31))

    def test_a_closure_longer_than_shops_close_is_missing_days(self) -> None:
        five, six = (judge(GOOD_FRIDAY, last, [], {0, 1, 2, 3, 4}, {GOOD_FRIDAY}) for last in (date(2011, 4, 29), date(2011, 5, 2)))
        assert (len(five.closed), len(five.missing)) == (5, 0)
        assert (len(six.closed), len(six.missing)) == (0, 6)

    def test_an_empty_span_misses_nothing(self) -> None:
        assert judge(MARCH, MARCH - timedelta(days=1), [], {0}, NO_HOLIDAYS).expected == ()


def test_public_holidays_are_those_of_the_part_of_the_country_within_the_span() -> None:
    in_spring = public_holidays(date(2011, 4, 1), date(2011, 5, 31), "GB", "ENG")
    assert in_spring == {GOOD_FRIDAY, date(2011, 4, 25), date(2011, 4, 29), date(2011, 5, 2), date(2011, 5, 30)}
    assert date(2011, 1, 3) in public_holidays(date(2010, 12, 1), date(2011, 1, 31), "GB", "ENG"), "a span over two years"
