# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to open, lock and run what an app controls: without a link, a wait or an end of memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._system import untrusted
from ansible_collections.evenkeel.flask.plugins.module_utils._system.untrusted import UntrustedError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
NOBODY = pwd.getpwnam("nobody").pw_uid
PRINT = "import sys; sys.stdout.write('x' * 100 + 'end'); sys.stderr.write('apart')"


def put(place, how):
    if how == "fifo":
        os.mkfifo(place)
    elif how == "directory":
        place.mkdir()
    elif how == "socket":
        # A path of a socket has at most 108 bytes.
        folder = os.open(place.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"/proc/self/fd/{folder}/{place.name}")
        os.close(folder)
    else:
        place.symlink_to(how)


def in_a_child(act):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, act().encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        return stream.read()


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT])
@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("fifo", "a FIFO"),
        ("directory", "a directory"),
        ("socket", "a socket"),
        ("/dev/zero", "a symbolic link"),
        ("/etc/passwd", "a symbolic link"),
        ("nowhere", "a symbolic link"),
    ],
)
def test_open_file_refuses_all_but_a_regular_file_at_once(tmp_path, how, word, flags):
    put(tmp_path / "app.log", how)
    with pytest.raises(UntrustedError, match=rf"app\.log is {word}") as refused:
        untrusted.open_file(str(tmp_path / "app.log"), flags)
    assert f"rm -r {tmp_path}/app.log" in str(refused.value)
    assert not (tmp_path / "nowhere").exists()


def test_open_file_waits_for_no_lease(tmp_path):
    # The kernel requests the holder to release it.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    path = tmp_path / "app.log"
    path.write_text("x")
    with path.open("r+") as holder:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(UntrustedError, match=r"app\.log is under a lease of another process"):
            untrusted.open_file(str(path))
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    signal.signal(signal.SIGIO, before)


@needs_root
@pytest.mark.parametrize("depth", [0, 1])
def test_open_file_follows_no_directory_link_but_those_of_root(tmp_path, depth):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "disk" / "deep" / "app.log").write_text("x")
    link = tmp_path / "logs"
    link.symlink_to("disk/deep" if depth else tmp_path / "disk" / "deep")
    assert untrusted.read(str(link / "app.log"), 10) == b"x"
    os.lchown(link, NOBODY, -1)
    with pytest.raises(UntrustedError, match=r"logs is a symbolic link to .*, made by nobody"):
        untrusted.read(str(link / "app.log"), 10)
    # Of root, but in a directory of the app, which can put it there under another name.
    os.lchown(link, 0, -1)
    os.chown(tmp_path, NOBODY, -1)
    with pytest.raises(UntrustedError, match="logs is a symbolic link"):
        untrusted.read(str(link / "app.log"), 10)


def test_links_of_root_that_lead_in_a_circle_are_told(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UntrustedError, match="leads through more than 40 links"):
        untrusted.open_folder(str(tmp_path / "a"))


