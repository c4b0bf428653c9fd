# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans: from any state of a host to the wanted one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ReleaseError
from ansible_collections.evenkeel.flask.plugins.module_utils._release import (
    layout as release_layout,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._release import plan
from ansible_collections.evenkeel.flask.plugins.module_utils._release.history import Switch
from ansible_collections.evenkeel.flask.plugins.module_utils._release.layout import Layout
from ansible_collections.evenkeel.flask.plugins.module_utils._release.plan import (
    HostState,
    assume_earlier_states,
    plan_candidate,
    plan_live,
    plan_pruned,
    plan_retired,
    plan_settled,
    plan_withdrawn,
    simulate,
)


def words(steps):
    return [" ".join(filter(None, vars(step).values())) for step in steps]


def switch(release, previous, action="release"):
    return Switch("2026-11-24T00:00:00+00:00", action, release, previous)


BARE = HostState(releases=("a",), slots={"blue": None, "green": None})
LIVE_A = HostState(
    releases=("b", "a"),
    slots={"blue": "a", "green": None},
    running=frozenset({"blue"}),
    live="blue",
    history=(switch("a", None),),
)
CANDIDATE_B = simulate(LIVE_A, plan_candidate(LIVE_A, "b"))
LIVE_B = HostState(
    releases=("b", "a"),
    slots={"blue": "a", "green": "b"},
    running=frozenset({"blue", "green"}),
    live="green",
    history=(switch("a", None), switch("b", "a")),
)


class TestReleaseId:
    def test_same_content_is_the_same_release(self):
        files, env = {"x": "1", "y": "2"}, {"A": "1"}
        turned = dict(reversed(list(files.items())))
        assert release_layout.release_id("1.0", "d", files, env) == release_layout.release_id(
            "1.0", "d", turned, env
        )

    @pytest.mark.parametrize(
        "other",
        [
            ("1.1", "d", {"x": "1"}, {"A": "1"}),
            ("1.0", "e", {"x": "1"}, {"A": "1"}),
            ("1.0", "d", {"x": "2"}, {"A": "1"}),
            ("1.0", "d", {"x": "1"}, {"A": "2"}),
        ],
    )
    def test_any_change_is_another_release(self, other):
        assert release_layout.release_id(
            "1.0", "d", {"x": "1"}, {"A": "1"}
        ) != release_layout.release_id(*other)

    def test_another_interpreter_is_another_release(self):
        one, other = (
            release_layout.release_id("1.0", "d", {}, {}, [python]) for python in ("/a", "/b")
        )
        assert one != other

    @pytest.mark.parametrize(
        ("version", "start"), [("2.0.0", "2.0.0-"), ("", ""), ("v1/../x y", "v1_.._x_y-")]
    )
    def test_id_is_a_safe_directory_name(self, version, start):
        release = release_layout.release_id(version, "d", {}, {})
        assert release.startswith(start)
        assert "/" not in release
        assert " " not in release


class TestCandidate:
    def test_first_release_takes_blue(self):
        assert words(plan_candidate(BARE, "a")) == [
            "assign blue a",
            "start blue",
            "point_candidate blue",
        ]

    def test_new_release_takes_the_slot_no_user_reaches(self):
        assert words(plan_candidate(LIVE_A, "b")) == [
            "assign green b",
            "start green",
            "point_candidate green",
        ]

    def test_a_proven_candidate_is_left_alone(self):
        assert plan_candidate(CANDIDATE_B, "b") == []

    def test_live_release_is_not_started_twice(self):
        assert plan_candidate(LIVE_A, "a") == []

    def test_another_candidate_is_stopped_before_its_slot_is_reassigned(self):
        host = HostState(
            releases=("c", "b", "a"),
            slots=CANDIDATE_B.slots,
            running=CANDIDATE_B.running,
            live="blue",
            candidate="green",
        )
        assert words(plan_candidate(host, "c")) == [
            "point_candidate",
            "stop green",
            "assign green c",
            "start green",
            "point_candidate green",
        ]

    def test_warm_predecessor_needs_no_start(self):
        assert words(plan_candidate(LIVE_B, "a")) == ["point_candidate blue"]

    def test_release_that_was_never_staged_is_refused_with_what_there_is(self):
        with pytest.raises(ReleaseError, match="x is not on this host; there are: b, a"):
            plan_candidate(LIVE_A, "x")


class TestLive:
    def test_switch_is_one_rename_then_the_record(self):
        assert words(plan_live(CANDIDATE_B, "b", "release")) == [
            "point_live green",
            "record b release",
            "point_candidate",
        ]

    def test_second_switch_changes_nothing(self):
        assert plan_live(LIVE_B, "b", "release") == []

    def test_a_live_release_that_died_is_brought_back_in_the_other_slot(self):
        dead = replace(LIVE_A, running=frozenset())
        revived = simulate(dead, plan_candidate(dead, "a"))
        assert words(plan_live(revived, "a", "release"))[0] == "point_live green"

    def test_release_that_does_not_run_cannot_go_live(self):
        with pytest.raises(ReleaseError, match="runs in no slot"):
            plan_live(LIVE_A, "b", "release")


class TestCheckMode:
    """Each state is foreseen from where the states before it would have left the host."""

    def test_candidate_is_foreseen_though_nothing_was_staged(self):
        host = assume_earlier_states(LIVE_A, "candidate", "x")
        assert words(plan_candidate(host, "x"))[-1] == "point_candidate green"

    def test_switch_is_foreseen_though_no_candidate_runs(self):
        host = assume_earlier_states(LIVE_A, "live", "x")
        assert words(plan_live(host, "x", "release"))[0] == "point_live green"

    def test_nothing_is_foreseen_where_nothing_is_to_do(self):
        host = assume_earlier_states(LIVE_A, "live", "a")
        assert plan_live(host, "a", "release") == []


class TestUnrecorded:
    """Who switched may die before the history knows of it."""

    def test_a_release_is_recorded_when_the_host_settles(self):
        host = replace(LIVE_B, history=LIVE_A.history)
        steps = plan_settled(host, 5, is_as_left=True)
        assert words(steps) == ["stop blue", "record b release"]
        after = simulate(host, steps)
        assert (after.history[-1].previous, after.previous) == ("a", "a")
        assert plan_settled(after, 5, is_as_left=True) == []

    def test_what_was_rolled_back_from_is_no_way_back(self):
        host = replace(LIVE_B, live="blue")
        assert words(plan_settled(host, 5, is_as_left=True)) == ["stop green", "record a rollback"]
        assert host.previous is None


class TestWithdrawn:
    def test_candidate_is_stopped_and_users_stay(self):
        assert words(plan_withdrawn(CANDIDATE_B, "b")) == ["point_candidate", "stop green"]

    def test_a_candidate_that_dies_and_is_started_again_and_again_is_stopped_too(self):
        host = replace(CANDIDATE_B, running=frozenset({"blue"}), crash_looping=frozenset({"green"}))
        assert words(plan_withdrawn(host, "b")) == ["point_candidate", "stop green"]
        assert words(plan_retired(host)) == ["point_candidate", "stop green"]
        steps = plan_candidate(host, "b")
        assert words(steps)[:2] == ["point_candidate", "stop green"]
        assert simulate(host, steps).crash_looping == frozenset()

    def test_users_go_back_before_the_bad_release_stops(self):
        assert words(plan_withdrawn(LIVE_B, "b")) == [
            "point_live blue",
            "record a rollback",
            "stop green",
        ]

    def test_cold_predecessor_is_started_first(self):
        host = HostState(
            releases=("b", "a"), slots=LIVE_B.slots, running=frozenset({"green"}), live="green"
        )
        assert words(plan_withdrawn(host, "b"))[:2] == ["start blue", "point_live blue"]

    def test_first_release_ever_leaves_nothing_live(self):
        host = HostState(
            releases=("a",), slots={"blue": "a"}, running=frozenset({"blue"}), live="blue"
        )
        assert words(plan_withdrawn(host, "a")) == ["point_live", "record rollback", "stop blue"]

    def test_unknown_release_needs_nothing(self):
        assert plan_withdrawn(LIVE_A, "x") == []


class TestRetiredAndPruned:
    def test_live_slot_is_never_retired(self):
        assert words(plan_retired(LIVE_B)) == ["stop blue"]
        assert plan_retired(LIVE_A) == []

    def test_a_host_is_settled_in_one_go_and_remembered_if_it_is_not_as_it_was_left(self):
        host = replace(LIVE_B, releases=("d", "c", "b", "a"))
        assert words(plan_settled(host, 1, True)) == ["stop blue", "remove c"]
        assert words(plan_settled(host, 9, False)) == ["stop blue", "remember"]

    def test_a_worker_is_recycled_when_the_slot_that_held_a_guard_has_stopped(self):
        steps = plan_settled(LIVE_B, 9, True, ["port 127.0.0.1:47200"])
        assert words(steps) == ["stop blue", "recycle green port 127.0.0.1:47200"]
        # A second run finds the other slot stopped, and does nothing.
        assert plan_settled(simulate(LIVE_B, steps), 9, True, ["port 127.0.0.1:47200"]) == []

    def test_nothing_a_slot_or_a_way_back_needs_is_pruned(self):
        host = HostState(
            releases=("e", "d", "c", "b", "a"),
            slots={"blue": "a", "green": "e"},
            live="green",
            history=tuple(switch(r, None) for r in "bacde"),
        )
        assert words(plan_pruned(host, keep=1)) == ["remove c", "remove b"]


class TestPrevious:
    @pytest.mark.parametrize(
        ("history", "live", "previous"),
        [
            ((), None, None),
            ((switch("a", None),), "a", None),
            ((switch("a", None), switch("b", "a")), "b", "a"),
            # Rolling back twice goes further back, never forward into the bad release.
            (
                (
                    switch("a", None),
                    switch("b", "a"),
                    switch("c", "b"),
                    switch("b", "c", "rollback"),
                ),
                "b",
                "a",
            ),
            # Cut off between the switch and its record.
            ((switch("a", None),), "b", "a"),
        ],
    )
    def test_previous_is_the_last_good_one(self, history, live, previous):
        host = HostState(
            releases=("c", "b", "a"), slots={"blue": live}, live="blue", history=history
        )
        assert host.previous == previous

    def test_a_release_that_is_gone_is_no_way_back(self):
        host = HostState(
            releases=("b",), slots={"blue": "b"}, live="blue", history=(switch("a", None),)
        )
        assert host.previous is None


def test_a_history_line_that_a_crash_cut_off_is_passed_over():
    whole = switch("a", None).to_line()
    assert Switch.from_line(whole) == switch("a", None)
    assert Switch.from_line(whole[:20]) is None


def test_what_the_history_says_besides_is_kept_and_overrules_nothing():
    told = replace(switch("a", None), details={"who": "alice", "release": "z"})
    read = Switch.from_line(told.to_line())
    assert read.as_dict() == {**switch("a", None).as_dict(), "who": "alice"}
    assert Switch.from_line("[]") is None


@pytest.mark.parametrize("host", [BARE, LIVE_A, CANDIDATE_B, LIVE_B])
@pytest.mark.parametrize("release", ["a"])
def test_every_plan_done_once_leaves_nothing_to_do(host, release):
    after = simulate(host, plan_candidate(host, release))
    assert plan_candidate(after, release) == []
    after = simulate(after, plan_live(after, release, "release"))
    assert plan_live(after, release, "release") == []
    after = simulate(after, plan_retired(after))
    assert plan_retired(after) == []
    assert after.live_release == release


def test_layout_is_the_documented_one():
    layout = Layout("shop")
    assert layout.release("r") == "/srv/shop/releases/r"
    assert layout.socket("blue") == "/run/shop/blue.sock"
    assert layout.unit("green") == "shop@green.service"
    assert layout.slot_of_socket("/run/shop/green.sock") == "green"
    assert layout.slot_of_socket("/elsewhere") is None


def line(action, release, previous, **details):
    known = {"who": "alice", "controller": "ci-7", "commit": "", "took": {"stage": 0.0}}
    return Switch("t", action, release, previous, {**known, **details})


RELEASED = [
    line("release", "a", None, took={"stage": 1.5}),
    line("release", "b", "a", took={"stage": 1.5}),
]
BACK = line("rollback", "a", "b")


@pytest.mark.parametrize(
    ("history", "gone"),
    [
        # A person's word holds until somebody wants the release again.
        ([], []),
        (RELEASED, []),
        ([*RELEASED, BACK], ["b"]),
        ([*RELEASED, BACK, line("release", "c", "a")], ["b"]),
        ([*RELEASED, BACK, line("release", "b", "a")], []),
        ([*RELEASED, BACK, line("rollback", "b", "a")], ["a"]),
        ([*RELEASED, BACK, line("release", "b", "a"), BACK], ["b"]),
        ([*RELEASED, line("rollback", None, "b")], ["b"]),
        # A release that failed by itself may be tried again.
        ([*RELEASED, line("rollback", "a", "b", withdrawn=True)], []),
        ([*RELEASED, BACK, line("release", "b", "a"), line("rollback", "a", "b", withdrawn=True)], []),
        # Lines of earlier versions have no such word: their runs staged, or knew a commit.
        ([*RELEASED, line("rollback", "a", "b", commit="3f2a1b0c9d8e")], []),
        ([*RELEASED, line("rollback", "a", "b", took={"stage": 2.5})], []),
        # What a killed run did is recorded by the next one, which knows nobody.
        ([*RELEASED, Switch("t", "rollback", "a", "b")], []),
        # The same code in another configuration is wanted again.
        ([*RELEASED, BACK, line("release", "b2", "a", digest="db")], []),
    ],
)  # fmt: skip
def test_a_release_that_a_person_went_back_from_is_known(history, gone):
    found = plan.rolled_back(history, {"a": "da", "b": "db"})
    assert [one["release"] for one in found] == gone
    assert all(one["who"] == "alice" and one["digest"] for one in found)


def test_a_release_that_was_removed_is_still_known_by_its_code():
    history = [line("release", "b", "a", digest="db"), BACK]
    (found,) = plan.rolled_back(history, {})
    assert (found["release"], found["digest"]) == ("b", "db")
