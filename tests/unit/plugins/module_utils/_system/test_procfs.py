# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of real worker processes: this process is the arbiter, and its child is a worker."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._system import procfs

WORKER = """
import socket, sys
held = [open("/dev/null") for _number in range(20)]
held.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[2])
server.listen()
held.append(bytearray(b"1" * 30_000_000))
print("ready", flush=True)
accepted = server.accept()
print("accepted", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="worker")
def _worker(tmp_path):
    path = str(tmp_path / "blue.sock")
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(port), path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == "ready\n"
            yield process, port, path
            process.kill()


def test_a_worker_s_memory_files_and_connections_are_seen(worker):
    process, port, path = worker
    held = procfs.workers(os.getpid(), path)[process.pid]
    assert 30 < held["memory_mb"] < 60
    # Three standard streams, the null devices and the connection; the listening socket is its users'.
    assert held["open_files"] == 24
    assert held[f"port_{port}"] == 1


def test_a_user_s_connection_is_no_open_file_of_the_worker(worker):
    process, _port, path = worker
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as user:
        user.connect(path)
        assert process.stdout.readline() == "accepted\n"
        assert procfs.workers(os.getpid(), path)[process.pid]["open_files"] == 24


@pytest.mark.parametrize("main", [0, 2**22 + 1])
def test_a_gunicorn_that_does_not_run_has_no_workers(main):
    assert procfs.workers(main, "/run/shop/blue.sock") == {}


def test_a_host_without_ipv6_has_one_table_less(tmp_path):
    for name, text in {
        "9/task/9/children": "10 11 ",
        "9/net/unix": "Num RefCount Protocol Flags Type St Inode Path\n",
        "9/net/tcp": "sl local_address rem_address …\n"
        " 0: 0100007F:1538 00000000:0000 0A 0:0 0:0 0 999 0 55 1\n"
        " 1: 0100007F:1539 0100007F:1538 01 0:0 0:0 0 999 0 56 1\n",
        "10/status": "Name:\tgunicorn\nRssAnon:\t  2048 kB\nRssFile:\t 4096 kB\nVmSwap:\t 1024 kB\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "10/fd").mkdir()
    for number, target in enumerate(["socket:[55]", "socket:[56]", "socket:[56]", "pipe:[7]"]):
        (tmp_path / f"10/fd/{number}").symlink_to(target)
    held = {"memory_mb": 3.0, "open_files": 4.0, "port_5432": 2.0}
    # The other worker has ended meanwhile.
    assert procfs.workers(9, "", str(tmp_path)) == {10: held}
