# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources and waits of workers: this process is the arbiter, and its child is a worker."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import connections as servers
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import syscalls, workers

WORKER = """
import socket, sys
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
heap = bytearray(b"1" * 30_000_000)
for line in sys.stdin:
    sum(range(int(line)))
    print("done", flush=True)
    conn.recv(1)
"""


@pytest.fixture(name="worker")
def _worker():
    with socket.create_server(("127.0.0.1", 0)) as database:
        command = [sys.executable, "-c", WORKER, str(database.getsockname()[1])]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield process, servers.Connections("", {database.getsockname(): "database"})
            process.kill()


def ask(process, rounds):
    process.stdin.write(f"{rounds}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


@pytest.mark.skipif(platform.machine() not in syscalls.CALLS, reason="has numbers of its own")
def test_what_a_worker_did_and_waits_for_is_noted(worker):
    process, connections = worker
    watch = workers.WorkerSampler(os.getpid(), connections)
    with watch.during() as load:
        ask(process, 5_000_000)
        while watch.most["database"] is None or "database" not in watch._states:
            assert process.poll() is None
    assert load.cpu_seconds > 0
    assert load.states["database"]
    assert sum(load.waits().values()) == pytest.approx(1, abs=0.01)
    (held,) = [one for one in watch.held("") if one["pid"] == process.pid]
    assert (held["database_connections"], held["redis_connections"]) == (1, None)
    assert 30 < held["pss_mb"] < 60
    assert held["memory_mb"] > 30
    # Three standard streams and the connection.
    assert held["open_files"] == 4
    assert held["cpu_seconds"] > 0


def test_idle_time_is_nobody_s_wait():
    load = workers.WorkerActivity()
    load.states.update({"idle": 90, "database": 6, "cpu": 2})
    assert load.looks == 8
    assert load.waits() == {"cpu": 0.25, "database": 0.75}


def test_without_a_look_nothing_is_claimed():
    assert workers.WorkerActivity().waits() == {}


def test_a_gunicorn_that_does_not_run_has_nothing():
    watch = workers.WorkerSampler(0, servers.Connections("", {}))
    with watch.during() as load:
        pass
    assert (load.looks, load.cpu_seconds, watch.held(""), watch.main_pss_mb()) == (0, 0, [], None)


def test_where_one_may_not_look_the_rest_is_told_all_the_same(worker, monkeypatch):
    process, connections = worker

    def refuse(*_asked):
        raise PermissionError

    monkeypatch.setattr(syscalls, "sample", refuse)
    watch = workers.WorkerSampler(os.getpid(), connections)
    with watch.during() as load:
        ask(process, 5_000_000)
    assert load.waits() == {}
    assert load.cpu_seconds > 0
    assert "CAP_SYS_PTRACE" in watch.warning


def test_ticks_are_read_behind_whatever_a_process_is_called():
    stat = "9 (a) b (c) S 1 9 9 0 -1 4194560 1 2 3 4 70 30 5 6 20 0 1 0 99"
    assert workers.ticks(stat) == 100
