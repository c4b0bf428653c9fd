# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access of root to files and programs that an app controls.

Invariant: root does not follow a link of the app, does not open anything but a regular file, reads a
bounded amount, and waits no longer than a deadline. Every such access goes through this file. The
table of the accesses is in tests/unit/plugins/test_untrusted_paths.py.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import selectors
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Callable

# The number of links that Linux follows in one path (path_resolution(7)).
MAX_LINKS = 40
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
# No build or migration takes longer. A program that does is stuck. Seconds.
MAX_RUN_SECONDS = 7200.0
# A process holds the file of a lock for a few milliseconds.
LOCK_SECONDS = 5.0
LOCK_POLL_SECONDS = 0.05
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A directory in a path need not be readable. Only Linux has this flag.
WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a FIFO does not block, and a terminal does not become the controlling terminal.
FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UntrustedError(OSError):
    """A file or program is not safe for root. The message names it and the remedy."""


def kind(mode: int) -> str:
    """Return the type of a file by its C(st_mode)."""
    return KINDS.get(stat.S_IFMT(mode), "something unknown")


def user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def printable(text: str, most: int = 200) -> str:
    """Shorten a text of the app for a message, without control characters."""
    clean = "".join(char if char.isprintable() else "?" for char in text[:most])
    return clean + "..." if len(text) > most else clean


