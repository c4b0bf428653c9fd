# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch over a release, with logs in a folder and a clock from the test."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._bake import watch as bake_watch

NOW = 1_800_000_000.0


def line(release="2-b", at=NOW, **more):
    record = {"time": bake_watch.stamp(at), "release": release, "path": "/cart", "status": 200}
    return json.dumps({**record, "duration_ms": 5.0, **more}) + "\n"


class World:
    """The host that a watch samples; C(scenes) has the events of each second."""

    def __init__(self, directory):
        self.directory = directory
        self.seconds = 0.0
        self.scenes = {}
        self.wrong = None
        self.workers = {11: {"memory_mb": 40.0}}
        self.warm_workers = {7: {"memory_mb": 40.0}, 8: {"memory_mb": 42.0}}
        self.state = {"ActiveState": "active", "NRestarts": "0", "Result": "success"}

    def sleep(self, seconds):
        self.seconds += seconds
        self.scenes.get(round(self.seconds), lambda: None)()

    def write(self, *lines, name="access.log"):
        with open(self.directory / name, "a", encoding="utf-8") as stream:
            stream.writelines(lines)

    def watch(self, against="1-a"):
        return bake_watch.BakeMonitor(
            release="2-b",
            against=against,
            directory=str(self.directory),
            health_path="/health",
            health=lambda: self.wrong,
            unit=lambda: dict(self.state),
            workers=lambda: self.workers,
            warm_workers=lambda: self.warm_workers,
            max_slowdown=1.25,
            clock=lambda: self.seconds,
            now=lambda: NOW + self.seconds,
            sleep=self.sleep,
        )


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_all_is_well_until_the_time_is_over(world):
    world.write(*[line("1-a", NOW - 60)] * 30)
    world.scenes[3] = lambda: world.write(line(at=NOW + 3), line("1-a", NOW + 3))
    watch = world.watch()
    assert watch.problems(10) == []
    assert world.seconds == 10
    assert (watch.before.total.asked, watch.after.total.asked) == (30, 1)


def test_no_logs_are_no_problem(world):
    assert world.watch(against=None).problems(2) == []


def test_what_users_meet_ends_the_watch_at_once(world):
    world.scenes[4] = lambda: world.write(*[line(at=NOW + 4, status=500)] * 5)
    assert world.watch().problems(60) == ["/cart: 5 of 5 requests failed, before 0 of 0"]
    assert world.seconds == 4


def test_what_happened_before_the_watch_is_not_the_release_s(world):
    world.write(*[line(at=NOW - 1, status=500)] * 50)
    assert world.watch().problems(2) == []


def test_a_bad_health_endpoint_ends_the_watch(world):
    world.scenes[2] = lambda: setattr(world, "wrong", "503, wanted 200")
    assert world.watch().problems(60) == ["/health: 503, wanted 200"]


@pytest.mark.parametrize("state", [{"NRestarts": "1"}, {"ActiveState": "failed"}])
def test_a_gunicorn_that_was_restarted_ends_the_watch(world, state):
    world.scenes[2] = lambda: world.state.update(state, Result="signal")
    assert world.watch().problems(60) == ["gunicorn died (signal)"]


def test_an_old_restart_is_no_problem(world):
    world.state["NRestarts"] = "3"
    assert world.watch().problems(2) == []


def test_a_worker_that_died_ends_the_watch(world):
    message = "Worker (pid:12) was sent SIGSEGV!"
    world.scenes[2] = lambda: world.write(line(at=NOW + 2, message=message), name="app.log")
    assert world.watch().problems(60) == ["1 workers died"]


def leak(world, second, client=None):
    """Ten requests a second to one worker, and each leaves a megabyte behind."""

    def scene():
        world.write(*[line(at=NOW + second, worker=11, remote_addr=client)] * 10)
        world.workers = {11: {"memory_mb": 40.0 + 10 * second}}

    return scene


def test_workers_that_go_on_growing_end_the_watch(world):
    world.write(*[line("1-a", NOW - 60)] * 600)
    world.scenes = {second: leak(world, second) for second in range(1, 60)}
    (problem,) = world.watch().problems(60)
    assert problem.startswith("each worker takes 1 MB of memory more for each request, and has ")
    assert problem.endswith(", before 42")
    assert world.seconds < 15


