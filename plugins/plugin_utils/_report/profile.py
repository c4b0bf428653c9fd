# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What endpoint_profile measured on a fleet: as a table, as a page, as JSON, and beside an earlier one.

Everything here is pure, and on the controller only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import UndefinedError

from ...module_utils._printable import printable_all, printable_line
from ...module_utils._profile import measure
from .._table import lay_out
from . import rollout

Profile = Mapping[str, Any]
Profiles = Mapping[str, Profile]

# What is kept of what the module returned. No more than this: the rest is Ansible's own, and can
# hold headers.
KEPT = (
    "release", "slot", "settings", "endpoints", "slowest", "workers", "main_pss_mb", "pool",
    "began", "elapsed", "msg",
)  # fmt: skip
HEAD = ("host", "endpoint", "cache")
FIGURES = ("p50 ms", "p95 ms", "p99 ms", "req/s", "errors", "bytes")
TAIL = ("hits", "cpu ms", "waits for")
BAR_WIDTH = 560


class NoProfile(Exception):
    """A text is not what was saved of an earlier run; the message says why."""


@dataclass(frozen=True)
class Run:
    """One run over the fleet, and perhaps the earlier one that it is compared with."""

    app: str
    at: str
    hosts: Profiles
    before: Profiles
    before_at: str = ""


@dataclass(frozen=True)
class Row:
    """An endpoint of a host, cold or warm: each figure now, and before where there was one."""

    host: str
    endpoint: str
    cache: str
    now: Mapping[str, float | None]
    before: Mapping[str, float | None]
    hits: str
    cpu_ms: str
    waits: str

    def cells(self) -> list[str]:
        figures = [
            change(self.before.get(name), self.now[name], bool(self.before)) for name in FIGURES
        ]
        return [self.host, self.endpoint, self.cache, *figures, self.hits, self.cpu_ms, self.waits]


@dataclass(frozen=True)
class Piece:
    """A part of a bar: what was waited for, and for which share of the time."""

    kind: str
    share: float
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    """Where the time of an endpoint went."""

    endpoint: str
    side: str
    pieces: list[Piece]


def kept(profiles: Mapping[str, Profile | None]) -> dict[str, dict[str, Any]]:
    """What each host that measured something measured."""
    return {
        host: {name: said[name] for name in KEPT if name in said}
        for host, said in profiles.items()
        if said and said.get("endpoints")
    }


def read(text: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What an earlier run saved, and when.

    @raises NoProfile: when it is none of ours
    """
    try:
        saved = json.loads(text)
        hosts, at = kept(saved["hosts"]), str(saved["at"])
        # All that is made of it later is made once, so that it fails here or not at all.
        table(hosts, hosts)
        as_html(Run("", at, hosts, hosts, at))
        for profile in hosts.values():
            _settings(profile)
        return hosts, at
    except (ValueError, KeyError, TypeError, AttributeError, UndefinedError) as error:
        raise NoProfile(f"is no profile.json of this collection ({type(error).__name__})") from None


def loops(profile: Profile) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """The loops by endpoint and cache, and each by its kind."""
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for endpoint in profile["endpoints"]:
        for loop in endpoint["loops"]:
            key = (str(endpoint["name"]), str(loop["cache"]))
            found.setdefault(key, {})[loop["loop"]] = loop
    return found


def rows(hosts: Profiles, before: Profiles) -> Iterator[Row]:
    for host, profile in hosts.items():
        earlier = loops(before[host]) if host in before else {}
        for key, found in loops(profile).items():
            closed = found["closed"]
            hits, cpu = closed["hit_rate"], closed["cpu_ms"]
            yield Row(
                host,
                *key,
                figures(found),
                figures(earlier[key]) if key in earlier else {},
                "-" if hits is None else f"{hits:.0%}",
                "-" if cpu is None else figure(cpu),
                measure.waits_for(found) or "?",
            )


def figures(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Latencies as strangers meet them, throughput as much as there can be."""
    latency = found["open"]["latency_ms"]
    return {
        "p50 ms": latency.get("p50"),
        "p95 ms": latency.get("p95"),
        "p99 ms": latency.get("p99"),
        "req/s": found["closed"]["throughput"],
        "errors": found["closed"]["errors"] + found["open"]["errors"],
        "bytes": found["closed"]["wire_bytes"],
    }


def figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(before: float | None, now: float | None) -> float | None:
    """How many times as much it is now; V(None) where there is nothing to divide by."""
    return now / before if before and now is not None else None


def change(before: float | None, now: float | None, is_known: bool) -> str:
    if not is_known:
        return figure(now)
    times = ratio(before, now)
    return f"{figure(before)} -> {figure(now)}" + ("" if times is None else f" ({times:.2f})")


def memory_mb(profile: Profile) -> float:
    """PSS of gunicorn's processes on a host: workers and the main one, which they share pages with."""
    parts = [profile["main_pss_mb"], *(worker["pss_mb"] for worker in profile["workers"])]
    return float(sum(part or 0.0 for part in parts))


def notes(hosts: Profiles, before: Profiles) -> list[str]:
    """What is told of each host as a whole, and what keeps figures from being compared."""
    told = []
    for host, profile in hosts.items():
        earlier = before.get(host)
        memory = change(memory_mb(earlier) if earlier else None, memory_mb(profile), bool(earlier))
        pool = profile["pool"]
        told.append(
            f"{host}: release {profile['release']}, {len(profile['workers'])} workers, PSS {memory} MB; "
            f"connections of a worker to the database: {figure(pool['most'])} at most, of {figure(pool['size'])}."
        )
        told += [
            f"{host}: {endpoint['name']} {endpoint['error']}."
            for endpoint in profile["endpoints"]
            if endpoint["error"]
        ]
        if before and not earlier:
            told.append(f"{host}: was not measured before.")
        elif earlier and earlier["settings"] != profile["settings"]:
            told.append(
                f"{host}: was measured with other settings before ({_settings(earlier)}; now "
                f"{_settings(profile)}), so the figures may not compare."
            )
        if earlier:
            gone = sorted(
                {name for name, _cache in loops(earlier)}
                - {name for name, _cache in loops(profile)}
            )
            told += [f"{host}: {name} was measured before, and is not now." for name in gone]
    return told


def _settings(profile: Profile) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in profile["settings"].items())


