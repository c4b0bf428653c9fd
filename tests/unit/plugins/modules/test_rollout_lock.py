# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock as a task sees it."""

from __future__ import annotations

import contextlib
import threading

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._release import lock
from ansible_collections.evenkeel.flask.plugins.modules import rollout_lock
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

ALICE = {"run": "a/1/1", "who": "alice", "controller": "ci-7"}
BOB = {"run": "b/2/2", "who": "bob", "controller": "laptop"}


@pytest.fixture(name="ask")
def _ask(tmp_path):
    def ask(check_mode=False, **params):
        return run_module(rollout_lock, check_mode, name="shop", directory=str(tmp_path), **params)

    return ask


@pytest.fixture(name="now")
def _now(monkeypatch):
    """The host's clock."""

    class Clock:
        seconds = 1_000_000.0

        def time(self):
            return self.seconds

    clock = Clock()
    monkeypatch.setattr(lock, "time", clock)
    return clock


def test_who_comes_first_holds_it(ask):
    result = ask(**ALICE)
    assert result["changed"] is True
    assert result["holder"].items() >= ALICE.items()


def test_another_run_is_refused_and_told_who_since_when_from_where_and_until_when(ask, now):
    ask(**ALICE)
    result = ask(**BOB)
    assert result["failed"] is True
    assert result["holder"]["who"] == "alice"
    assert result["msg"] == (
        "A rollout of shop is under way: alice started it on ci-7 at 1970-01-12T13:46:40+00:00, and its "
        "lock lasts until 1970-01-12T14:16:40+00:00. Wait for its end. If it is known to be gone, break "
        "its lock: -e rollout_break_lock=true"
    )


def test_the_holder_holds_it_for_longer_each_time(ask, now):
    first = ask(**ALICE)["holder"]
    now.seconds += 60
    second = ask(**ALICE)["holder"]
    assert second["since"] == first["since"]
    assert second["until"] > first["until"]


def test_it_ends_by_itself(ask, now):
    ask(seconds=10, **ALICE)
    now.seconds += 9
    assert ask(**BOB)["failed"] is True
    now.seconds += 1
    assert ask(**BOB)["holder"]["who"] == "bob"


@pytest.mark.parametrize("how", [{"force": True}, {"gone": "a/1/1"}])
def test_it_is_taken_from_a_run_that_is_gone(ask, how):
    ask(**ALICE)
    assert ask(**BOB, **how)["holder"]["who"] == "bob"
    assert ask(**ALICE)["failed"] is True


def test_another_one_that_is_gone_does_not_matter(ask):
    ask(**ALICE)
    assert ask(**BOB, gone="c/3/3")["failed"] is True


def test_only_the_holder_gives_it_back(ask):
    ask(**ALICE)
    kept = ask(state="free", **BOB)
    assert (kept["changed"], kept["holder"]["who"]) == (False, "alice")
    given = ask(state="free", **ALICE)
    assert (given["changed"], given["holder"]) == (True, None)
    assert ask(state="free", **ALICE)["changed"] is False
    assert ask(**BOB)["changed"] is True


def test_check_mode_tells_and_touches_nothing(ask, tmp_path):
    assert ask(True, **ALICE)["changed"] is True
    assert not list(tmp_path.iterdir())
    ask(**ALICE)
    assert ask(True, **BOB)["failed"] is True
    assert ask(True, state="free", **ALICE)["changed"] is True
    assert ask(**BOB)["failed"] is True


@pytest.mark.parametrize("left", ["", '{"run": "a', "[]", '{"run": 1}', "\0"])
def test_what_a_crash_left_is_no_lock(ask, tmp_path, left):
    (tmp_path / "evenkeel-shop.lock").write_text(left)
    assert ask(**ALICE)["holder"]["who"] == "alice"


def test_a_place_that_cannot_be_written_is_named():
    result = run_module(rollout_lock, name="shop", directory="/proc/nowhere", **ALICE)
    assert (
        result["msg"]
        == "The lock /proc/nowhere/evenkeel-shop.lock cannot be kept: No such file or directory."
    )


def test_of_many_at_once_one_holds_it(tmp_path):
    path = str(tmp_path / "lock")
    held = []

    def run(number):
        with contextlib.suppress(lock.HeldError):
            lock.acquire(path, "shop", lock.Lock(str(number), "who", "where", 1.0, 2.0))
            held.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1
    assert lock.Lock.from_text((tmp_path / "lock").read_text()).run == str(held[0])
