# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the results of endpoint_profile as table, HTML and JSON, compared with an earlier run.

Pure; on the controller only.
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

# The stored fields of a result. Ansible adds other fields, which can contain headers.
STORED_FIELDS = (
    "release", "slot", "settings", "endpoints", "slowest", "workers", "main_pss_mb", "pool",
    "began", "elapsed", "msg",
)  # fmt: skip
HEAD = ("host", "endpoint", "cache")
FIGURES = ("p50 ms", "p95 ms", "p99 ms", "req/s", "errors", "bytes")
TAIL = ("hits", "cpu ms", "waits for")
BAR_WIDTH = 560


class InvalidProfile(Exception):
    """The text is not the stored result of an earlier run. The message has the reason."""


@dataclass(frozen=True)
class ProfileReport:
    """One run over the fleet, and the earlier run that it is compared with, if any."""

    app: str
    at: str
    hosts: Profiles
    before: Profiles
    before_at: str = ""


@dataclass(frozen=True)
class Row:
    """The figures of an endpoint on a host, cold or warm: now, and before if measured."""

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
    """A part of a bar: a kind of wait, and its share of the time."""

    kind: str
    share: float
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    """The time of an endpoint by kind of wait."""

    endpoint: str
    side: str
    pieces: list[Piece]


def measured_hosts(profiles: Mapping[str, Profile | None]) -> dict[str, dict[str, Any]]:
    """Return the stored fields of each host that measured an endpoint."""
    return {
        host: {name: result[name] for name in STORED_FIELDS if name in result}
        for host, result in profiles.items()
        if result and result.get("endpoints")
    }


def read(text: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Return the stored profiles of an earlier run, and its time.

    @raises InvalidProfile: if the text is not a profile of this collection
    """
    try:
        saved = json.loads(text)
        hosts, at = measured_hosts(saved["hosts"]), str(saved["at"])
        # Render everything once, so that an invalid profile fails here and not later.
        table(hosts, hosts)
        as_html(ProfileReport("", at, hosts, hosts, at))
        for profile in hosts.values():
            _settings(profile)
        return hosts, at
    except (ValueError, KeyError, TypeError, AttributeError, UndefinedError) as error:
        raise InvalidProfile(
            f"is no profile.json of this collection ({type(error).__name__})"
        ) from None


def loops(profile: Profile) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """Return the loops by endpoint and cache, each by its kind."""
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
    """Return the latencies of the open loop, and the throughput of the closed loop."""
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
    """Return the factor from before to now; V(None) if there is no divisor."""
    return now / before if before and now is not None else None


def change(before: float | None, now: float | None, is_known: bool) -> str:
    if not is_known:
        return figure(now)
    times = ratio(before, now)
    return f"{figure(before)} -> {figure(now)}" + ("" if times is None else f" ({times:.2f})")


def memory_mb(profile: Profile) -> float:
    """Return the PSS in MB of gunicorn's workers and main process, which share pages."""
    parts = [profile["main_pss_mb"], *(worker["pss_mb"] for worker in profile["workers"])]
    return float(sum(part or 0.0 for part in parts))


def notes(hosts: Profiles, before: Profiles) -> list[str]:
    """Return the lines per host, and the reasons why figures are not comparable."""
    lines = []
    for host, profile in hosts.items():
        earlier = before.get(host)
        memory = change(memory_mb(earlier) if earlier else None, memory_mb(profile), bool(earlier))
        pool = profile["pool"]
        lines.append(
            f"{host}: release {profile['release']}, {len(profile['workers'])} workers, PSS {memory} MB; "
            f"connections of a worker to the database: {figure(pool['most'])} at most, of {figure(pool['size'])}."
        )
        lines += [
            f"{host}: {endpoint['name']} {endpoint['error']}."
            for endpoint in profile["endpoints"]
            if endpoint["error"]
        ]
        if before and not earlier:
            lines.append(f"{host}: was not measured before.")
        elif earlier and earlier["settings"] != profile["settings"]:
            lines.append(
                f"{host}: was measured with other settings before ({_settings(earlier)}; now "
                f"{_settings(profile)}), so the figures may not compare."
            )
        if earlier:
            gone = sorted(
                {name for name, _cache in loops(earlier)}
                - {name for name, _cache in loops(profile)}
            )
            lines += [f"{host}: {name} was measured before, and is not now." for name in gone]
    return lines


def _settings(profile: Profile) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in profile["settings"].items())


def table(hosts: Profiles, before: Profiles) -> list[str]:
    """Return the lines that the end of a run shows."""
    return [
        *lay_out([(*HEAD, *FIGURES, *TAIL), *(row.cells() for row in rows(hosts, before))]),
        *map(printable_line, notes(hosts, before)),
    ]


def plots(profile: Profile, earlier: Profile | None) -> list[rollout.Plot]:
    """Plot the open loop's latencies of each endpoint, cold and warm, now and before."""
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
    """Return the time of each endpoint by kind of wait, without the cache, now and before."""
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


def as_json(run: ProfileReport) -> str:
    saved = {name: value for name, value in asdict(run).items() if not name.startswith("before")}
    return json.dumps(printable_all(saved), indent=2, sort_keys=True) + "\n"


def as_html(run: ProfileReport) -> str:
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
