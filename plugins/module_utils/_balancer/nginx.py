# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx as a balancer, by the file of an upstream and a reload."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import Callable

from .._errors import BalancerError
from .._front import config, processes
from .plan import DOWN, DRAINED, MAINTENANCE, SERVING, Server

# Distinguishes servers that a rollout drained from those that a person removed.
MARK = "# taken out by evenkeel.flask"
UPSTREAM = re.compile(r"\s*upstream\s+(\S+)\s*\{")
SERVER = re.compile(r"(?P<head>\s*server\s+(?P<address>[^\s;{]+)(?P<rest>[^;{#]*));(?P<tail>.*)")
PORT = re.compile(r":\d+$")
CONNECT_SECONDS = 1.0
RELOAD_SECONDS = 30.0
RELOAD_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Entry:
    """A server of an upstream, and its line in the file."""

    line: int
    upstream: str | None
    address: str
    is_down: bool
    is_ours: bool


def parse(text: str) -> list[Entry]:
    """Return the servers of all upstreams. Each must be on its own line."""
    found = []
    upstream = None
    for number, line in enumerate(text.splitlines()):
        block = UPSTREAM.match(line)
        server = SERVER.fullmatch(line)
        if block:
            upstream = block[1]
        elif line.strip().startswith("}"):
            upstream = None
        elif server:
            is_down = "down" in server["rest"].split()
            is_ours = is_down and server["tail"].startswith(f" {MARK}")
            found.append(Entry(number, upstream, server["address"], is_down, is_ours))
    return found


def choose(entries: list[Entry], upstream: str | None, server: str) -> tuple[Entry, list[Entry]]:
    """Return the entry of C(server), with or without its port, and those of its whole upstream.

    @raises BalancerError: if the name is ambiguous
    """
    names = sorted({str(entry.upstream) for entry in entries})
    pool = [entry for entry in entries if upstream in (None, entry.upstream)]
    if not pool or (upstream is None and len(names) > 1):
        raise BalancerError(
            f"it has {'the upstreams ' + ', '.join(names) if names else 'no upstream with a server on a line'}; "
            "name one of its upstreams."
        )
    own = [entry for entry in pool if server in (entry.address, PORT.sub("", entry.address))]
    if len(own) != 1:
        raise BalancerError(
            f"it has {'no' if not own else 'more than one'} server {server}; there are "
            f"{', '.join(entry.address for entry in pool)}. Say which one the host is."
        )
    return own[0], pool


def edited(text: str, entry: Entry, is_down: bool) -> str:
    """Return the file with a server marked as down, or restored."""
    lines = text.splitlines(keepends=True)
    line = lines[entry.line]
    if is_down:
        head, _semicolon, tail = line.partition(";")
        lines[entry.line] = f"{head} down; {MARK}{tail}"
    else:
        lines[entry.line] = line.replace(f" down; {MARK}", ";", 1)
    return "".join(lines)


def answers(address: str) -> bool:
    """Return whether a server accepts connections."""
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(CONNECT_SECONDS)
                connection.connect(address[len("unix:") :])
            return True
        port = PORT.search(address)
        target = (PORT.sub("", address).strip("[]"), int(port[0][1:]) if port else 80)
        with socket.create_connection(target, CONNECT_SECONDS):
            return True
    except OSError:
        return False


class Nginx:
    """A server of an upstream.

    @param write: replaces the content of the file atomically
    """

    poll_seconds = 0.2

    def __init__(
        self, server: str, path: str, upstream: str | None, write: Callable[[str], None]
    ) -> None:
        self.server = server
        self.path = path
        self.upstream = upstream
        self.write = write
        self.pool = f"nginx's upstream {upstream or 'in ' + path}"

    def servers(self) -> dict[str, Server]:
        own, pool = self._look(self._read())
        return {
            self.server if entry is own else entry.address: Server(_state(entry)) for entry in pool
        }

    def take_out(self) -> None:
        self._edit(is_down=True)

    def put_back(self) -> None:
        self._edit(is_down=False)

    def _read(self) -> str:
        try:
            with open(self.path, encoding="utf-8", newline="") as stream:
                return stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise BalancerError(
                f"{self.path} cannot be read: {error}. Name the file that has the upstream."
            ) from error

    def _look(self, text: str) -> tuple[Entry, list[Entry]]:
        try:
            return choose(parse(text), self.upstream, self.server)
        except BalancerError as error:
            raise BalancerError(f"{self.path}: {error}") from None

    def _edit(self, is_down: bool) -> None:
        before = self._read()
        self.write(edited(before, self._look(before)[0], is_down))
        try:
            _nginx("-t")
            self._reload()
        except BalancerError:
            self.write(before)
            raise

    def _reload(self) -> None:
        old = processes.workers()
        _nginx("-s", "reload")
        deadline = time.monotonic() + RELOAD_SECONDS
        while not processes.is_reloaded(old, processes.workers()):
            if time.monotonic() > deadline:
                raise BalancerError(
                    f"nginx did not take {self.path} within {RELOAD_SECONDS:g} s. Its error log says why."
                )
            time.sleep(RELOAD_POLL_SECONDS)


def _state(entry: Entry) -> str:
    if entry.is_down:
        return DRAINED if entry.is_ours else MAINTENANCE
    return SERVING if answers(entry.address) else DOWN


def _nginx(*args: str) -> None:
    try:
        done = config.nginx("-q", *args)
    except OSError as error:
        raise BalancerError(f"nginx cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        raise BalancerError(f"nginx {' '.join(args)} fails: {done.stdout.strip()}")
