# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect workers of a release that keep growing beyond the level of its predecessor's.

A fresh worker grows during warm-up: it imports late, and fills caches and pools. So growth alone
is not evidence. It is a leak if a worker holds clearly more than any of the predecessor's, which
have long been warm, and still grows linearly with each request.

Pure; C(_system/procfs.py) reads the resources of the workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .. import _statistics

# A worker with fewer requests in the bake is still warming up.
MIN_REQUESTS = 30
# The part after the first third is cut into this many pieces with the same number of requests.
# The median of the pieces counts, so that no single jump does: a big import, a collected heap.
PIECES = 5
# The ratio of the later slope to the earlier one; 1 is a straight line. Warm-up flattens: growth
# with the logarithm of the requests has 0.58, and growth towards a fixed level has less.
MIN_LINEARITY = 0.7
# A leak of the release affects all its workers; a single one may have had special requests.
MIN_WORKER_SHARE = 0.75
# The tolerance above the predecessor's worker, because small differences can be new. Memory can also
# exceed it by this share, as the heaps of a big app's workers differ by as much.
MARGINS = {"memory_mb": 8.0, "open_files": 16.0}
CONNECTIONS = 4.0
SHARE = 0.1

# The resources of a worker by name: V(memory_mb), V(open_files), and V(port_5432) for the
# connections to servers that listen there.
Resources = Mapping[str, float]


class WorkerSample(NamedTuple):
    """A sample of a worker: the number of its responses so far, and its resources."""

    requests: int
    held: Resources


def most(workers: Mapping[int, Resources]) -> dict[str, float]:
    """Return the maximum of each resource over the workers."""
    names = {name for held in workers.values() for name in held}
    return {name: max(held.get(name, 0.0) for held in workers.values()) for name in sorted(names)}


def evaluate(workers: Mapping[int, Sequence[WorkerSample]], limit: Resources) -> list[str]:
    """Return the evidence against the release of these workers, as text.

    @param limit: the resources of the predecessor's workers
    """
    sampled = [ends for seen in workers.values() if (ends := _ends(seen))]
    names = {name for ends in sampled for name in ends[-1].held}
    return [problem for name in sorted(names) if (problem := _leak(sampled, name, limit))]


def _ends(seen: Sequence[WorkerSample]) -> list[WorkerSample] | None:
    """Return the ends of the pieces; V(None) if there are too few samples or requests for them."""
    requests = seen[-1].requests - seen[0].requests
    if requests < MIN_REQUESTS:
        return None
    thresholds = [
        seen[0].requests + requests * (1 / 3 + 2 / 3 * piece / PIECES) for piece in range(PIECES)
    ] + [seen[-1].requests]
    ends = [next(one for one in seen if one.requests >= least) for least in thresholds]
    return ends if len({one.requests for one in ends}) == len(ends) else None


def _leak(workers: Sequence[Sequence[WorkerSample]], name: str, limit: Resources) -> str | None:
    before = limit.get(name, 0.0)
    growing = [ends for ends in workers if _grows(ends, name, before)]
    if len(growing) < max(1.0, MIN_WORKER_SHARE * len(workers)):
        return None
    pieces = zip(*(_slopes(ends, name) for ends in growing))
    slopes = [_statistics.median(piece) for piece in pieces]
    half = PIECES // 2
    if _statistics.median(slopes[half:]) < MIN_LINEARITY * _statistics.median(slopes[:half]):
        return None
    now = _statistics.median([ends[-1].held.get(name, 0.0) for ends in growing])
    return (
        f"each worker takes {_statistics.median(slopes):.2g} {_words(name)} more for each request, "
        f"and has {now:.0f}, before {before:.0f}"
    )


def _slopes(ends: Sequence[WorkerSample], name: str) -> list[float]:
    """Return the growth per request, in each of the pieces."""
    return [
        (new.held.get(name, 0.0) - old.held.get(name, 0.0)) / (new.requests - old.requests)
        for old, new in zip(ends, ends[1:])
    ]


def _grows(ends: Sequence[WorkerSample], name: str, before: float) -> bool:
    first, last = ends[0].held.get(name, 0.0), ends[-1].held.get(name, 0.0)
    steady = _statistics.median(_slopes(ends, name)) * (ends[-1].requests - ends[0].requests)
    margin = tolerance(name, before)
    return min(steady, last - first) >= margin / 2 and last > before + margin


def tolerance(name: str, before: float) -> float:
    share = SHARE * before if name == "memory_mb" else 0.0
    return max(MARGINS.get(name, CONNECTIONS), share)


def _words(name: str) -> str:
    kind, _sep, number = name.partition("_")
    if kind == "port":
        return f"connections to port {number}"
    return {"memory_mb": "MB of memory", "open_files": "open files"}[name]
