# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a run, as lines; how it lives in a terminal is in the tests of the callback."""

from __future__ import annotations

import io
import os
import threading
from types import SimpleNamespace

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _terminal
from ansible_collections.evenkeel.flask.plugins.plugin_utils._terminal import Host
from hypothesis import given
from hypothesis import strategies as st

BAKING = Host(0.0, "Watch the release while its predecessor is warm", 60.0, None, "switched")
REFUSED = Host(0.0, "Gate the release", 60.0, 63.0, "refused")
DONE = Host(0.0, "Stop the slot", 60.0, 61.0, "done")
WAITING = Host(0.0, "Stage the release", 5.0, 9.0, "staged")


def lines(hosts, width=100, height=20, **more):
    return [line for line, _color in _terminal.table(hosts, 70.0, width, height, **more)]


def test_a_row_says_the_step_how_long_it_takes_and_the_verdict():
    assert lines({"app1": BAKING, "app2": REFUSED}) == [
        "host  step                                             elapsed  verdict",
        "app1  Watch the release while its predecessor is warm    00:10  switched",
        "app2  Gate the release                                   00:03  refused",
    ]


def test_in_the_end_the_time_is_that_of_the_whole_run():
    assert lines({"app1": DONE}, final=True)[1].split()[-2:] == ["01:01", "done"]


def test_a_row_has_the_colour_of_its_verdict():
    shown = _terminal.table({"app1": BAKING, "app2": REFUSED, "app3": WAITING}, 70.0, 100, 20)
    assert [color for _line, color in shown] == [None, "green", "red", None]


def test_of_a_large_fleet_those_that_matter_are_shown_and_the_rest_is_counted():
    fleet = {f"app{number}": DONE for number in range(20)}
    fleet |= {"app20": BAKING, "app21": REFUSED, "app22": WAITING}
    shown = lines(fleet, height=5)
    assert [line.split()[0] for line in shown[1:4]] == ["app0", "app20", "app21"]
    assert shown[4] == "and 20 more: 19 done, 1 staged"
    assert len(lines(fleet, height=24)) == 24


def test_as_many_rows_as_fit_are_shown_in_the_order_of_the_fleet():
    fleet = {"app2": DONE, "app1": BAKING}
    assert [line.split()[0] for line in lines(fleet, height=3)[1:]] == ["app2", "app1"]


@given(
    st.dictionaries(st.text(max_size=90), st.sampled_from([BAKING, REFUSED, DONE, WAITING])),
    st.integers(_terminal.MIN_COLUMNS - 1, 200),
    st.integers(3, 30),
)
def test_the_table_is_never_larger_than_it_may_be(hosts, width, height):
    shown = lines(hosts, width, height)
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)


def test_no_host_is_no_row():
    assert len(lines({})) == 1


@pytest.mark.parametrize(
    ("action", "state", "outcome", "word"),
    [
        ("rollout_gate", None, "ok", "passed"),
        ("rollout_gate", None, "failed", "refused"),
        ("rollout_bake", None, "ok", "baked"),
        ("rollout_bake", None, "failed", "refused"),
        ("release", "staged", "ok", "staged"),
        ("release", "candidate", "failed", "refused"),
        ("release", "live", "ok", "switched"),
        ("release", "withdrawn", "ok", "taken back"),
        ("release", "settled", "ok", "done"),
        ("release", "live", "unreachable", "lost"),
        ("copy", None, "ok", ""),
        ("copy", None, "failed", "failed"),
        ("copy", None, "passed over", ""),
    ],
)
def test_what_a_result_says_of_a_release_is_a_word(action, state, outcome, word):
    assert _terminal.verdict(action, state, outcome, {"verdict": "passed"}) == word


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["staged", "", "started"], "started"),
        (["refused", "taken back", "failed", ""], "refused"),
        (["failed", "refused", "done"], "refused"),
        (["refused", "lost", "done"], "lost"),
    ],
)
def test_what_came_of_a_host_stays(words, last):
    host = Host(0.0)
    for word in words:
        host.end(1.0, word)
    assert host.verdict == last


@pytest.mark.parametrize(
    ("is_tty", "term", "can"),
    [(True, "xterm", True), (False, "xterm", False), (True, "dumb", False), (True, None, False)],
)
def test_only_a_terminal_that_can_move_is_drawn_in(is_tty, term, can):
    environment = {} if term is None else {"TERM": term}
    assert _terminal.is_terminal(SimpleNamespace(isatty=lambda: is_tty), environment) is can


class Display:
    """Ansible's, as far as a screen touches it; C(asked) is called while a question waits for its answer."""

    def __init__(self, out):
        self.out = out
        self._lock = threading.RLock()
        self.asked = lambda: None

    def display(self, msg, newline=True, **_more):
        self.out.write(msg + "\n" * newline)

    def prompt(self, msg):
        self.display(msg, newline=False)
        self.asked()
        return "yes"

    def prompt_until(self, msg):
        self.display(msg)
        self.asked()
        return "yes"


@pytest.fixture(name="screen")
def _screen(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(out, "fileno", lambda: 1)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, 24)))
    monkeypatch.setattr(_terminal, "MIN_SECONDS", 0.0)
    screen = _terminal.Screen(Display(out), lambda _width, _height: ["table"], out)
    yield screen, out
    screen.close()


def after(out):
    """Return the output since the last call."""
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text.replace(_terminal.UP_AND_CLEAR.format(1), "<clear>")


def test_a_text_stands_above_the_table(screen):
    screen, out = screen
    screen.refresh()
    screen.display.display("one")
    screen.display.display("two")
    assert after(out) == "table\n<clear>one\ntable\n<clear>two\ntable\n"


@pytest.mark.parametrize(("name", "end"), [("prompt", ""), ("prompt_until", "\n")])
def test_nothing_is_drawn_while_a_question_waits(screen, name, end):
    screen, out = screen
    screen.refresh()
    after(out)
    screen.display.asked = screen.refresh
    assert getattr(screen.display, name)("Go on? ") == "yes"
    assert after(out) == f"<clear>Go on? {end}"


def test_nothing_is_drawn_in_the_middle_of_a_line(screen):
    screen, out = screen
    screen.display.display("so ", newline=False)
    screen.refresh()
    screen.display.display("far")
    assert after(out) == "so far\ntable\n"


def test_nothing_is_drawn_where_it_is_too_narrow(screen, monkeypatch):
    screen, out = screen
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((20, 24)))
    screen.refresh()
    assert after(out) == ""


def test_whoever_holds_the_lock_of_the_display_is_not_drawn_over(screen):
    screen, out = screen
    with screen.display._lock:
        other = threading.Thread(target=screen.refresh)
        other.start()
        other.join(0.1)
        assert after(out) == ""
    other.join()
    assert after(out) == "table\n"


def test_in_the_end_the_display_is_as_it_was(screen):
    screen, out = screen
    screen.refresh()
    screen.close()
    screen.display.display("the end")
    screen.refresh()
    assert after(out) == "table\n<clear>the end\n"
    assert screen.display.display.__func__ is Display.display


def test_a_worker_draws_nothing(screen, monkeypatch):
    screen, out = screen
    screen.refresh()
    after(out)
    monkeypatch.setattr(screen, "_pid", 0)
    screen.display.display("proxied")
    assert after(out) == "proxied\n"
    monkeypatch.undo()