def is_roots(found: os.stat_result) -> bool:
    """Return whether root's links in a directory cannot be replaced by others."""
    is_open = bool(found.st_mode & stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not is_open


def parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def open_folder(path: str) -> int:
    """Open a directory, component by component, as a place to open files in.

    A link is followed if root created it in a directory of root, for example a link to a data disk.

    @param path: absolute
    @raises UntrustedError: for any other link, and for a path that is not a directory
    @raises FileNotFoundError: if it does not exist
    """
    here, where, links = os.open("/", WAY), "/", 0
    todo = parts(path)[::-1]
    try:
        while todo:
            name = todo.pop()
            place = os.path.normpath(os.path.join(where, name))
            try:
                below = os.open(name, WAY, dir_fd=here)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                target = roots_link(here, name, place)
                links += 1
                if links > MAX_LINKS:
                    raise UntrustedError(
                        f"{path} leads through more than {MAX_LINKS} links; remove the loop."
                    ) from None
                todo += parts(target)[::-1]
                if not target.startswith("/"):
                    continue
                below, place = os.open("/", WAY), "/"
            os.close(here)
            here, where = below, place
    except BaseException:
        os.close(here)
        raise
    return here


def roots_link(folder: int, name: str, place: str) -> str:
    """Read a link that root created.

    @param folder: descriptor of its directory
    @param place: its path, for messages
    @raises UntrustedError: if it is not a link, or root did not create it
    """
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        raise UntrustedError(
            f"{place} is {kind(found.st_mode)} and not a directory; move it away and run this again."
        )
    target = os.readlink(name, dir_fd=folder)
    if found.st_uid not in (0, os.geteuid()) or not is_roots(os.fstat(folder)):
        raise UntrustedError(
            f"{place} is a symbolic link to {printable(target)}, made by {user(found.st_uid)}, and root does "
            "not follow it; remove the link, and mount a data disk there if it has to be elsewhere."
        )
    return target


def open_file(path: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Open a regular file in a directory that an app can control, and return its descriptor.

    @param flags: such as C(os.O_RDWR | os.O_CREAT)
    @param mode: of a new file
    @raises UntrustedError: for a link, a FIFO, a device, a directory, a socket, or a file under a lease
    @raises FileNotFoundError: if it does not exist
    """
    folder = open_folder(os.path.dirname(path))
    name = os.path.basename(path)
    try:
        try:
            descriptor = os.open(name, flags | FILE, mode, dir_fd=folder)
        except OSError as error:
            _explain(folder, name, path, error)
            raise
    finally:
        os.close(folder)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _foreign(path, found)
    return descriptor


def _foreign(path: str, found: os.stat_result) -> UntrustedError:
    return UntrustedError(
        f"{path} is {kind(found.st_mode)} of {user(found.st_uid)} and not a regular file, so root does not "
        f"open it; find out who put it there, and remove it (rm -r {path})."
    )


def _explain(folder: int, name: str, path: str, error: OSError) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise _foreign(path, found) from None
    if error.errno == errno.EWOULDBLOCK:
        raise UntrustedError(
            f"{path} is under a lease of another process, so root does not wait for it; end the process "
            f"that lsof {path} names."
        ) from None


def size(path: str) -> int:
    """Return the bytes of a regular file."""
    descriptor = open_file(path)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def read(path: str, most: int, start: int | None = None) -> bytes:
    """Read at most C(most) bytes of a regular file: from C(start) on, or its end."""
    descriptor = open_file(path)
    try:
        length = os.fstat(descriptor).st_size
        os.lseek(descriptor, max(0, length - most) if start is None else start, os.SEEK_SET)
        return read_on(descriptor, most)
    finally:
        os.close(descriptor)


def read_on(descriptor: int, most: int) -> bytes:
    """Read from the position of a descriptor to the end of the file, or C(most) bytes."""
    chunks, left = [], most
    while left > 0:
        chunk = os.read(descriptor, min(left, 1 << 20))
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


@contextlib.contextmanager
def locked(
    path: str,
    seconds: float = LOCK_SECONDS,
    force: bool = False,
    remedy: str = "",
    private: bool = True,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """Hold the lock of a file that only its owner can open; create the file if it does not exist.

    @param seconds: the timeout for the lock
    @param force: replace the file if another process holds the lock for longer
    @param remedy: an alternative to ending the process that holds it
    @param private: whether only the current user may open it
    @returns: a descriptor to read and write it
    @raises UntrustedError: if the lock is not free in time, with its holder, or the file has another owner
    """
    deadline = clock() + seconds
    while True:
        descriptor = _own_file(path, private)
        try:
            if _try_lock(descriptor) and _is_at(path, descriptor):
                yield descriptor
                return
            if clock() >= deadline:
                if not force:
                    raise UntrustedError(
                        f"{path} is locked by {_holder(descriptor)}, and was not free within {seconds:g} s; "
                        f"end that process{remedy}."
                    )
                # Processes that wait for the old file notice that it was removed.
                if _is_at(path, descriptor):
                    os.unlink(path)
                deadline = clock() + seconds
        finally:
            os.close(descriptor)
        sleep(LOCK_POLL_SECONDS)


def _own_file(path: str, private: bool) -> int:
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not private:
        return descriptor
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        os.close(descriptor)
        raise UntrustedError(
            f"{path} belongs to {user(found.st_uid)} and not to {user(os.geteuid())}, so it is not a lock; "
            "remove it and run this again."
        )
    if stat.S_IMODE(found.st_mode) != 0o600:
        # In an earlier version everybody could read the file, and so lock it.
        os.fchmod(descriptor, 0o600)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: str, descriptor: int) -> bool:
    """Return whether the file was not replaced while it was opened."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """Return the process that holds the lock of a file, for a message (proc_locks(5))."""
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/locks", encoding="ascii", errors="replace") as stream:
            rows = [line.split() for line in stream]
        pid = next(int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == place)
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            name = printable(stream.read(64).strip())
        return f"process {pid} ({name}, user {user(os.stat(f'/proc/{pid}').st_uid)})"
    return "another process"


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    timeout: float | None = None,
    stderr: int = subprocess.STDOUT,
    most: int = MAX_OUTPUT_BYTES,
) -> subprocess.CompletedProcess[str]:
    """Run a command, and store the end of its output in one string.

    A remaining process that holds the output open is not waited for beyond the deadline.

    @param environment: replaces that of this process
    @param folder: the working directory
    @param timeout: in seconds
    @param stderr: PIPE stores it separately
    @param most: stored bytes of output
    @raises TimeoutExpired: if it took longer than C(timeout), and was killed
    @raises TimeoutError: if it took longer than MAX_RUN_SECONDS
    """
    seconds = MAX_RUN_SECONDS if timeout is None else timeout
    deadline = time.monotonic() + seconds
    with subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        try:
            out, err = _drain(process, deadline, most)
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            if timeout is not None:
                raise subprocess.TimeoutExpired(list(command), seconds) from None
            raise TimeoutError(f"{command[0]} did not end within {seconds:g} s.") from None
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(list(command), process.returncode, _text(out), _text(err))


def _drain(process: subprocess.Popen[bytes], deadline: float, most: int) -> list[bytes]:
    """Return the ends of a process's stdout and stderr, after it has closed both."""
    outputs = [bytearray(), bytearray()]
    with selectors.DefaultSelector() as selector:
        for stream, output in zip((process.stdout, process.stderr), outputs):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, output)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, left)
            for key, _events in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
                if len(key.data) > 2 * most:
                    del key.data[:-most]
    return [bytes(output[-most:]) for output in outputs]


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
