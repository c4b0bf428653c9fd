# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The waits of a process, parsed from texts of the kernel and read from real processes that wait."""

from __future__ import annotations

import os
import platform
import socket
import struct
import subprocess
import sys
import time

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import syscalls
from ansible_collections.evenkeel.flask.plugins.module_utils._profile.syscalls import Call

STACK = "0x7ffd 0x7f00"


@pytest.mark.parametrize(
    ("machine", "text", "made"),
    [
        ("x86_64", "running\n", Call("cpu", ())),
        ("x86_64", f"45 0x8 0x1 0x2 0x0 0x0 0x0 {STACK}\n", Call("read", (8, 1, 2, 0, 0, 0))),
        ("aarch64", f"207 0x8 0x1 0x2 0x0 0x0 0x0 {STACK}\n", Call("read", (8, 1, 2, 0, 0, 0))),
        ("aarch64", f"73 0xff 0x1 0x0 0x0 0x0 0x0 {STACK}\n", Call("poll", (255, 1, 0, 0, 0, 0))),
        # A page fault is not a system call.
        ("x86_64", f"-1 {STACK}\n", Call("unknown", (0x7FFD, 0x7F00))),
        ("mips", f"45 0x8 0x1 0x2 0x0 0x0 0x0 {STACK}\n", Call("unknown", (8, 1, 2, 0, 0, 0))),
    ],
)
def test_a_system_call_is_read_by_the_machine_s_own_numbers(machine, text, made):
    assert syscalls.call(text, machine) == made


def descriptors(made, memory=b"", polled=()):
    return syscalls.descriptors(made, lambda _address, size: memory[:size], lambda _fd: polled)


def test_a_read_waits_for_its_descriptor():
    assert descriptors(Call("read", (8, 1, 2, 0, 0, 0))) == [8]


def test_a_poll_waits_for_those_in_memory():
    memory = struct.pack("=ihhihhihh", 8, 1, 0, -1, 1, 0, 11, 1, 0)
    assert descriptors(Call("poll", (4096, 3, 0, 0, 0, 0)), memory) == [8, 11]


def test_a_select_waits_for_the_bits_that_are_set():
    assert descriptors(Call("select", (10, 4096, 0, 0, 0, 0)), bytes([0b00011000, 0b10])) == [
        3,
        4,
        9,
    ]


def test_an_epoll_waits_for_what_it_stands_for():
    assert descriptors(Call("epoll", (5, 4096, 100, 0, 0, 0)), polled=[6, 7]) == [6, 7]


@pytest.mark.parametrize(
    "made", [Call("poll", (4096, 2**40, 0, 0, 0, 0)), Call("select", (2**31, 4096, 0, 0, 0, 0))]
)
def test_what_cannot_be_a_number_of_descriptors_reads_no_memory(made):
    assert descriptors(made) == []


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        (["idle", "unknown"], "idle"),
        (["idle", "client"], "idle"),
        (["unknown", "database"], "database"),
        (["redis", "idle"], "redis"),
        (["client"], "client"),
        ([], "unknown"),
    ],
)
def test_of_several_descriptors_the_one_that_says_most_counts(kinds, state):
    assert syscalls.wait_kind(kinds) == state


WORKER = """
import os, select, socket, sys, threading, time
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print(conn.fileno(), flush=True)
def spin():
    while True:
        pass
def epoll():
    poll = select.epoll()
    poll.register(conn, select.EPOLLIN)
    poll.poll()
def poll():
    poll = select.poll()
    poll.register(conn, select.POLLIN)
    poll.poll()
{
    "recv": lambda: conn.recv(1),
    "timeout": lambda: (conn.settimeout(600), conn.recv(1)),
    "poll": poll,
    "select": lambda: select.select([conn], [], []),
    "epoll": epoll,
    "sleep": lambda: time.sleep(600),
    "nap": lambda: select.select([], [], [], 600),
    "lock": lambda: threading.Lock().acquire() and threading.Semaphore(0).acquire(),
    "spin": spin,
}[sys.argv[2]]()
"""


@pytest.mark.skipif(platform.machine() not in syscalls.CALLS, reason="has numbers of its own")
@pytest.mark.parametrize(
    ("way", "state"),
    [
        ("recv", "database"),
        ("timeout", "database"),
        ("poll", "database"),
        ("select", "database"),
        ("epoll", "database"),
        ("sleep", "sleep"),
        ("nap", "sleep"),
        ("lock", "lock"),
        ("spin", "cpu"),
    ],
)
def test_a_real_process_is_seen_at_what_it_does(way, state):
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", WORKER, str(server.getsockname()[1]), way]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                fd = int(process.stdout.readline())
                folder = f"/proc/{process.pid}"
                kinds = {os.readlink(f"{folder}/fd/{fd}"): "database"}

                def look():
                    return syscalls.sample(
                        folder, str(process.pid), lambda link: kinds.get(link, "other")
                    )

                deadline = time.monotonic() + 20
                while (seen := look()) != state and time.monotonic() < deadline:
                    pass
                assert seen == state
                # It then stays in this state, regardless of its states during the start.
                assert state == "cpu" or look() == state
            finally:
                process.kill()


POOL = """
import queue, threading
threading.Thread(target=queue.SimpleQueue().get, daemon=True).start()
print("ready", flush=True)
input()
"""


def test_a_thread_of_a_pool_that_has_nothing_to_do_is_idle():
    with subprocess.Popen(
        [sys.executable, "-c", POOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            folder = f"/proc/{process.pid}"
            (other,) = set(os.listdir(f"{folder}/task")) - {str(process.pid)}
            state, deadline = "", time.monotonic() + 20
            while state != "idle" and time.monotonic() < deadline:
                state = syscalls.sample(folder, other, lambda _link: "other")
            assert state == "idle"
        finally:
            process.kill()
