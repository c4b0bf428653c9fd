# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a fleet at a steady rate, as its users do, and count every answer that does not come.

The loop is open: a request goes out when its time has come, whether or not the
earlier ones are answered. A server that stalls is therefore seen to stall, and
not merely asked less often. Every request has a connection of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import itertools
import json
import math
import os
import re
import resource
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 10.0
# Of one core, for all requests of a load; a rollout takes about one core beside it.
CPU_SHARE = 0.35
# Requests per second and target.
MIN_RATE = 3.0
FIRST_FAILURES = 5
NO_RELEASE = "none"


@dataclass(frozen=True)
class Result:
    """The result of one request."""

    time: float
    target: str
    path: str
    status: int | None
    error: str | None
    elapsed_ms: float
    release: str | None

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 500

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    def line(self) -> str:
        return json.dumps(self.shown())


class Latencies:
    """Quantiles to one per cent, in memory that does not grow with the number of requests."""

    _GROWTH = math.log(1.01)

    def __init__(self) -> None:
        self.max_ms = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, elapsed_ms: float) -> None:
        self.max_ms = max(self.max_ms, elapsed_ms)
        self._buckets[round(math.log(max(elapsed_ms, 0.01)) / self._GROWTH)] += 1

    def quantile(self, share: float) -> float:
        """The time within which C(share) of the requests were answered."""
        wanted = share * self._buckets.total()
        reached = 0
        for bucket in sorted(self._buckets):
            reached += self._buckets[bucket]
            if reached >= wanted:
                return min(math.exp(bucket * self._GROWTH), self.max_ms)
        return 0.0


@dataclass
class Tally:
    """The results of all requests to one target."""

    sent: int = 0
    failed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    failed_by: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, result: Result) -> None:
        self.sent += 1
        self.failed += result.failed
        self.statuses[str(result.status or "no answer")] += 1
        self.latencies.add(result.elapsed_ms)
        if result.status is not None:
            self.releases[result.release or NO_RELEASE] += 1
            self.failed_by[result.release or NO_RELEASE] += result.failed

    def summary(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "ok": self.sent - self.failed,
            "failed": self.failed,
            "p50_ms": round(self.latencies.quantile(0.5), 2),
            "p99_ms": round(self.latencies.quantile(0.99), 2),
            "max_ms": round(self.latencies.max_ms, 2),
            "statuses": dict(self.statuses),
            "releases": dict(self.releases),
            "failed_by": dict(self.failed_by),
        }


@dataclass(frozen=True)
class Summary:
    """The result of a load.

    C(behind_ms) is the largest delay of the client itself. With a large value, the machine was too
    busy, and the latencies are not valid.
    """

    seconds: float
    behind_ms: float
    sent: int
    ok: int
    failed: int
    releases: dict[str, int]
    targets: dict[str, dict[str, Any]]
    first_failures: list[dict[str, Any]]


class _Answer(io.BytesIO):
    """An answer that was read to its end, in the shape in which http.client takes one."""

    def makefile(self, mode: str) -> io.BytesIO:
        return self


def parse_answer(raw: bytes) -> tuple[int, str | None]:
    """Take the status and the release out of an answer.

    @raises http.client.HTTPException: if it is not HTTP, or is cut off
    """
    answer = http.client.HTTPResponse(_Answer(raw))  # type: ignore[arg-type]
    answer.begin()
    answer.read()
    return answer.status, answer.getheader("X-Release")


