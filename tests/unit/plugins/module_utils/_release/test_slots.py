# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a host's slots: connections, errors, responses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _errors
from ansible_collections.evenkeel.flask.plugins.module_utils._release import (
    layout as release_layout,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._release import plan
from ansible_collections.evenkeel.flask.plugins.module_utils._release import slots as release_slots
from ansible_collections.evenkeel.flask.plugins.module_utils._release.guards import Guard

TABLE = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000: 00000002 00000000 00010000 0001 01 100 /run/shop/blue.sock
0000: 00000003 00000000 00000000 0001 03 101 /run/shop/blue.sock
0000: 00000003 00000000 00000000 0001 02 102 /run/shop/blue.sock
0000: 00000003 00000000 00000000 0001 03 103 /run/shop/green.sock
0000: 00000003 00000000 00000000 0001 03 104
"""


@pytest.mark.parametrize(
    ("path", "count"),
    [("/run/shop/blue.sock", 2), ("/run/shop/green.sock", 1), ("/run/other/blue.sock", 0)],
)
def test_connections_in_the_backlog_count_as_open(path, count):
    assert release_slots.open_connections(TABLE, path) == count


def test_the_kernel_lists_a_connection_that_waits_in_the_backlog(tmp_path):
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        with open("/proc/net/unix", encoding="utf-8") as table:
            assert release_slots.open_connections(table.read(), path) == 1


def test_a_name_that_looks_like_a_connection_delays_a_stop_by_its_time_and_no_longer(tmp_path):
    """An app chooses the names of its sockets, with line breaks too, so root cannot believe the table."""
    layout = release_layout.Layout("shop", str(tmp_path), run="/r")
    row = f"0: 00000003 00000000 00000000 0001 03 1 {layout.socket('blue')}"
    waits = []
    with socket.socket(socket.AF_UNIX) as false:
        false.bind(f"\0{os.getpid()}\n{row}\n")
        slots = release_slots.Slots(
            layout,
            plan.HostState(),
            drain_timeout=1.0,
            clock=lambda: sum(waits),
            sleep=waits.append,
        )
        slots._drain("blue")
    assert 1.0 <= sum(waits) <= 1.0 + release_slots.POLL_SECONDS
    waits.clear()
    slots._drain("blue")
    assert waits == []


def line(**record):
    return json.dumps({"slot": "green", "release": "r2", **record})


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], None),
        (["no json", "[]", "[" * 100000], None),
        ([line(level="INFO", message="fine")], None),
        ([line(level="ERROR", message="away")], "away"),
        (
            [line(level="ERROR", message="x", exception="Traceback\n  File y\nKeyError: 'z'")],
            "KeyError: 'z'",
        ),
        (
            [line(level="ERROR", message="mine"), line(slot="blue", level="ERROR", message="b")],
            "mine",
        ),
        ([line(release="r1", level="ERROR", message="an older one's")], None),
    ],
)
def test_the_last_error_is_that_of_the_release_in_its_slot(lines, error):
    assert release_slots.last_error(lines, "green", "r2") == error


def answer_once(path, text):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(text)

    threading.Thread(target=serve, daemon=True).start()


def test_a_line_is_never_added_to_one_that_was_left_unfinished(tmp_path):
    path = tmp_path / "history.jsonl"
    for line in ("one\n", "two\n"):
        release_slots.append_line(str(path), line)
    with path.open("a") as stream:
        stream.write("half")
    release_slots.append_line(str(path), "three\n")
    assert path.read_text() == "one\ntwo\nhalf\nthree\n"


def test_who_answers_is_believed(tmp_path):
    path = str(tmp_path / "s.sock")
    answer_once(path, b"HTTP/1.1 503 Away\r\nX-Release: r2\r\nContent-Length: 0\r\n\r\n")
    assert release_slots.query(path, "/health", 5) == (503, "r2")


@pytest.mark.parametrize("text", [b"", b"no http\r\n\r\n"])
def test_an_answer_that_is_none_is_an_oserror(tmp_path, text):
    path = str(tmp_path / "s.sock")
    answer_once(path, text)
    with pytest.raises(OSError, match="no HTTP answer"):
        release_slots.query(path, "/health", 5)


def test_an_answer_that_comes_drop_by_drop_is_not_waited_for(tmp_path):
    """Each drop comes in time, and all of them never."""
    path = str(tmp_path / "s.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    over = threading.Event()

    def serve():
        with listener, listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.02):
                connection.sendall(b"X-More: 1\r\n")

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    with pytest.raises(OSError, match=r"no HTTP answer: headers not complete within 0\.3 s"):
        release_slots.query(path, "/health", 0.3)
    over.set()
    server.join()


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("40s", 40), ("1min 30s", 90), ("2h 5min 500ms", 7500.5), ("infinity", None), ("", None)],
)
def test_a_time_span_of_systemd_is_understood(span, seconds):
    assert release_slots.seconds_of(span) == seconds


class Systemd:
    """Stands for systemctl, of which a part never ends."""

    def __init__(self, *never):
        self.never, self.asked, self.limits = never, [], []

    def __call__(self, command, _environment=None, timeout=None):
        verb = command[2]
        self.asked.append(verb)
        self.limits.append(timeout)
        if verb in self.never and self.asked.count(verb) == 1:
            raise subprocess.TimeoutExpired(command, timeout)
        output = "TimeoutStopUSec=1min 30s\n" if verb == "show" else ""
        return subprocess.CompletedProcess(command, 0, output)


def test_an_app_that_never_stops_is_killed(slots, monkeypatch):
    """It may have its time extended again and again (sd_notify(3))."""
    systemd = Systemd("stop")
    monkeypatch.setattr(release_slots.process, "run", systemd)
    slots.stop(plan.Step("stop", "green"), drain=False)
    assert systemd.asked == ["show", "stop", "kill", "stop"]
    assert systemd.limits[1] == 240
    assert slots.warnings == ["shop@green.service did not stop within its time, and was killed."]


@pytest.mark.parametrize(
    ("verb", "ask"),
    [
        ("show", lambda layout: release_slots.unit_state(layout, "blue")),
        ("is-active", release_slots.observe),
    ],
)
def test_a_systemd_that_does_not_answer_is_named(slots, monkeypatch, verb, ask):
    monkeypatch.setattr(release_slots.process, "run", Systemd(verb))
    with pytest.raises(_errors.ReleaseError, match=rf"systemctl {verb} .*did not end within 60 s"):
        ask(slots.layout)


def test_a_log_that_is_none_is_told_before_anything_is_started(slots, tmp_path, monkeypatch):
    systemd = Systemd()
    monkeypatch.setattr(release_slots.process, "run", systemd)
    (tmp_path / "access.log").unlink()
    os.mkfifo(tmp_path / "access.log")
    with pytest.raises(OSError, match=r"access\.log is a FIFO"):
        slots.start(plan.Step("start", "green"))
    assert systemd.asked == []


def test_nobody_there_is_no_answer(tmp_path):
    assert release_slots.try_query(str(tmp_path / "none.sock"), "/", 1) == (None, None)


def record(pid, message):
    return json.dumps({"_PID": str(pid), "MESSAGE": message})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [
                record(1, "Starting shop, slot blue..."),
                record(99, "shop@blue.service: Failed at step NAMESPACE: Operation not permitted"),
                record(1, "Failed to start shop, slot blue."),
            ],
            "shop@blue.service: Failed at step NAMESPACE: Operation not permitted",
        ),
        ([record(1, "Failed to start shop, slot blue.")], "Failed to start shop, slot blue"),
        (["cut off {", record(7, [200, 201])], "[200, 201]"),
        ([], "nothing"),
    ],
)
def test_the_journal_s_own_word_is_the_reason_and_not_that_systemd_gave_up(lines, message):
    assert release_slots.journal_error(lines) == message


@pytest.fixture
def slots(tmp_path):
    """A slot whose release has been answered, on a host with a log from before."""
    layout = release_layout.Layout("shop", str(tmp_path))
    (tmp_path / "shop" / "slots").mkdir(parents=True)
    (tmp_path / "shop" / "slots" / "green").symlink_to("../releases/2-b")
    (tmp_path / "access.log").write_text('{"release": "2-b", "of": "last week"}\n')
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    return release_slots.Slots(
        layout, plan.HostState(), log_directory=str(tmp_path), clock=lambda: now[0], sleep=sleep
    )


@pytest.mark.parametrize("rotated", [False, True])
def test_a_release_whose_answer_is_in_the_log_is_up(slots, tmp_path, rotated):
    logged = slots._log_size()
    with open(tmp_path / "access.log", "w" if rotated else "a", encoding="utf-8") as stream:
        stream.write('{"release": "2-b"}\n')
    slots._await_line("green", logged)


def test_a_release_that_logs_nothing_does_not_come_up(slots, tmp_path, monkeypatch):
    monkeypatch.setattr(slots, "_last_error", lambda *_about: "")
    monkeypatch.setattr(slots, "stop", lambda *_step, drain: None)
    with pytest.raises(_errors.ReleaseError, match=r"it answers, and .*access\.log has no line"):
        slots._await_line("green", slots._log_size())


class TestRecycle:
    """One worker takes what the slot held that was stopped."""

    GUARD = Guard("port", "127.0.0.1:47200")

    @pytest.fixture
    def recycled(self, slots, monkeypatch):
        """A function that recycles a worker, and returns the workers that were ended."""
        ended = []
        slots.guards = frozenset({self.GUARD})
        monkeypatch.setattr(release_slots, "unit_state", lambda *_: {"MainPID": "7"})
        monkeypatch.setattr(release_slots.procfs, "children", lambda main: [main + 1, main + 2])
        monkeypatch.setattr(release_slots.os, "kill", lambda *args: ended.append(args))

        def recycled(takes):
            monkeypatch.setattr(
                release_slots, "guards", lambda *_: {self.GUARD: 9} if takes(ended) else {}
            )
            slots.recycle(plan.Step("recycle", "green"))
            return ended

        return recycled

    def test_a_worker_ends_and_the_next_one_takes_the_guard(self, recycled, slots):
        assert recycled(bool) == [(8, signal.SIGTERM)]
        assert slots.warnings == []

    def test_none_ends_where_the_app_has_taken_it_by_itself(self, recycled, slots):
        assert recycled(lambda _ended: True) == []
        assert slots.warnings == []

    def test_a_guard_that_nobody_takes_is_told(self, recycled, slots):
        assert len(recycled(lambda _ended: False)) == 1
        (warning,) = slots.warnings
        assert "port 127.0.0.1:47200" in warning
        assert "restart shop@green.service" in warning


def test_a_line_of_the_history_has_the_code_and_what_the_run_knows(tmp_path):
    layout = release_layout.Layout("shop", str(tmp_path), etc=str(tmp_path / "etc"))
    os.makedirs(layout.release("a"))
    with open(os.path.join(layout.release("a"), "release.json"), "w", encoding="utf-8") as stream:
        json.dump({"digest": "d1"}, stream)
    host = plan.HostState(releases=("b", "a"), slots={"blue": "a", "green": "b"}, live="green")
    slots = release_slots.Slots(layout, host, details={"who": "alice", "withdrawn": True})
    slots.record(plan.Step("record", "a", "rollback"))
    # A slot that was created by hand, or by an older version, has no code to report.
    slots.record(plan.Step("record", "gone", "release"))
    with open(layout.history, encoding="utf-8") as stream:
        first, second = map(json.loads, stream)
    assert (first["digest"], first["who"], first["withdrawn"]) == ("d1", "alice", True)
    assert "digest" not in second
