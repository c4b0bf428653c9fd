# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures and the report of the bench of the production form."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from optimized import _report
from optimized._chart import bars
from optimized._figures import (
    AFTER,
    BEFORE,
    CEILING,
    COLD,
    HEALTH,
    JSON_LIST,
    MAIN_PAGE,
    ROUTES,
    TRIVIAL,
    Phase,
    Turn,
    megabytes,
)

ACCOUNT = next(route for route in ROUTES if route.session)


def turn(contender, route, p50, p99=None, connections=10, requests=100, errors=0):
    per_second = connections * 1000 / p50
    return Turn(
        contender, route.path, connections, requests, per_second, p50, p99 or p50, errors, 400
    )


def phase(*turns, **memory):
    return Phase("without delay", 0.07, turns, memory)


def turn_record(requests=50, errors=0, statuses=(200, 200)):
    wrk = {"requests": requests, "duration": 2_000_000, "p50": 1500, "p99": 9000, "errors": errors}
    known = {"contender": BEFORE, "route": "/", "connections": 10, "size": 12}
    return {**known, "wrk": wrk, "statuses": [*statuses]}


def goals(seen):
    return {goal.what: goal.cells()[2:] for goal in seen.goals()}


def test_wrk_s_microseconds_become_milliseconds():
    assert Turn.read(turn_record()) == Turn(BEFORE, "/", 10, 50, 25.0, 1.5, 9.0, 0, 12)


def test_an_answer_that_is_not_200_is_an_error_also_where_wrk_has_none():
    assert Turn.read(turn_record(errors=3, statuses=(200, 302))).errors == 4


def test_a_route_that_never_answered_took_the_whole_turn():
    silent = Turn.read(
        {**turn_record(requests=0), "wrk": {**turn_record(requests=0)["wrk"], "p50": 0, "p99": 0}}
    )
    assert (silent.p50, silent.p99, silent.per_second) == (2000.0, 2000.0, 0.5)


def test_a_ratio_is_that_of_the_turns_that_were_beside_each_other():
    # The machine was busy in the second turn; of the medians it would be 10 times.
    seen = phase(
        *(turn(BEFORE, MAIN_PAGE, p50) for p50 in (10, 80, 40)),
        *(turn(AFTER, MAIN_PAGE, p50) for p50 in (2, 40, 4)),
    )
    assert seen.ratio(BEFORE, AFTER, MAIN_PAGE) == 5
    assert seen.median(BEFORE, MAIN_PAGE) == 40
    assert seen.ratio(BEFORE, COLD, MAIN_PAGE) is None


def test_turns_of_another_concurrency_or_route_are_not_in_it():
    seen = phase(
        turn(BEFORE, MAIN_PAGE, 10),
        turn(BEFORE, MAIN_PAGE, 90, connections=50),
        turn(BEFORE, HEALTH, 70),
    )
    assert seen.median(BEFORE, MAIN_PAGE) == 10
    assert seen.median(BEFORE, MAIN_PAGE, connections=50) == 90
    assert seen.routes() == [MAIN_PAGE, HEALTH]
    assert seen.routes(50) == [MAIN_PAGE]


def test_the_average_is_what_a_user_of_all_routes_waits_and_not_that_of_the_ratios():
    seen = phase(
        turn(BEFORE, MAIN_PAGE, 100),
        turn(AFTER, MAIN_PAGE, 1),
        turn(BEFORE, HEALTH, 9),
        turn(AFTER, HEALTH, 9),
    )
    assert seen.means() == (pytest.approx(10.9), pytest.approx(10))


def test_the_worst_route_is_found_among_those_of_its_kind():
    seen = phase(
        turn(BEFORE, TRIVIAL, 2, p99=30),
        turn(AFTER, TRIVIAL, 4, p99=10),
        turn(BEFORE, HEALTH, 10, p99=10),
        turn(AFTER, HEALTH, 2, p99=20),
        turn(BEFORE, ACCOUNT, 3),
        turn(AFTER, ACCOUNT, 10),
    )
    assert seen.worst(session=False, figure="p50") == (0.5, TRIVIAL.name)
    assert seen.worst(session=False, figure="p99") == (0.5, HEALTH.name)
    assert seen.worst(session=True, figure="p50") == (0.3, ACCOUNT.name)


@pytest.mark.parametrize(
    ("before", "after", "cells"),
    [(41, 1, ["41", "yes"]), (39, 1, ["39", "**no**"]), (1, 1, ["1", "**no**"])],
)
def test_the_main_page_s_goal_is_reached_from_40_times_on(before, after, cells):
    seen = phase(turn(BEFORE, MAIN_PAGE, before), turn(AFTER, MAIN_PAGE, after))
    assert goals(seen)["main page, warm"] == cells