async def exchange(address: tuple[str, int], path: str) -> bytes:
    """Send a request over a connection of its own and read until the server closes it."""
    host, port = address
    reader, writer = await asyncio.open_connection(host, port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        return await reader.read()
    finally:
        writer.close()


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(
            f"{url!r} is no target: give it as http://HOST:PORT, and paths by themselves."
        )
    return parts.hostname, parts.port or 80


def affordable_rate(targets: Mapping[str, str], paths: Sequence[str], most: float) -> float:
    """Return the requests per second and target that leave this machine time for its work.

    The load, the hosts and the controller share one machine. A load that it cannot carry fails
    requests by its own length. Each path of each target is requested three times, one request
    after the other. The median time, as CPU time, may take CPU_SHARE of one core.

    @param targets: URLs by name; one that does not answer is left out
    @param most: requests per second and target, on a machine that can carry them
    """
    seconds = []
    for url, path, _time in itertools.product(targets.values(), paths, range(3)):
        begun = time.monotonic()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            asyncio.run(asyncio.wait_for(exchange(address_of(url), path), TIMEOUT))
            seconds.append(time.monotonic() - begun)
    return rate_for(seconds, len(targets), most)


def rate_for(seconds: Sequence[float], targets: int, most: float) -> float:
    """Return the rate of C(affordable_rate) for what requests took; the smallest if none was answered."""
    if not seconds:
        return MIN_RATE
    return max(MIN_RATE, min(most, CPU_SHARE / targets / statistics.median(seconds)))


class Load:
    """A load that runs in parallel to its caller: start it, do the work that users must not notice, stop it.

    @param targets: URLs by name; each gets C(rate) requests per second
    @param paths: requested in turn
    @param output: the file that takes a line of JSON for each request
    @raises ValueError: if there is no target or no path, or one that is not valid
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        rate: float,
        paths: Sequence[str] = ("/",),
        output: Path | str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        if rate <= 0 or not targets or not paths:
            raise ValueError("A load needs a rate above 0, a target and a path.")
        for path in paths:
            if not re.fullmatch(r"/[!-~]*", path):
                raise ValueError(
                    f"{path!r} is no path: it begins with a slash, and is quoted as in a URL."
                )
        self._addresses = {name: address_of(url) for name, url in targets.items()}
        self._rate = rate
        self._paths = list(paths)
        self._output = output
        self._timeout = timeout
        self._tallies = {name: Tally() for name in targets}
        self._first_failures: list[dict[str, Any]] = []
        self._started = 0.0
        self._behind = 0.0
        self._enough = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        # Closed by stop(); opened here, so that a path that is wrong fails where it was given.
        self._lines = open(self._output or os.devnull, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._started = time.monotonic()
        self._thread.start()

    def stop(self) -> Summary:
        """Send no more, wait for the answers that are due, and sum up."""
        self._enough.set()
        self._thread.join()
        self._lines.close()
        releases: Counter[str] = Counter()
        for tally in self._tallies.values():
            releases.update(tally.releases)
        sent = sum(tally.sent for tally in self._tallies.values())
        failed = sum(tally.failed for tally in self._tallies.values())
        return Summary(
            seconds=round(time.monotonic() - self._started, 2),
            behind_ms=round(self._behind * 1000, 2),
            sent=sent,
            ok=sent - failed,
            failed=failed,
            releases=dict(releases),
            targets={name: tally.summary() for name, tally in self._tallies.items()},
            first_failures=self._first_failures,
        )

    async def _run(self) -> None:
        asked = (
            (path, target) for path in itertools.cycle(self._paths) for target in self._addresses
        )
        pending: set[asyncio.Task[None]] = set()
        pace = 1 / (self._rate * len(self._addresses))
        for number, (path, target) in enumerate(asked):
            await self._until(self._started + number * pace)
            if self._enough.is_set():
                break
            task = asyncio.create_task(self._ask(target, path))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)

    async def _until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0 and not self._enough.is_set():
            await asyncio.sleep(min(left, 0.1))
        self._behind = max(self._behind, -left)

    async def _ask(self, target: str, path: str) -> None:
        sent_at, begun = time.time(), time.monotonic()
        status = error = release = None
        try:
            raw = await asyncio.wait_for(exchange(self._addresses[target], path), self._timeout)
            status, release = parse_answer(raw)
        except asyncio.TimeoutError:
            error = f"no answer within {self._timeout:g} s"
        except (OSError, http.client.HTTPException) as exc:
            error = f"{type(exc).__name__}: {exc}"
        elapsed = (time.monotonic() - begun) * 1000
        result = Result(round(sent_at, 3), target, path, status, error, round(elapsed, 2), release)
        self._tallies[target].add(result)
        self._lines.write(result.line() + "\n")
        if result.failed and len(self._first_failures) < FIRST_FAILURES:
            self._first_failures.append(result.shown())


def _named_target(text: str) -> tuple[str, str]:
    name, _sep, url = text.partition("=")
    if not url:
        raise argparse.ArgumentTypeError(f"{text!r}: give it as NAME=URL")
    return name, url


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load.py", description=__doc__)
    parser.add_argument("--rate", type=float, default=50, help="requests a second to each target")
    parser.add_argument(
        "--target", type=_named_target, action="append", required=True, metavar="NAME=URL"
    )
    parser.add_argument("--path", action="append", help="asked in turn (/)")
    parser.add_argument("--output", help="a line of JSON for each request")
    parser.add_argument(
        "--summary", type=Path, help="what it came to, as JSON (or on standard output)"
    )
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="(until SIGTERM or SIGINT)"
    )
    parser.add_argument("--timeout", type=float, default=TIMEOUT, metavar="SECONDS")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    options = parse(args)
    enough = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: enough.set())
    # A server that stalls holds many connections open at once.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    paths = options.path or ["/"]
    try:
        load = Load(dict(options.target), options.rate, paths, options.output, options.timeout)
        load.start()
        enough.wait(options.duration)
        text = json.dumps(asdict(load.stop()), indent=2) + "\n"
        if options.summary:
            options.summary.write_text(text, encoding="utf-8")
        else:
            print(text, end="")
    except (ValueError, OSError) as exc:
        print(f"load: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
