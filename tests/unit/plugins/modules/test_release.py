# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task uses it. The molecule tests cover the parts that need a running systemd."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._release import history, layout
from ansible_collections.evenkeel.flask.plugins.module_utils._release import lock as release_lock
from ansible_collections.evenkeel.flask.plugins.module_utils._release import slots as release_slots
from ansible_collections.evenkeel.flask.plugins.module_utils._release import stage as release_stage
from ansible_collections.evenkeel.flask.plugins.modules import release
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

STAGED: dict[str, Any] = {
    "state": "staged",
    "archive": "/nowhere/shop.tar",
    "wheels": "/nowhere/shop.wheels.tar",
    "digest": "d",
    "version": "1.0",
}
STATES: dict[str, dict[str, Any]] = {
    "staged": STAGED,
    "candidate": {"state": "candidate", "release": "b"},
    "live": {"state": "live", "release": "b"},
    "withdrawn": {"state": "withdrawn", "release": "a"},
    "settled": {"state": "settled", "keep": 0},
}


class Host:
    """A host that consists of files; its fake systemd reports the running units and rejects changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = layout.Layout("shop", str(root))
        self.base = root / "shop"
        self.running: set[str] = set()
        self.restless: set[str] = set()

    def systemctl(self, verb: str, *args: str) -> subprocess.CompletedProcess[str]:
        assert verb == "is-active", f"systemctl {verb} {args}"
        states = {"active": self.running, "activating": self.restless}
        units = {self.layout.unit(slot): word for word, slots in states.items() for slot in slots}
        return subprocess.CompletedProcess(args, 0, f"{units.get(args[-1], 'inactive')}\n")

    def set_up(
        self,
        *releases: str,
        live: str | None = None,
        candidate: str | None = None,
        running: tuple[str, ...] = (),
        **slots: str,
    ) -> None:
        """Lay out C(releases), the oldest first, in C(slots)."""
        for place in ("releases", "slots", "venvs", "archives"):
            (self.base / place).mkdir(parents=True)
        for age, name in enumerate(releases):
            folder = Path(self.layout.release(name))
            folder.mkdir()
            (folder / "release.json").write_text(f'{{"archive": "{name}.tar"}}')
            (folder / "venv").symlink_to(f"../../venvs/of-{name}")
            (self.base / "venvs" / f"of-{name}").mkdir()
            (self.base / "archives" / f"{name}.tar").touch()
            os.utime(folder, (age, age))
        for slot, name in slots.items():
            os.symlink(self.layout.release(name), self.layout.slot(slot))
        for link, target in ((self.layout.live, live), (self.layout.candidate, candidate)):
            if target:
                os.symlink(self.layout.socket(target), link)
        if live:
            switch = history.Switch("2026-11-24T00:00:00+00:00", "release", slots[live], None)
            Path(self.layout.history).write_text(switch.to_line())
        self.running = set(running)

    def found(self) -> dict[str, str]:
        """All that is there, with the targets of links and the text of files."""
        return {
            str(path.relative_to(self.root)): os.readlink(path)
            if path.is_symlink()
            else path.read_text()
            if path.is_file()
            else "a folder"
            for path in self.root.rglob("*")
        }

    def __call__(self, check_mode=False, **params):
        return run_module(release, check_mode, name="shop", root=str(self.root), **params)


@pytest.fixture(name="host")
def _host(tmp_path, monkeypatch):
    host = Host(tmp_path / "srv")
    monkeypatch.setattr(release_slots, "_systemctl", host.systemctl)
    return host


@pytest.fixture(name="staged")
def _staged(monkeypatch):
    """The releases that were made; they are not made here."""
    staged: list[release_stage.ReleaseSpec] = []
    monkeypatch.setattr(release_stage, "stage", staged.append)
    return staged


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "missing required arguments: state"),
        ({"state": "running"}, "value of state must be one of: staged, candidate, live"),
        ({"state": "staged"}, "state is staged but all of the following are missing: archive"),
        (
            {"state": "staged", "archive": "/x"},
            "state is staged but all of the following are missing: wheels, digest",
        ),
        ({"state": "candidate"}, "state is candidate but all of the following are missing: rel"),
        ({"state": "live"}, "state is live but all of the following are missing: release"),
        ({"state": "withdrawn"}, "state is withdrawn but all of the following are missing: rel"),
        ({"state": "live", "release": "a", "action": "undo"}, "value of action must be one of"),
        ({"state": "settled", "keep": "many"}, "'keep' is of type"),
        ({"state": "settled", "realease": "a"}, "Unsupported parameters"),
    ],
)
def test_a_bad_argument_touches_nothing(host, params, message):
    result = run_module(release, **{"name": "shop", "root": str(host.root), **params})
    assert result["failed"] is True
    assert message in result["msg"]
    assert host.found() == {}


class TestCheckMode:
    @pytest.mark.parametrize(
        ("state", "steps"),
        [
            (
                "candidate",
                ["point_candidate", "assign green b", "start green", "point_candidate green"],
            ),
            ("live", ["point_live green", "record b release", "point_candidate"]),
            ("withdrawn", ["start green", "point_live green", "record c rollback", "stop blue"]),
            ("settled", ["point_candidate", "remove b", "remember"]),
        ],
    )
    def test_each_state_is_foreseen_and_nothing_is_done(self, host, state, steps):
        host.set_up(
            "a", "b", "c", blue="a", green="c", live="blue", candidate="green", running=("blue",)
        )
        if state == "withdrawn":
            os.unlink(host.layout.candidate)
        before = host.found()
        result = host(check_mode=True, **STATES[state])
        assert (result["changed"], result["steps"]) == (True, steps)
        assert host.found() == before

    def test_a_release_to_come_is_foreseen_through_all_its_states(self, host, staged):
        host.set_up("a", blue="a", live="blue", running=("blue",))
        result = host(check_mode=True, **STAGED)
        assert result["steps"] == [f"stage {result['release']}"]
        assert staged == []
        result = host(check_mode=True, state="candidate", release=result["release"])
        assert (result["live"], result["candidate"]) == ("a", result["release"])
        result = host(check_mode=True, state="live", release=result["release"])
        assert (result["live"], result["live_slot"]) == (result["release"], "green")

    def test_a_diff_shows_what_would_come_of_it(self, host):
        host.set_up("a", "b", blue="a", green="b", live="blue", running=("blue", "green"))
        diff = host(check_mode=True, **STATES["live"])["diff"]
        assert "live: a\n" in diff["before"]
        assert "live: b\n" in diff["after"]

    @pytest.mark.parametrize("state", STATES)
    def test_a_host_that_is_not_set_up_stays_as_it_is(self, host, state):
        assert not host(check_mode=True, **STATES[state]).get("failed")
        assert host.found() == {}


class TestNothingToDo:
    """A state that is already reached is not changed, with and without check mode."""

    @pytest.mark.parametrize("check_mode", [False, True])
    @pytest.mark.parametrize(
        "params",
        [
            {"state": "candidate", "release": "b"},
            {"state": "live", "release": "a"},
            {"state": "withdrawn", "release": "x"},
        ],
    )
    def test_a_state_that_is_reached_changes_nothing(self, host, params, check_mode):
        host.set_up(
            "a", "b", blue="a", green="b", live="blue", candidate="green",
            running=("blue", "green"),
        )  # fmt: skip
        before = host.found()
        result = host(check_mode, **params)
        assert (result["changed"], result["steps"]) == (False, [])
        assert result["diff"]["before"] == result["diff"]["after"]
        assert host.found() == before

    @pytest.mark.parametrize("check_mode", [False, True])
    def test_a_host_that_is_settled_has_nothing_to_settle(self, host, check_mode):
        host.set_up("a", "b", blue="a", green="b", live="blue", running=("blue",))
        host(state="settled")
        before = host.found()
        assert host(check_mode, state="settled")["changed"] is False
        assert host.found() == before

    @pytest.mark.parametrize("check_mode", [False, True])
    def test_a_release_that_is_there_is_not_made_again(self, host, staged, check_mode):
        name = host(check_mode=True, **STAGED)["release"]
        host.set_up(name)
        result = host(check_mode, **STAGED)
        assert (result["changed"], result["steps"], result["release"]) == (False, [], name)
        assert staged == []


class TestWithoutSystemd:
    """Steps that start or stop no slot; a second run changes nothing."""

    def test_a_candidate_that_does_not_run_is_withdrawn(self, host):
        host.set_up("a", "b", blue="a", green="b", live="blue", candidate="green")
        assert host(state="withdrawn", release="b")["steps"] == ["point_candidate"]
        assert not os.path.lexists(host.layout.candidate)
        assert os.readlink(host.layout.live) == host.layout.socket("blue")
        assert host(state="withdrawn", release="b")["changed"] is False

    def test_the_first_release_ever_can_be_withdrawn(self, host):
        host.set_up("a", blue="a", live="blue")
        result = host(state="withdrawn", release="a")
        assert result["steps"] == ["point_live", "record rollback"]
        assert (result["live"], result["live_slot"]) == (None, None)
        assert not os.path.lexists(host.layout.live)
        line = Path(host.layout.history).read_text().splitlines()[-1]
        switch = history.Switch.from_line(line)
        assert switch
        assert (switch.action, switch.release, switch.previous) == ("rollback", None, "a")
        assert host(state="withdrawn", release="a")["changed"] is False

    def test_a_history_that_cannot_be_written_keeps_nobody_from_going_back(self, host, monkeypatch):
        def append_line(path, line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        warned = []
        # If other tests have loaded Ansible's display, a warning goes there.
        monkeypatch.setattr(release.AnsibleModule, "warn", lambda _self, text: warned.append(text))
        monkeypatch.setattr(release_slots, "append_line", append_line)
        host.set_up("a", blue="a", live="blue")
        result = host(state="withdrawn", release="a")
        assert result["live"] is None
        assert not os.path.lexists(host.layout.live)
        (warning,) = warned
        assert "This switch is not in the history: [Errno 28] No space left" in warning

    def test_a_full_disk_is_told_with_what_to_do(self, host, monkeypatch):
        def stage(wanted):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full")

        monkeypatch.setattr(release_stage, "stage", stage)
        host.set_up()
        assert host(**STAGED)["msg"] == (
            "[Errno 28] No space left on device: '/full'. "
            f"Free some space where {host.base} is, and run it again."
        )

    def test_a_way_to_a_candidate_that_died_is_removed(self, host):
        host.set_up("a", "b", blue="a", green="b", live="blue", candidate="green")
        assert host(state="settled")["steps"] == ["point_candidate", "remember"]
        assert not os.path.lexists(host.layout.candidate)
        assert host(state="settled")["changed"] is False

    def test_old_releases_go_with_all_that_only_they_used(self, host):
        host.set_up("a", "b", "c", "d", "e", blue="a", green="e", live="green")
        result = host(state="settled", keep=2)
        assert result["steps"] == ["remove c", "remove b", "remember"]
        left = {
            folder: sorted(os.listdir(host.base / folder))
            for folder in ("releases", "venvs", "archives")
        }
        assert left == {
            "releases": ["a", "d", "e"],
            "venvs": ["of-a", "of-d", "of-e"],
            "archives": ["a.tar", "d.tar", "e.tar"],
        }
        assert host(state="settled", keep=2)["changed"] is False

    def test_a_venv_and_an_archive_that_another_release_uses_stay(self, host):
        host.set_up("a", "b", "c", blue="c", live="blue")
        newest = Path(host.layout.release("c"))
        (newest / "venv").unlink()
        (newest / "venv").symlink_to("../../venvs/of-a")
        (newest / "release.json").write_text('{"archive": "a.tar"}')
        os.utime(newest, (9, 9))
        assert host(state="settled", keep=1)["steps"] == ["remove b", "remove a", "remember"]
        assert os.listdir(host.base / "venvs") == ["of-a"]
        assert os.listdir(host.base / "archives") == ["a.tar"]

    def test_a_release_that_is_not_there_is_told_with_those_that_are(self, host):
        host.set_up("a", blue="a", live="blue")
        before = host.found()
        result = host(state="candidate", release="x")
        assert result["failed"] is True
        assert result["msg"].startswith(
            "Release x is not on this host; there are: a. Stage it first"
        )
        assert host.found() == before

    def test_a_release_that_runs_nowhere_cannot_go_live(self, host):
        host.set_up("a", "b", blue="a", green="b", live="blue", running=("blue",))
        before = host.found()
        result = host(state="live", release="b")
        assert result["failed"] is True
        assert "runs in no slot of this host" in result["msg"]
        assert host.found() == before


class TestStaged:
    def test_what_was_asked_for_is_made(self, host, staged):
        host.set_up()
        result = host(
            **STAGED, entry="shop:app", files={"gunicorn.conf.py": "workers = 5\n"},
            environment={"WORKERS": 5}, shared=["instance"], python="/usr/bin/python3.11", user="web",
        )  # fmt: skip
        assert result["changed"] is True
        assert result["steps"] == [f"stage {result['release']}"]
        assert staged == [
            release_stage.ReleaseSpec(
                layout=host.layout,
                release_id=result["release"],
                version="1.0",
                archive=host.layout.path("archives", "shop.tar"),
                wheels=host.layout.path("archives", "shop.wheels.tar"),
                digest="d",
                python="/usr/bin/python3.11",
                user="web",
                entry="shop:app",
                files={"gunicorn.conf.py": "workers = 5\n"},
                environment={"WORKERS": "5"},
                shared=("instance",),
                start_timeout=60.0,
            )
        ]

    @pytest.mark.parametrize(
        "other",
        [
            {"digest": "e"},
            {"version": "1.1"},
            {"files": {"x": "1"}},
            {"environment": {"A": "1"}},
            {"shared": ["instance"]},
            {"python": "/usr/bin/python3.12"},
            {"user": "web"},
        ],
    )
    def test_all_that_a_release_is_made_of_is_in_its_id(self, host, other):
        one = host(check_mode=True, **STAGED)
        two = host(check_mode=True, **{**STAGED, **other})
        assert one["release"] != two["release"]

    def test_the_apps_own_user_is_the_default(self, host, staged):
        host.set_up()
        host(**STAGED)
        host(**STAGED, user="shop")
        assert [wanted.user for wanted in staged] == ["shop", "shop"]
        assert staged[0].release_id == staged[1].release_id

    def test_an_archive_that_is_not_there_leaves_nothing(self, host):
        host.set_up()
        result = host(**STAGED)
        assert result["failed"] is True
        assert "/archives/shop.tar is not an archive of this collection" in result["msg"]
        assert os.listdir(host.base / "releases") == []


class TestLock:
    """A slot is only moved by the run that holds the host's lock."""

    ALICE = {"run": "a/1/1", "who": "alice", "controller": "ci-7"}  # noqa: RUF012
    BOB = {"run": "b/2/2", "who": "bob", "controller": "laptop"}  # noqa: RUF012

    @pytest.fixture(name="lock", autouse=True)
    def _lock(self, tmp_path, monkeypatch):
        path = tmp_path / "lock"
        monkeypatch.setattr(release_lock, "path", lambda _app: str(path))
        return path

    def test_another_run_is_refused_and_moves_nothing(self, host):
        host.set_up("a", "b", blue="a", live="blue", running=("blue",))
        host(state="live", release="a", lock_seconds=60, **self.ALICE)
        before = host.found()
        result = host(state="candidate", release="b", lock_seconds=60, **self.BOB)
        assert "A rollout of shop is under way: alice started it on ci-7" in result["msg"]
        assert host.found() == before

    def test_the_run_that_holds_it_holds_it_for_longer(self, host, lock):
        host.set_up("a", blue="a", live="blue", running=("blue",))
        until = []
        for seconds in (60, 600):
            host(state="live", release="a", lock_seconds=seconds, **self.ALICE)
            until.append(release_lock.Lock.from_text(lock.read_text()).until)
        assert until[1] > until[0]

    def test_a_host_that_is_settled_is_open_to_the_next(self, host):
        host.set_up("a", blue="a", live="blue", running=("blue",))
        host(state="settled", lock_seconds=60, **self.ALICE)
        assert not host(state="live", release="a", lock_seconds=60, **self.BOB).get("failed")

    @pytest.fixture(name="through")
    def _through(self, host, monkeypatch):
        """Stages, with an answer of its live release, what has been settled on the host already."""
        name = host(check_mode=True, **STAGED)["release"]
        host.set_up("a", name, blue=name, green="a", live="blue", running=("blue",))
        host(state="settled")

        def stage(status=200, **params):
            monkeypatch.setattr(release_slots, "try_query", lambda *_asked: (status, name))
            return host(**STAGED, lock_seconds=60, **self.ALICE, **params)

        return stage

    def test_a_host_that_needs_nothing_more_is_open_to_the_next(self, host, through):
        result = through()
        assert (result["changed"], result["settled"]) == (False, True)
        assert not host(state="settled", lock_seconds=60, **self.BOB).get("failed")

    def test_a_host_that_does_not_answer_well_stays_locked(self, host, through):
        assert through(status=500)["settled"] is False
        assert host(state="settled", lock_seconds=60, **self.BOB)["failed"]

    def test_a_host_that_has_too_much_stays_locked(self, host, through):
        Path(host.layout.slot("green")).unlink()
        assert through(keep=0)["settled"] is False
        assert host(state="settled", lock_seconds=60, **self.BOB)["failed"]

    def test_a_host_that_gets_another_release_stays_locked(self, host, through, staged):
        assert through(python="/usr/bin/another")["settled"] is False
        assert staged != []
        assert host(state="settled", lock_seconds=60, **self.BOB)["failed"]

    def test_check_mode_takes_none(self, host, lock):
        host.set_up("a", blue="a", live="blue", running=("blue",))
        host(check_mode=True, state="settled", lock_seconds=60, **self.ALICE)
        assert not lock.exists()