def table(hosts: Profiles, before: Profiles) -> list[str]:
    """The lines that a person sees at the end of a run."""
    return [
        *lay_out([(*HEAD, *FIGURES, *TAIL), *(row.cells() for row in rows(hosts, before))]),
        *map(printable_line, notes(hosts, before)),
    ]


def plots(profile: Profile, earlier: Profile | None) -> list[rollout.Plot]:
    """The open loop's latencies of each endpoint, cold and warm, now and before."""
    past = loops(earlier) if earlier else {}
    found = []
    for key, one in loops(profile).items():
        sides = {
            "before": past.get(key, {}).get("open", {}).get("quantiles_ms"),
            "after": one["open"]["quantiles_ms"],
        }
        known = {side: values for side, values in sides.items() if values}
        if known:
            found.append(rollout.plot(" ".join(key), known))
    return found


def bars(profile: Profile, earlier: Profile | None) -> list[Bar]:
    """Where the time of each endpoint went without the cache, now and before."""
    past = loops(earlier) if earlier else {}
    found = []
    for (name, cache), one in loops(profile).items():
        for side, loop in (("before", past.get((name, cache), {})), ("after", one)):
            shares = measure.where(loop) if loop and cache == "cold" else {}
            if shares:
                found.append(Bar(name, side, list(_pieces(shares))))
    return found


def _pieces(shares: Mapping[str, float]) -> Iterator[Piece]:
    x = 0.0
    for kind, share in sorted(shares.items()):
        width = share * BAR_WIDTH
        yield Piece(kind, share, round(x, 1), round(width, 1))
        x += width


def as_json(run: Run) -> str:
    saved = {name: value for name, value in asdict(run).items() if not name.startswith("before")}
    return json.dumps(printable_all(saved), indent=2, sort_keys=True) + "\n"


def as_html(run: Run) -> str:
    hosts = [
        {
            "name": host,
            "profile": profile,
            "rows": [row.cells() for row in rows({host: profile}, run.before)],
            "plots": plots(profile, run.before.get(host)),
            "bars": bars(profile, run.before.get(host)),
        }
        for host, profile in run.hosts.items()
    ]
    return rollout.page(
        "profile.html.j2",
        run=run,
        hosts=hosts,
        head=[*HEAD, *FIGURES, *TAIL][1:],
        notes=notes(run.hosts, run.before),
    )


FILES = {"profile.json": as_json, "profile.html": as_html}