@pytest.mark.parametrize("asked", [0, 30])
def test_they_are_left_alone_where_the_predecessor_is_not_known_to_be_warm(world, asked):
    world.write(*[line("1-a", NOW - 60)] * asked)
    world.scenes = {second: leak(world, second) for second in range(1, 20)}
    assert world.watch().problems(20) == []


def test_workers_that_grow_for_one_client_are_no_leak_of_the_release(world):
    known = [line("1-a", NOW - 60, remote_addr=f"192.0.2.{number}") for number in range(9)]
    world.write(*known * 100)
    world.scenes = {second: leak(world, second, "203.0.113.66") for second in range(1, 30)}
    watch = world.watch()
    assert watch.problems(30) == []
    assert "203.0.113.66" in watch.warning()


def test_a_worker_that_was_recycled_begins_anew(world):
    world.write(*[line("1-a", NOW - 60)] * 600)
    world.scenes = {second: leak(world, second) for second in range(1, 5)}
    world.scenes[5] = lambda: setattr(world, "workers", {12: {"memory_mb": 40.0}})
    watch = world.watch()
    assert watch.problems(20) == []
    assert (list(watch.seen), watch.after.as_dict()["memory_mb"]) == ([12], 40.0)


def test_new_errors_are_told(world):
    world.write(line("1-a", message="lost 1", level="ERROR", logger="a"), name="app.log")
    log_lines = [
        line(at=NOW + 2, message=text, level="ERROR", logger="a") for text in ("lost 2", "no")
    ]
    world.scenes[2] = lambda: world.write(*log_lines, name="app.log")
    watch = world.watch()
    assert watch.problems(3) == []
    assert watch.news() == {"a: no": 1}


def test_with_no_time_it_is_looked_at_once(world):
    world.watch().problems(0)
    assert world.seconds == 0


def test_a_rotation_loses_no_line(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("old\n")
    tail = bake_watch.Tail(str(path))
    with open(path, "a", encoding="utf-8") as writer:
        writer.write("1\n2\n3")
        writer.flush()
        assert tail.lines() == ["1", "2"]
        os.rename(path, tmp_path / "access.log.1")
        writer.write(" and more\n")
    path.write_text("4\n")
    assert tail.lines() == ["3 and more", "4"]
    assert tail.lines() == []
    tail.close()


def test_a_log_that_comes_later_is_read_from_its_beginning(tmp_path):
    tail = bake_watch.Tail(str(tmp_path / "access.log"))
    assert tail.lines() == []
    (tmp_path / "access.log").write_text("1\n")
    assert tail.lines() == ["1"]
    tail.close()


def test_a_log_is_read_from_so_far_back(tmp_path):
    (tmp_path / "access.log").write_text("1234\n5678\n")
    tail = bake_watch.Tail(str(tmp_path / "access.log"), back=7)
    assert tail.lines() == ["4", "5678"]
    tail.close()


@pytest.mark.parametrize("name", ["access.log", "app.log"])
@pytest.mark.parametrize("second", [0, 2])
def test_a_log_that_is_none_ends_the_watch(world, name, second):
    path = world.directory / name

    def scene():
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    world.scenes[second] = scene
    world.sleep(0)
    (problem,) = world.watch().problems(60)
    assert problem.startswith(f"{path} is a FIFO")
    assert world.seconds == second


def test_a_log_that_grows_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(bake_watch, "MAX_GROWTH_BYTES", 2 << 20)
    (tmp_path / "app.log").touch()
    tail = bake_watch.Tail(str(tmp_path / "app.log"))
    os.truncate(tmp_path / "app.log", 1 << 40)
    with pytest.raises(OSError, match=r"app\.log grew by more than 2 MiB since the last look"):
        tail.lines()
    tail.close()


def test_a_line_without_an_end_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bake_watch, "MAX_BYTES", 1000)
    (tmp_path / "app.log").write_text("x" * 1001)
    tail = bake_watch.Tail(str(tmp_path / "app.log"), back=2000)
    with pytest.raises(OSError, match=r"app\.log has a line of more than"):
        tail.lines()
    tail.close()
