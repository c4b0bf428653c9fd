# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often is a verdict on response times right? Real gunicorn, slowdowns that are known: make bench-verdicts.

Two gunicorns run one page that computes for a few milliseconds, one of them longer
by a known share. The gate's own check decides as in a rollout. Beside it, on the
same two, decide the two rules that people use otherwise, each of which measures one
release after the other: p95 below a fixed limit, and a mean at most a fifth above
the live release's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import page
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.check import (
    CheckContext,
    Failed,
    HttpTarget,
    Inconclusive,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.checks import response_times
from ansible_collections.evenkeel.flask.plugins.module_utils._http.client import Deadline, Url
from ansible_collections.evenkeel.flask.plugins.module_utils._statistics import percentile

HERE = Path(__file__).resolve().parent
SLOWDOWNS = (0, 5, 10, 25, 50, 100)
PAGE_MS = 10.0
SAMPLES = 30
WORKERS = 2
HEAD = ("slower by", "rule", "refused, %", "inconclusive, %", "seconds, median", "longest")
SETTINGS = {name: option.get("default") for name, option in response_times.SPEC.items()}

# A hash takes processor time, so a busy machine prolongs it. A sleep would not change.
PAGE = """\
import hashlib, os
ROUNDS = int(os.environ["ROUNDS"])
def application(environ, start_response):
    for _turn in range(ROUNDS):
        hashlib.sha256(b"x" * 4096).digest()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def rounds_of(milliseconds: float) -> int:
    """How many rounds of the page's work take so long here."""
    namespace: dict[str, Callable[..., object]] = {}
    os.environ["ROUNDS"] = "2000"
    exec(PAGE, namespace)
    took = []
    for _turn in range(10):
        begun = time.perf_counter()
        namespace["application"]({}, lambda *_args: None)
        took.append((time.perf_counter() - begun) * 1000)
    return round(2000 * milliseconds / statistics.median(took))


@contextlib.contextmanager
def gunicorn(folder: str, name: str, rounds: int) -> Iterator[HttpTarget]:
    socket = f"{folder}/{name}.sock"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"unix:{socket}",
        "--workers",
        str(WORKERS),
    ]
    with subprocess.Popen(
        [*command, "--no-control-socket", "--chdir", folder, "page"],
        env={**os.environ, "ROUNDS": str(rounds)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            site = HttpTarget(Url.parse("http://localhost"), Deadline(1e9), socket)
            deadline = time.monotonic() + 20
            while not answers(site):
                if time.monotonic() > deadline:
                    raise SystemExit(
                        "bench: gunicorn does not answer. Is it in .venv? Try: make setup"
                    )
                time.sleep(0.05)
            yield site
        finally:
            process.terminate()


def answers(site: HttpTarget) -> bool:
    with contextlib.suppress(Exception):
        return site.fetch("/").status == 200
    return False


def ours(live: HttpTarget, candidate: HttpTarget) -> str:
    trial = CheckContext(candidate, live)
    try:
        response_times.run(trial, {**SETTINGS, "paths": ["/"]})
    except Failed:
        return "refused"
    except Inconclusive:
        return "inconclusive"
    return "passed"


def timed(site: HttpTarget) -> list[float]:
    return [site.fetch("/").elapsed_ms for _turn in range(SAMPLES)]


def fixed_limit(limit: float) -> Callable[[HttpTarget, HttpTarget], str]:
    def decide(_live: HttpTarget, candidate: HttpTarget) -> str:
        return "refused" if percentile(timed(candidate), 95) > limit else "passed"

    return decide


def mean_and_a_fifth(live: HttpTarget, candidate: HttpTarget) -> str:
    before = statistics.mean(timed(live))
    return "refused" if statistics.mean(timed(candidate)) > before * 1.2 else "passed"


@dataclass
class Score:
    """The verdicts of a rule at one slowdown, and their duration."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        count = self.outcomes.total()
        shares = [
            f"{100 * self.outcomes[word] / count:.1f}" for word in ("refused", "inconclusive")
        ]
        return [*shares, f"{statistics.median(self.seconds):.2f}", f"{max(self.seconds):.2f}"]


def measure(
    decisions: int,
    slowdown: int,
    rounds: int,
    rules: dict[str, Callable[[HttpTarget, HttpTarget], str]],
) -> dict[str, Score]:
    """Let every rule decide so often; they take turns, so that each sees the same machine."""
    scores = {name: Score() for name in rules}
    with TemporaryDirectory() as folder:
        Path(folder, "page.py").write_text(PAGE, encoding="utf-8")
        slower = round(rounds * (1 + slowdown / 100))
        with (
            gunicorn(folder, "live", rounds) as live,
            gunicorn(folder, "candidate", slower) as candidate,
        ):
            for _turn in range(decisions):
                for name, rule in rules.items():
                    begun = time.monotonic()
                    scores[name].outcomes[rule(live, candidate)] += 1
                    scores[name].seconds.append(time.monotonic() - begun)
    return scores


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """Other processes that compute all the time."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _core in range(cores)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--decisions", type=int, default=200, help="of each rule, at each slowdown (200)"
    )
    parser.add_argument(
        "--busy", type=int, default=0, metavar="CORES", help="load so many cores besides (0)"
    )
    options = parser.parse_args(args)
    measured = page.machine()
    rounds = rounds_of(PAGE_MS)
    # The limit of a person who measured the live release on a quiet day.
    rules = {
        "the gate": ours,
        f"p95 below {PAGE_MS * 1.5:g} ms": fixed_limit(PAGE_MS * 1.5),
        "mean + 20 %": mean_and_a_fifth,
    }
    rows = []
    with busy(options.busy):
        for slowdown in SLOWDOWNS:
            for name, score in measure(options.decisions, slowdown, rounds, rules).items():
                rows.append([f"{slowdown} %", name, *score.cells()])
                print(*rows[-1], sep="\t", flush=True)
    page.write(
        "verdicts, busy" if options.busy else "verdicts, quiet",
        [
            f"{options.decisions} decisions each; a page of {PAGE_MS:g} ms, {WORKERS} workers; "
            f"{options.busy} cores loaded by another process.",
            "",
            *page.table(HEAD, rows),
        ],
        measured,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
