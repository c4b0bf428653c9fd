# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guard is found in real processes; a resource that both slots can hold is not a guard."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._release import guards
from ansible_collections.evenkeel.flask.plugins.module_utils._release.guards import Guard

# A main process and a worker, as gunicorn's. The worker does what an app does when it is loaded.
PROCESS = """\
import fcntl, os, socket, sys
os.chdir(sys.argv[1])
if os.fork():
    os.wait()
else:
    exec(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="held")
def _held(tmp_path):
    """A function that runs an app, and returns what its processes hold."""
    running = []

    def held(app):
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", PROCESS, str(tmp_path), app]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return guards.held(process.pid, str(tmp_path / "own.sock"))

    yield held
    for process in running:
        process.stdin.close()
        process.wait()
        process.stdout.close()


GUARDS = {
    "flock": ("lock = open('x.lock', 'w'); fcntl.flock(lock, fcntl.LOCK_EX)", "lock"),
    "lockf": ("lock = open('x.lock', 'w'); fcntl.lockf(lock, fcntl.LOCK_EX)", "lock"),
    "listens": ("s = socket.create_server(('127.0.0.1', 0))", "port"),
    "bound, and does not listen": ("s = socket.socket(); s.bind(('127.0.0.1', 0))", "port"),
    "listens by IPv6": ("s = socket.create_server(('::1', 0), family=socket.AF_INET6)", "port"),
    "abstract name": (
        "s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'evenkeel-guard')",
        "socket",
    ),
    "name that looks like rows": (
        "s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'a' + chr(10) * 2 + 'b c')",
        "socket",
    ),
    "named socket": ("s = socket.socket(socket.AF_UNIX); s.bind('guard.sock')", "socket"),
}
NO_GUARDS = {
    "nothing": "pass",
    "lock for reading": "lock = open('/etc/passwd'); fcntl.flock(lock, fcntl.LOCK_SH)",
    "open file": "log = open('app.log', 'w')",
    "socket": "s = socket.socket()",
    "connection": "a, b = socket.socketpair()",
    "connected": "l = socket.create_server(('127.0.0.1', 0)); s = socket.create_connection("
    "l.getsockname()); c, _ = l.accept(); l.close()",
    "datagrams": "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9))",
    "the slot's own": "s = socket.socket(socket.AF_UNIX); s.bind(os.path.abspath('own.sock')); s.listen()",
}


@pytest.mark.parametrize(("app", "kind"), GUARDS.values(), ids=GUARDS)
def test_what_only_one_process_can_hold_is_a_guard(held, app, kind):
    if "::1" in app and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this machine has no IPv6")
    if "s.bind(('127.0.0.1'" in app and os.geteuid() != 0:
        pytest.skip("only root may look at the address of another process' socket")
    (guard,) = held(app)
    assert guard.kind == kind


@pytest.mark.parametrize("app", NO_GUARDS.values(), ids=NO_GUARDS)
def test_what_several_can_hold_is_none(held, app):
    assert held(app) == {}


def test_a_long_line_of_descendants_is_followed(tmp_path):
    """An app can start more processes below each other than Python nests calls."""
    depth = 2000
    for pid in range(1, depth + 1):
        task = tmp_path / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (task / "children").write_text(str(pid + 1))
    assert len(list(guards._family(1, str(tmp_path)))) == depth + 1


def test_a_slot_that_does_not_run_holds_nothing(tmp_path):
    assert guards.held(0, str(tmp_path / "own.sock")) == {}


LOCK, PORT = Guard("lock", "/srv/shop/shared/x"), Guard("port", "127.0.0.1:47200")


@pytest.mark.parametrize(
    ("old", "new", "lacking"),
    [
        ([{PORT: 7}], [{}], {PORT: 7}),
        ([{PORT: 7}], [{PORT: 9}], {}),
        ([{}], [{PORT: 9}], {}),
        # A lock that was held for a moment, and one that the new slot took in that moment.
        ([{LOCK: 7}, {}], [{}], {}),
        ([{LOCK: 7}], [{}, {LOCK: 9}], {}),
        ([{LOCK: 7, PORT: 7}, {PORT: 7}], [{}], {PORT: 7}),
    ],
)
def test_a_guard_is_what_the_old_slot_holds_twice_and_the_new_one_lacks_twice(old, new, lacking):
    def looks(answers):
        left = list(answers)
        return lambda: left.pop(0) if len(left) > 1 else left[0]

    slept = []
    assert guards.missing(looks(old), looks(new), slept.append) == lacking
    # The second look is paid for only where the first one found something.
    assert len(slept) == bool(set(old[0]) - set(new[0]))
