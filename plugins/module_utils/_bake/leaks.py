# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the workers of a release go on growing, beyond what its predecessor's came to?

A fresh worker grows while it warms up: it imports late, fills caches and pools. So growth
alone says nothing. It is a leak when a worker holds clearly more than any of the
predecessor's, which has long been warm, and still grows with each request, in a straight line.

Everything here is pure; C(_system/procfs.py) looks at the workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .. import _statistics

# A worker that was asked less often in the bake is still warming up.
LEAST_REQUESTS = 30
# What comes after the first third is cut into so many pieces of as many requests. The median of
# them is what counts, so that no single jump does: a big import, a collected heap.
PIECES = 5
# A straight line's later pieces are as steep as its earlier ones. Warm-up bends: what grows with
# the logarithm of the requests comes to 0.58, what comes nearer and nearer to its level to less.
STRAIGHT = 0.7
# A leak of the release is one of all its workers; one alone may have been asked for much.
MOST_WORKERS = 0.75
# What a worker may hold more than the predecessor's: a small thing can be new. Memory may also be
# this share more, for the heap of a big app is as much more or less from one worker to the next.
MARGINS = {"memory_mb": 8.0, "open_files": 16.0}
CONNECTIONS = 4.0
SHARE = 0.1

# What a worker holds, by name: V(memory_mb), V(open_files), and V(port_5432) for the connections
# to servers that listen there.
Held = Mapping[str, float]


class Seen(NamedTuple):
    """A worker at one moment: how many requests it has answered so far, and what it holds."""

    requests: int
    held: Held


def most(workers: Mapping[int, Held]) -> dict[str, float]:
    """The most of each thing that one of the workers holds."""
    names = {name for held in workers.values() for name in held}
    return {name: max(held.get(name, 0.0) for held in workers.values()) for name in sorted(names)}


def judge(workers: Mapping[int, Sequence[Seen]], limit: Held) -> list[str]:
    """What speaks against the release of these workers, in words.

    @param limit: what the predecessor's workers hold
    """
    asked = [ends for seen in workers.values() if (ends := _ends(seen))]
    names = {name for ends in asked for name in ends[-1].held}
    return [told for name in sorted(names) if (told := _leak(asked, name, limit))]


def _ends(seen: Sequence[Seen]) -> list[Seen] | None:
    """The ends of the pieces; V(None) where there are not enough looks or requests for them."""
    requests = seen[-1].requests - seen[0].requests
    if requests < LEAST_REQUESTS:
        return None
    wanted = [
        seen[0].requests + requests * (1 / 3 + 2 / 3 * piece / PIECES) for piece in range(PIECES)
    ] + [seen[-1].requests]
    ends = [next(one for one in seen if one.requests >= least) for least in wanted]
    return ends if len({one.requests for one in ends}) == len(ends) else None


def _leak(workers: Sequence[Sequence[Seen]], name: str, limit: Held) -> str | None:
    before = limit.get(name, 0.0)
    growing = [ends for ends in workers if _grows(ends, name, before)]
    if len(growing) < max(1.0, MOST_WORKERS * len(workers)):
        return None
    pieces = zip(*(_slopes(ends, name) for ends in growing))
    slopes = [_statistics.median(piece) for piece in pieces]
    half = PIECES // 2
    if _statistics.median(slopes[half:]) < STRAIGHT * _statistics.median(slopes[:half]):
        return None
    now = _statistics.median([ends[-1].held.get(name, 0.0) for ends in growing])
    return (
        f"each worker takes {_statistics.median(slopes):.2g} {_words(name)} more for each request, "
        f"and has {now:.0f}, before {before:.0f}"
    )


def _slopes(ends: Sequence[Seen], name: str) -> list[float]:
    """How much more a worker holds for each request, in each of the pieces."""
    return [
        (new.held.get(name, 0.0) - old.held.get(name, 0.0)) / (new.requests - old.requests)
        for old, new in zip(ends, ends[1:])
    ]


def _grows(ends: Sequence[Seen], name: str, before: float) -> bool:
    first, last = ends[0].held.get(name, 0.0), ends[-1].held.get(name, 0.0)
    steady = _statistics.median(_slopes(ends, name)) * (ends[-1].requests - ends[0].requests)
    margin = allowance(name, before)
    return min(steady, last - first) >= margin / 2 and last > before + margin


def allowance(name: str, before: float) -> float:
    share = SHARE * before if name == "memory_mb" else 0.0
    return max(MARGINS.get(name, CONNECTIONS), share)


def _words(name: str) -> str:
    kind, _sep, number = name.partition("_")
    if kind == "port":
        return f"connections to port {number}"
    return {"memory_mb": "MB of memory", "open_files": "open files"}[name]