@needs_root
def test_a_file_is_found_through_a_directory_that_may_be_searched_only(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home" / "x").write_text("x")
    for folder in (tmp_path / "home", tmp_path, *tmp_path.parents):
        if stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0 or folder.parent == tmp_path:
            folder.chmod(0o711)

    def read():
        os.setuid(NOBODY)
        return untrusted.read(str(tmp_path / "home" / "x"), 10).decode()

    assert in_a_child(read) == "x"


@pytest.mark.parametrize(
    ("most", "start", "found"), [(4, None, b"6789"), (99, None, b"0123456789"), (3, 2, b"234")]
)
def test_read_is_bounded(tmp_path, most, start, found):
    (tmp_path / "x").write_bytes(b"0123456789")
    assert untrusted.read(str(tmp_path / "x"), most, start) == found


def test_a_sparse_file_costs_no_more_than_the_bound(tmp_path):
    with (tmp_path / "x").open("wb") as stream:
        stream.truncate(1 << 40)
    assert untrusted.read(str(tmp_path / "x"), 100) == bytes(100)


def test_what_is_not_there_is_not_found(tmp_path):
    for path in ("x", "deep/x"):
        with pytest.raises(FileNotFoundError):
            untrusted.open_file(str(tmp_path / path))


class Clock:
    """A clock that only a sleep moves on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def lock(path, clock=None, **how):
    clock = clock or Clock()
    return untrusted.locked(str(path), clock=clock, sleep=clock.sleep, **how)


def test_a_lock_is_only_its_owners_also_where_an_earlier_version_made_it(tmp_path):
    path = tmp_path / "x.lock"
    path.touch(0o644)
    for place in (path, tmp_path / "new.lock"):
        with lock(place):
            assert stat.S_IMODE(place.stat().st_mode) == 0o600


@contextlib.contextmanager
def held(path):
    """Hold the lock of a file in another process, as a local user with read permission can."""
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        yield holder
        holder.communicate(b"\n")


def test_a_lock_that_is_held_is_not_waited_for_beyond_the_deadline_and_its_holder_is_named(
    tmp_path,
):
    path, clock = tmp_path / "x.lock", Clock()
    path.touch()
    with held(path) as holder:
        with pytest.raises(UntrustedError) as refused, lock(path, clock, remedy=", or wait"):
            pass
        assert f"x.lock is locked by process {holder.pid} (" in str(refused.value)
        assert "was not free within 5 s; end that process, or wait." in str(refused.value)
        assert clock.now < 6


def test_a_lock_that_is_held_can_be_taken_by_force_and_then_is_the_only_one(tmp_path):
    path = tmp_path / "x.lock"
    path.touch(0o644)
    with held(path):
        with lock(path, force=True) as descriptor:
            assert os.path.samestat(os.fstat(descriptor), path.stat())
            with pytest.raises(UntrustedError, match="is locked by"), lock(path):
                pass
        with lock(path):
            pass


def test_of_many_that_force_a_lock_one_at_a_time_has_it(tmp_path):
    path, inside, most = tmp_path / "x.lock", [], []
    path.touch()

    def run():
        with untrusted.locked(str(path), 5, force=True):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=run) for _number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


@needs_root
def test_a_lock_of_somebody_else_is_none(tmp_path):
    (tmp_path / "x.lock").touch()
    os.chown(tmp_path / "x.lock", NOBODY, -1)
    with (
        pytest.raises(UntrustedError, match="belongs to nobody and not to root"),
        lock(tmp_path / "x.lock"),
    ):
        pass


def test_run_keeps_the_end_of_what_a_program_says():
    done = untrusted.run([sys.executable, "-c", PRINT], most=10)
    assert (done.returncode, len(done.stdout)) == (0, 10)
    apart = untrusted.run([sys.executable, "-c", PRINT], stderr=subprocess.PIPE)
    assert (apart.stdout[-3:], apart.stderr) == ("end", "apart")


def test_run_ends_a_program_that_prints_without_end_within_its_time_and_memory():
    with pytest.raises(subprocess.TimeoutExpired):
        untrusted.run(["/usr/bin/yes"], timeout=0.3, most=1000)


def test_run_does_not_wait_for_what_a_program_leaves_behind_with_its_output_open():
    command = ["/bin/sh", "-c", "sleep 30 & echo gone"]
    with pytest.raises(subprocess.TimeoutExpired):
        untrusted.run(command, timeout=0.3)


def test_run_has_a_deadline_where_the_caller_names_none(monkeypatch):
    monkeypatch.setattr(untrusted, "MAX_RUN_SECONDS", 0.2)
    with pytest.raises(TimeoutError, match=r"sleep did not end within 0\.2 s"):
        untrusted.run(["/bin/sleep", "30"])


def test_a_text_of_the_app_is_shortened_and_has_no_control_characters():
    assert untrusted.printable("a\x1b[2Jb\n") == "a?[2Jb?"
    assert untrusted.printable("x" * 300) == "x" * 200 + "..."
