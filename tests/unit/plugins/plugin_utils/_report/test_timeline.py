# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of the timeline of the hosts."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import timeline
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report.timeline import Row, Span


def took(began, elapsed, **more):
    return {"began": 1000.0 + began, "elapsed": elapsed, **more}


WELL = {"stage": took(0, 2), "gate": took(5, 3), "bake": took(10, 10)}
REFUSED = {"gate": took(5, 3, failed=True), "withdraw": took(9, 1)}


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (WELL, "released"),
        ({**WELL, "finish": took(30, 1)}, "released"),
        (REFUSED, "refused by its gate"),
        ({**WELL, "withdraw": took(30, 1)}, "taken back"),
        ({"stage": took(0, 2)}, "not released"),
        ({"stage": took(0, 2, settled=False)}, "not released"),
        ({"stage": took(0, 2, settled=True)}, "released"),
        ({"stage": took(0, 2), "gate": {"unreachable": True, "msg": "gone"}}, "lost"),
    ],
)
def test_a_host_is_told_by_what_came_of_it(steps, state):
    (row,) = timeline.rows({"app1": steps})
    assert row.state == state


def test_what_was_skipped_or_says_no_time_is_left_out():
    steps = {"stage": None, "start": took(0, 1), "gate": {"skipped": True}, "bake": {"msg": "old"}}
    (row,) = timeline.rows({"app1": steps, "app2": {"stage": None}})
    assert row.spans == [Span("start", 1000.0, 1.0, "passed")]


def test_steps_stand_in_the_order_in_which_they_were_done():
    (row,) = timeline.rows({"app1": {"finish": took(9, 1), "stage": took(0, 1)}})
    assert [span.step for span in row.spans] == ["stage", "finish"]


def picture(**hosts):
    return timeline.picture(timeline.rows(hosts))


def test_where_no_host_did_anything_there_is_no_picture():
    assert picture(app1={}) is None


def test_time_goes_to_the_right_from_the_first_step_of_all():
    shown = picture(app1=WELL, app2=REFUSED)
    first, second = shown.lines
    assert [drawn.x - shown.left for drawn in first.bars] == [0.0, 140.0, 280.0]
    assert [drawn.width for drawn in first.bars] == [56.0, 84.0, 280.0]
    assert [drawn.x - shown.left for drawn in second.bars] == [140.0, 252.0]
    assert (first.y, second.y) == (0, timeline.ROW)
    assert (second.until, shown.height) == (shown.left + 280.0, 2 * timeline.ROW + timeline.AXIS)


def test_all_that_is_drawn_is_within_the_picture():
    shown = picture(app1=WELL, app2=REFUSED)
    letters = [line.until + 8 + len(line.state) * timeline.LETTER for line in shown.lines]
    assert max(letters) <= shown.width


def test_a_bar_is_named_where_there_is_room_and_can_be_seen_where_there_is_none():
    shown = picture(app1={"switch": took(0, 0.01), "bake": took(1, 100)})
    assert [drawn.text for drawn in shown.lines[0].bars] == ["", "bake"]
    assert shown.lines[0].bars[0].width == timeline.THINNEST
    assert [drawn.title for drawn in shown.lines[0].bars] == [
        "app1: switch, 0.0 s, passed",
        "app1: bake, 100.0 s, passed",
    ]


def test_a_step_without_a_length_is_no_division_by_zero():
    assert picture(app1={"stage": took(0, 0)}).lines[0].bars[0].x > 0


def test_a_long_name_is_shortened_and_whole_where_it_can_be_read():
    name = "app1." + "x" * 60
    (line,) = picture(**{name: WELL}).lines
    assert (line.host, len(line.name), line.name[-1]) == (name, timeline.MAX_NAME, "…")


@pytest.mark.parametrize(
    ("length", "last"),
    [(0.5, "0 s"), (10, "10 s"), (61, "1:00 min"), (3600, "60:00 min"), (90000, "1500:00 min")],
)
def test_the_ticks_are_round_and_few(length, last):
    shown = timeline.picture([Row("app1", "released", [Span("bake", 0.0, length, "passed")])])
    assert len(shown.ticks) <= timeline.TICKS + 1
    assert shown.ticks[-1][1] == last