class TestSecrets:
    def test_values_of_the_environment_are_never_shown(self, host, staged, monkeypatch):
        host.set_up()
        secret = {"TOKEN": "hunter2", "PIN": "17"}
        result = host(**STAGED, environment=secret)
        assert staged[0].environment == secret
        assert "hunter2" not in str(result)
        assert result["invocation"]["module_args"]["environment"] == ["PIN", "TOKEN"]

        def refuse(_wanted):
            raise ArchiveError("the app said: hunter2 does not open")

        monkeypatch.setattr(release_stage, "stage", refuse)
        result = host(**STAGED, environment=secret)
        assert result["msg"] == "the app said: ******** does not open"
        assert "hunter2" not in str(result)

    @pytest.mark.parametrize("value", ["1", "0", "stage", "1.0", "shop"])
    def test_a_value_that_is_part_of_an_id_by_chance_does_not_spoil_it(self, host, staged, value):
        host.set_up()
        result = host(**STAGED, environment={"VALUE": value})
        assert result["release"] == staged[0].release_id
        assert result["steps"] == [f"stage {result['release']}"]


def test_every_value_that_is_returned_is_documented(host):
    host.set_up("a", blue="a", live="blue")
    result = host(check_mode=True, **STAGED)
    returned = set(result) - {"changed", "invocation", "diff", "warnings"}
    assert returned == set(yaml.safe_load(release.RETURN))
    assert yaml.safe_load(release.EXAMPLES)
