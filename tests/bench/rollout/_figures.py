# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the measurements of the rollout bench into numbers and lines of text."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# The line of sshd for each command at LogLevel VERBOSE.
COMMAND = "Starting session: "
RECEIVED = re.compile(r"^\s*eth0:\s*(\d+)", re.M)
OPERATIONS = re.compile(r"Grand total\s+(\d+)")


@dataclass(frozen=True)
class Wire:
    """The counters of a host until now: bytes of each kind, and commands that its sshd logged."""

    bytes: int
    commands: int

    @classmethod
    def read(cls, text: str) -> Wire:
        """From its /proc/net/dev and its log."""
        received = RECEIVED.search(text)
        if not received:
            raise ValueError(f"There is no eth0 in {text[:400]!r}.")
        return cls(int(received[1]), text.count(COMMAND))


@dataclass(frozen=True)
class Run:
    """One run of one tool, from its start to its end."""

    tool: str
    hosts: int
    job: str
    # Of the release that it was about.
    number: str
    begun: float
    ended: float
    status: int
    records: list[dict[str, Any]]
    tasks: int
    commands: int
    bytes: int

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


def tasks_per_host(records: Iterable[Mapping[str, Any]]) -> int:
    """Of the host that had most of them: what is done once is done somewhere."""
    counts: dict[str, int] = {}
    for one in records:
        if one["outcome"] != "skipped":
            counts[one["host"]] = counts.get(one["host"], 0) + 1
    return max(counts.values(), default=0)


def operations_per_host(log: str, hosts: int) -> int:
    """The summary of pyinfra: its operations on all hosts."""
    found = OPERATIONS.search(log)
    return int(found[1]) // hosts if found else 0


def by_task(records: Iterable[Mapping[str, Any]], begun: float) -> list[tuple[float, int, str]]:
    """Return seconds, turns and name of each task, the longest first.

    The time of a task is from the end of the previous one to its own end on the last host. So it
    includes the overhead of Ansible, and the sum is the whole run.
    """
    spent: dict[str, list[float]] = {}
    last = begun
    ended = sorted(records, key=lambda one: float(one["ended"]))
    for task, group in itertools.groupby(ended, key=lambda one: str(one["task"])):
        end = max(float(one["ended"]) for one in group)
        spent.setdefault(task, []).append(end - last)
        last = end
    return sorted(((sum(took), len(took), task) for task, took in spent.items()), reverse=True)


@dataclass
class Window:
    """The requests of a span of time."""

    elapsed: list[float] = field(default_factory=list)
    failed: int = 0

    def p99(self) -> float:
        ordered = sorted(self.elapsed)
        return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else 0.0


def windows(lines: Iterable[str], begun: float, ended: float) -> dict[str, Window]:
    """Split requests into those before C(begun) and, by their target, those until C(ended)."""
    found = {"before": Window(), "balancer": Window(), "directly": Window()}
    for one in map(json.loads, lines):
        if one["time"] > ended:
            continue
        during = "balancer" if one["target"] == "lb" else "directly"
        window = found["before" if one["time"] < begun else during]
        window.elapsed.append(one["elapsed_ms"])
        window.failed += one.get("status") is None or one["status"] >= 500
    return found


def bars(values: Mapping[str, float], unit: str, width: int = 50) -> list[str]:
    """A chart that is read in a terminal and on a page alike."""
    longest, most = max(map(len, values)), max(values.values())
    return [
        f"{name:<{longest}}  {'█' * max(1, round(width * value / most))} {value:.1f} {unit}"
        for name, value in values.items()
    ]


@dataclass(frozen=True)
class Goal:
    """A goal, and whether it was reached; C(value) is None if it was not measured."""

    what: str
    wanted: str
    limit: float
    value: float | None
    unit: str = ""
    at_least: bool = False

    def cells(self) -> list[str]:
        if self.value is None:
            return [self.what, self.wanted, "not measured", ""]
        reached = self.value >= self.limit if self.at_least else self.value <= self.limit
        return [
            self.what,
            self.wanted,
            f"{self.value:.3g}{self.unit}",
            "yes" if reached else "**no**",
        ]
