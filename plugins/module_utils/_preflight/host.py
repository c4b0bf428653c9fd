# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this host take a release? Judgements are pure; a few readers look at the host.

A rollout that finds out half way leaves a mess, so all that can be known before is
asked before, and all that is wrong is told at once. This file is private to the collection.
"""

from __future__ import annotations

import contextlib
import glob
import ipaddress
import json
import os
import pwd
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .._errors import Doubt, Problem
from .._front import config

LISTEN = "0A"
DATABASE_PORTS = {"mariadb": 3306, "mssql": 1433, "mysql": 3306, "oracle": 1521}
# Debian gives those below to what every system has (Debian policy 9.2.2); others do alike.
SYSTEM_UIDS = 100
TARGET = ("python_version", "python_tag", "machine", "libc")
DESCRIBE_PYTHON = """
import glob, importlib, json, platform, re, subprocess, sys
def lacks(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return True
# pip needs distutils before Python 3.10, and Debian keeps it apart.
wanted = ["venv"] + (["distutils.cmd"] if sys.version_info < (3, 10) else [])
libc = "-".join(filter(None, platform.libc_ver()))
for loader in [] if libc else glob.glob("/lib/ld-musl-*.so.1"):
    said = subprocess.run([loader], stderr=subprocess.PIPE).stderr.decode()
    libc = "musl-" + "".join(re.findall(r"Version (\\S+)", said))
tag = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
print(json.dumps({
    "python_version": platform.python_version(),
    "python_tag": "%s%d%d" % ((tag,) + tuple(sys.version_info[:2])),
    "machine": platform.machine(),
    "libc": libc,
    "lacks": [name for name in wanted if lacks(name)],
}))
"""


@dataclass
class Report:
    """All that is found, so that people mend it in one go."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def about(self, variable: str) -> Iterator[None]:
        """Note what is said in the block under the variable that can be changed about it."""
        try:
            yield
        except Problem as problem:
            self.problems.append(f"{variable}: {problem}")
        except Doubt as doubt:
            self.warnings.append(f"{variable}: {doubt}")


@dataclass(frozen=True)
class Budget:
    """What the workers of hosts with the same figures may ask of the database, over both slots.

    A worker holds at most as many connections as it has threads, and never more
    than its pool gives: pool_size + max_overflow (SQLAlchemy's QueuePool).
    """

    workers: int
    threads: int
    pool_size: int
    max_overflow: int
    hosts: int
    slots: int = 2

    @property
    def pool(self) -> int:
        return self.pool_size + self.max_overflow

    @property
    def each(self) -> int:
        return max(1, min(self.threads, self.pool))

    @property
    def wanted(self) -> int:
        return self.workers * self.each * self.hosts * self.slots

    @property
    def possible(self) -> int:
        return self.workers * self.pool * self.hosts * self.slots


def shares(figures: Iterable[Mapping[str, int]], slots: int) -> list[Budget]:
    """The budgets of hosts that have the same figures, in the order of the fleet."""
    counted: dict[tuple[tuple[str, int], ...], int] = {}
    for own in figures:
        key = tuple(sorted(own.items()))
        counted[key] = counted.get(key, 0) + 1
    return [Budget(**dict(key), hosts=hosts, slots=slots) for key, hosts in counted.items()]


def judge_budget(budgets: Sequence[Budget], allowed: int, because: str) -> None:
    """Compare what the fleet can hold with what the server allows, for the reason C(because).

    @param budgets: of all hosts that use the server, also of those that this run leaves alone
    """
    wanted, possible = (sum(getattr(b, of) for b in budgets) for of in ("wanted", "possible"))
    arithmetic = " + ".join(_multiplied(budget) for budget in budgets) + f" = {wanted}"
    only = budgets[0] if len(budgets) == 1 else None
    if wanted > allowed:
        fits = allowed // (only.each * only.hosts * only.slots) if only else None
        advice = f"at most gunicorn_workers: {fits} fits" if fits else "not even one worker fits"
        advice = advice if only else "lower gunicorn_workers"
        raise Problem(
            f"{arithmetic}, and the database allows {allowed} ({because}); {advice}, or let the server "
            "allow more."
        )
    if possible > allowed:
        pools = " + ".join(
            f"{_counted(b.workers, 'worker')} x ({b.pool_size} + {b.max_overflow}) x "
            f"{_counted(b.hosts, 'host')} x {_counted(b.slots, 'slot')}"
            for b in budgets
        )
        fits = allowed // sum(b.workers * b.hosts * b.slots for b in budgets)
        raise Doubt(
            f"in theory the pools could hold {pools} = {possible} connections, and the database allows "
            f"{allowed} ({because}). What the workers can really hold at once fits: {arithmetic}. A release "
            f"that leaks them could still take all; flask_app_pool_size: {fits} with "
            "flask_app_pool_max_overflow: 0 would keep it from that."
        )


def _multiplied(budget: Budget) -> str:
    return (
        f"{_counted(budget.workers, 'worker')} x {_counted(budget.each, 'connection')} x "
        f"{_counted(budget.hosts, 'host')} x {_counted(budget.slots, 'slot')}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def judge_python(found: Mapping[str, Any], minimum: str, path: str) -> None:
    def number(version: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", version)[:2]]

    if number(found["python_version"]) < number(minimum):
        raise Problem(
            f"{path} is {found['python_version']}, and {minimum} or newer is wanted; name a newer "
            "interpreter of the host."
        )
    if found["lacks"]:
        raise Problem(
            f"{path} lacks {' and '.join(found['lacks'])} of the standard library; install the whole Python "
            "(on Debian the package python3, not only python3-minimal, and python3-distutils with 3.9)."
        )


def judge_user(name: str, uid: int | None) -> None:
    """Refuse to make a user of the system's own, C(bin) or C(backup) say, into the app's."""
    if uid is not None and uid < SYSTEM_UIDS:
        raise Problem(
            f"{name} is a user of the system itself (uid {uid}) on this host; give the app another name, or "
            "name another user in flask_app_user."
        )


def user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def judge_disk(path: str, free_mb: int, wanted_mb: int) -> None:
    if free_mb < wanted_mb:
        raise Problem(
            f"{path} has {free_mb} MB free, {wanted_mb} are wanted; free some, or lower it."
        )


def judge_clock(skew: float, allowed: float) -> None:
    if abs(skew) > allowed:
        direction = "ahead of" if skew > 0 else "behind"
        raise Problem(
            f"this host's is {abs(skew):.0f} s {direction} the controller's, {allowed:g} s are allowed: "
            "sessions, certificates and histories would be wrong; set it right, e.g. timedatectl set-ntp "
            "true."
        )


def judge_port(port: int, holders: Iterable[str], owners: Iterable[str]) -> None:
    """Refuse a port that something else has.

    @param holders: who listens there, as C(program (pid N))
    @param owners: programs that may
    """
    names = {holder: holder.partition(" ")[0] for holder in holders}
    if names and not set(names.values()) & set(owners):
        raise Problem(f"{port} is taken by {', '.join(names)}; stop it, or choose another port.")


def judge_listens(
    wanted: Sequence[config.Listen],
    servers: Sequence[config.Server],
    running: Sequence[config.Listen],
    own: str,
    default_site: str,
) -> None:
    """Refuse addresses that another file of nginx's configuration has, or that a reload cannot bind.

    @param running: where nginx listens now
    @param own: the app's own file
    """
    verdict = config.judge(servers, wanted, own, default_site)
    if verdict.problem:
        raise Problem(verdict.problem)
    clash = config.clash(running, wanted)
    if clash:
        theirs, ours = clash
        raise Problem(
            f"nginx listens on {theirs.text} and cannot also bind {ours.text} at a reload; choose another port, or "
            "stop nginx on this host before the run (systemctl stop nginx), which interrupts its users."
        )


def port_number(value: Any) -> int:
    if not re.fullmatch(r"\d{1,5}", str(value)) or not 0 < int(value) < 65536:
        raise Problem(f"{value!r} is no port; wanted 1 to 65535.")
    return int(value)


def listening(table: str) -> Iterator[tuple[int, str]]:
    """Read port and inode of the sockets that listen, from the text of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        row = line.split()
        if len(row) > 9 and row[3] == LISTEN:
            yield int(row[1].rpartition(":")[2], 16), row[9]


def addresses(ports: Iterable[int], proc: str = "/proc") -> Iterator[tuple[int, str]]:
    """Yield port and address of the sockets that listen on these ports."""
    wanted = set(ports)
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{name}", encoding="ascii") as table:
            for line in table.read().splitlines()[1:]:
                row = line.split()
                host, _colon, port = row[1].rpartition(":")
                if row[3] == LISTEN and int(port, 16) in wanted:
                    yield int(port, 16), _address_of(host)


def _address_of(digits: str) -> str:
    """An address as the kernel prints it: words of 32 bits in the host's byte order."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    parsed = ipaddress.ip_address(packed)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def holders(ports: Iterable[int], proc: str = "/proc") -> dict[int, list[str]]:
    """Name the programs that listen on these ports; only root sees those of other users."""
    wanted = set(ports)
    inodes: dict[str, int] = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{name}", encoding="ascii") as table:
            inodes.update(
                (inode, port) for port, inode in listening(table.read()) if port in wanted
            )
    found: dict[int, list[str]] = {}
    for link in glob.iglob(f"{proc}/[0-9]*/fd/*") if inodes else ():
        # Processes end while we look, and some are not ours to look at.
        with contextlib.suppress(OSError):
            port = inodes.get(os.readlink(link)[len("socket:[") : -1])
            if port is not None:
                process = os.path.dirname(os.path.dirname(link))
                with open(f"{process}/comm", encoding="utf-8") as comm:
                    holder = f"{comm.read().strip()} (pid {os.path.basename(process)})"
                found.setdefault(port, []).append(holder)
    unseen = "a program that only root may see (use become)"
    return {port: found.get(port, [unseen]) for port in set(inodes.values())}


def describe_python(path: str) -> dict[str, Any]:
    """Ask an interpreter, which may be another than our own, what wheels it takes."""
    try:
        done = subprocess.run(
            [path, "-c", DESCRIBE_PYTHON], capture_output=True, text=True, check=True, timeout=30
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Problem(
            f"{path} does not run ({error}); install Python 3.9 or newer on the host, or name where it is."
        ) from error
    return found


def free_mb(path: str) -> int:
    """Megabytes free where C(path) is or would be made."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize // 10**6


def split(url: str) -> tuple[SplitResult, dict[str, str]]:
    """Take a URL apart, and its query; no error shows any of it."""
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        raise Problem(
            "is no URL; wanted scheme://user:password@host:port/name, with %2F for / and %40 for @ in a "
            "password."
        ) from None
    return parts, dict(parse_qsl(parts.query))


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection, or a UNIX one where C(host) is a path."""
    where = host if host.startswith("/") else address(host, port)
    try:
        if not host.startswith("/"):
            return socket.create_connection((host, port), timeout)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(host)
        return sock
    except (socket.gaierror, UnicodeError) as error:
        raise Problem(
            f"the name {host} is not known to this host ({error}); correct it, or add it to DNS or "
            "/etc/hosts."
        ) from error
    # In Python 3.9 this is no TimeoutError yet.
    except socket.timeout as error:
        raise Problem(
            f"{where} does not answer within {timeout:g} s; check the address, and that no firewall drops "
            "the packets of this host."
        ) from error
    except OSError as error:
        raise Problem(
            f"{where} does not answer ({error.strerror}); check the address, that the service runs, and "
            "that it listens to this host."
        ) from error


def reach(url: str, timeout: float) -> None:
    """Try the port of a database whose protocol is not spoken here; a file needs none."""
    parts, _query = split(url)
    kind = parts.scheme.partition("+")[0]
    port = parts.port or DATABASE_PORTS.get(kind)
    if kind == "sqlite":
        return
    if not parts.hostname or not port:
        raise Doubt(f"{kind} without host and port cannot be tried from here; nothing was proven.")
    connect(parts.hostname, port, timeout).close()
    raise Doubt(
        f"{address(parts.hostname, port)} answers; whether {kind} takes the login was not proven."
    )


def secure(
    sock: socket.socket,
    host: str,
    verify: bool = True,
    check_hostname: bool = True,
    authorities: str | None = None,
    certificate: tuple[str, str | None] | None = None,
) -> ssl.SSLSocket:
    """Put TLS on a connection.

    @param authorities: file of those to trust instead of the system's
    @param certificate: files of our own certificate and its key
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
        context.check_hostname = verify and check_hostname
        if not verify:
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(*certificate)
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise Problem(
            f"the certificate of {host} is not trusted ({error.verify_message}); name the file of its "
            "authority in the URL, or add it to the system's."
        ) from error
    except ssl.SSLError as error:
        raise Problem(
            f"TLS with {host} fails ({error.reason or error}); does it speak TLS?"
        ) from error