def test_cold_is_measured_by_answers_that_the_app_made():
    seen = phase(
        turn(BEFORE, MAIN_PAGE, 30), turn(AFTER, MAIN_PAGE, 0.1), turn(COLD, MAIN_PAGE, 10)
    )
    assert goals(seen)["main page, cold"] == ["3", "yes"]


def test_what_was_not_measured_reaches_no_goal():
    assert {*map(tuple, goals(phase()).values())} == {("not measured", "")}


def test_errors_count_at_200_and_of_what_is_after():
    seen = phase(
        turn(AFTER, MAIN_PAGE, 5, connections=200, errors=2),
        turn(AFTER, MAIN_PAGE, 5, errors=5),
        turn(BEFORE, MAIN_PAGE, 5, connections=200, errors=7),
    )
    assert goals(seen)["errors of 100 requests, 200 at once"] == ["2", "**no**"]
    assert seen.errors(AFTER) == (7, 200)


def test_memory_may_be_as_much_as_before():
    wanted = "memory of all processes, after/before"
    assert goals(phase(**{BEFORE: 200.0, AFTER: 150.0}))[wanted] == ["0.75", "yes"]
    assert goals(phase(**{BEFORE: 200.0, AFTER: 210.0}))[wanted] == ["1.05", "**no**"]


def test_memory_is_the_share_of_each_process():
    smaps = "Rss: 900 kB\nPss:     500 kB\nPss_Anon:  300 kB\nRss: 800 kB\nPss:    1500 kB\n"
    assert megabytes(smaps) == pytest.approx(2.048)


class TestReport:
    seen = phase(
        turn(BEFORE, JSON_LIST, 120, p99=300),
        turn(AFTER, JSON_LIST, 4, p99=10),
        turn(COLD, JSON_LIST, 30),
        turn(CEILING, JSON_LIST, 0.2),
        turn(BEFORE, JSON_LIST, 500, connections=50),
        turn(AFTER, JSON_LIST, 10, connections=50),
        turn(CEILING, JSON_LIST, 1, connections=50),
        **{BEFORE: 397.2, AFTER: 160.0},
    )

    def test_a_route_has_its_times_and_its_ratios(self):
        assert _report.routes(self.seen)[2:] == [
            "| `/api/products`, JSON list | 120 |  | 4 | 30 | 0.2 | **30** | 30 |  | 4 | 400 → 400 |"
        ]

    def test_each_concurrency_has_its_throughput(self):
        assert _report.concurrencies(self.seen)[2:] == [
            "| `/api/products`, JSON list | 83 → 2500 (**30**) of 50000 | 100 → 5000 (**50**) of 50000 |"
        ]

    def test_every_contender_has_its_errors_and_every_app_its_memory(self):
        lines = _report.errors(self.seen)
        assert "| before | 0 of 200 | 397 |" in lines
        assert "| ceiling | 0 of 200 |  |" in lines

    def test_every_line_of_a_table_has_as_many_cells(self):
        tables = re.split(r"\n(?!\|)", "\n".join(_report.lines(self.seen)))
        for table in tables:
            counts = {
                line.count(" | ") for line in table.strip().splitlines() if line.startswith("|")
            }
            assert len(counts) <= 1, table

    def test_the_chart_has_what_was_measured(self):
        assert _report.chart(self.seen) == {
            "/api/products": {BEFORE: 120, COLD: 30, AFTER: 4, CEILING: 0.2}
        }


class TestChart:
    def widths(self, svg):
        root = ElementTree.fromstring(svg)
        found = root.iter("{http://www.w3.org/2000/svg}rect")
        return [float(rect.get("width")) for rect in found if rect.get("height") == "8"]

    def test_ten_times_as_much_is_as_much_longer_everywhere(self):
        svg = bars("p50", "ms", {"/": {"before": 100, "after": 10}, "/health": {"before": 1000}})
        assert self.widths(svg) == pytest.approx([280, 0, 560], abs=0.1)

    def test_a_contender_has_one_colour(self):
        svg = bars("p50", "ms", {"/": {"a": 1, "b": 20}, "/health": {"b": 3}})
        filled = re.findall(r'height="8" fill="(#\w+)"', svg)
        assert filled[1] == filled[2] != filled[0]

    def test_any_text_is_shown_as_it_is(self):
        svg = bars("p50 < 1 & more", "ms", {"/<id>": {"a": 1}})
        assert {"p50 < 1 & more", "/<id>"} <= {
            text.text for text in ElementTree.fromstring(svg).iter() if text.text
        }
