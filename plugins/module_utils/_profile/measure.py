# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the endpoints of an app in a fixed order, and report the figures."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import _errors, _statistics
from .._errors import ArgumentError
from .._http import client, connection, json_shape
from .._http import load as http_load
from .._http import params as http_params
from . import syscalls, workers

Params = Mapping[str, Any]

# This header bypasses the cache if the front allows it for local clients: RFC 9111, 5.2.1.4.
COLD = {"Cache-Control": "no-cache"}
CACHES = {"cold": COLD, "warm": {}}
LOOPS = ("closed", "open")
LOOPS_EACH = len(CACHES) * len(LOOPS)
PERCENTILES = (50, 90, 95, 99)
QUANTILES = 40
BUSY_CLIENT = 0.8
MINIMUMS = {"concurrency": 1, "seconds": 0.1, "rate": 0.1}
MAX_CONCURRENCY = http_load.MAX_OPEN
# The minimum share of an endpoint's time for which a wait is shown.
SHOWN_SHARE = 0.1
# The minimum number of worker samples for reliable shares.
MIN_LOOKS = 30
SLOWEST = 3
# Precedes the line with the routes, because an app can print anything when it is imported.
MARK = "evenkeel routes: "
# Runs in the release, as config/evenkeel_preload.py does. Its arguments are the release's folder and MARK.
ROUTES = """
import json, os, sys
folder, mark = sys.argv[1:]
sys.argv = ["gunicorn", "--config", os.path.join(folder, "config", "gunicorn.conf.py")]
from gunicorn.app.wsgiapp import WSGIApplication
WSGIApplication().load()
import evenkeel_wsgi
paths = {
    rule.rule
    for rule in evenkeel_wsgi.app.url_map.iter_rules()
    if "GET" in (rule.methods or ())
    and set(rule.arguments) <= set(rule.defaults or ())
    and not (rule.build_only or rule.alias or rule.redirect_to or rule.websocket)
    and not (rule.host or rule.subdomain)
}
print(mark + json.dumps(sorted(paths)))
"""


@dataclass(frozen=True)
class Endpoint:
    """A request and its name."""

    name: str
    request: client.Request


@dataclass(frozen=True)
class Plan:
    """The amount and the duration of the measurement."""

    seconds: float
    concurrency: int
    rate: float
    max_requests: int

    def schedule(self, loop: str, most: int) -> http_load.Schedule:
        if loop == "closed":
            return http_load.closed_loop(self.concurrency, self.seconds, most)
        return http_load.open_loop(self.rate, self.seconds, most)


def read_plan(params: Params) -> Plan:
    """Parse the parameters of C(endpoint_profile). ArgumentError names the first invalid one."""
    for name, least in MINIMUMS.items():
        if not params[name] >= least:
            raise ArgumentError(f"{name} must be at least {least}, not {params[name]}.")
    if params["concurrency"] > MAX_CONCURRENCY:
        raise ArgumentError(
            f"concurrency must be at most {MAX_CONCURRENCY}, not {params['concurrency']}."
        )
    return Plan(*(params[name] for name in Plan.__dataclass_fields__))


def read_endpoints(given: Sequence[Any], params: Params) -> list[Endpoint]:
    """Convert paths, and dictionaries with C(path), C(name) and C(headers), to endpoints."""
    found: list[Endpoint] = []
    for index, one in enumerate(given):
        try:
            found.append(_endpoint({"path": one} if isinstance(one, str) else one, params))
            if found[-1].name in {other.name for other in found[:-1]}:
                raise ArgumentError(
                    f"another one is called {found[-1].name}, too; give each a name."
                )
        except ArgumentError as error:
            raise ArgumentError(f"endpoints[{index}]: {error}") from None
    return found


def _endpoint(given: Any, params: Params) -> Endpoint:
    if not isinstance(given, Mapping) or not str(given.get("path") or "").startswith("/"):
        raise ArgumentError("wanted a path that begins with /, or a dictionary that has one.")
    unknown = sorted(set(given) - {"path", "name", "headers"})
    if unknown:
        raise ArgumentError(f"{unknown[0]} is no setting; there are headers, name and path.")
    headers = {**(params["headers"] or {}), **(given.get("headers") or {})}
    request = client.Request(
        client.Url.parse(http_params.join(params["base_url"], str(given["path"]))),
        headers=http_params.headers_of(headers),
        unix_socket=params["unix_socket"],
        timeout=params["timeout"],
    )
    if request.url.scheme != "http":
        raise ArgumentError("base_url must begin with http://: TLS is not measured.")
    hidden = "?\N{HORIZONTAL ELLIPSIS}" if "?" in request.url.target else ""
    return Endpoint(str(given.get("name") or request.url.path + hidden), request)


def credentials(params: Params) -> set[str]:
    """Return the values that must be masked in all output."""
    given = [
        params["headers"],
        *(one.get("headers") for one in params["endpoints"] if isinstance(one, Mapping)),
    ]
    return {
        secret
        for headers in given
        if isinstance(headers, Mapping)
        for secret in http_params.secrets(headers)
    }


def read_routes(status: int, output: str) -> list[str]:
    """Return the paths that C(ROUTES) printed.

    @raises ArgumentError: if there are none
    """
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                paths = json_shape.parse(line[len(MARK) :])
            except ValueError:
                continue
            if paths and isinstance(paths, list) and all(isinstance(it, str) for it in paths):
                return paths
            raise ArgumentError(
                "The app has no route for GET without arguments; name what to measure in endpoints."
            )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    raise ArgumentError(
        "The app's routes cannot be read "
        f"(status {status}: {lines[-1] if lines else 'nothing was said'}); name what to measure in endpoints."
    )


@dataclass
class Budget:
    """A bound of all loops: each can use an equal share of what the earlier ones left."""

    left: int
    loops: int

    def __post_init__(self) -> None:
        least = self.loops // LOOPS_EACH * (LOOPS_EACH + len(CACHES))
        if self.left < least:
            raise ArgumentError(
                f"max_requests must be at least {least} for {self.loops // LOOPS_EACH} endpoints, not {self.left}."
            )

    def share(self) -> int:
        return self.left // self.loops

    def spend(self, requests: int, loops: int = 0) -> None:
        self.left -= requests
        self.loops -= loops


def address(request: client.Request) -> tuple[int, Any]:
    """Resolve the address once, so that no lookup is measured.

    @raises HttpError: if no server listens
    """
    if request.unix_socket:
        return socket.AF_UNIX, request.unix_socket
    deadline = client.Deadline(request.timeout)
    found = connection.resolve(request.url.host, request.url.port, deadline)
    for family, where in found:
        # A name can have addresses without a server; a number was tried already.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as tried:
            if len(found) > 1:
                tried.settimeout(request.timeout)
                tried.connect(where)
            return family, where
    raise _errors.HttpError(f"cannot connect to {request.url.netloc}")


def measure(
    endpoints: Sequence[Endpoint], plan: Plan, watch: workers.WorkerSampler
) -> Iterator[dict[str, Any]]:
    """Measure each endpoint in turn. An endpoint that does not respond well is not loaded."""
    budget = Budget(plan.max_requests, len(endpoints) * LOOPS_EACH)
    for endpoint in endpoints:
        result = {"name": endpoint.name, "status": None, "body_bytes": None, "error": None}
        try:
            result.update(_first(endpoint.request))
            place = address(endpoint.request)
        except _errors.HttpError as error:
            budget.spend(1, LOOPS_EACH)
            yield {**result, "error": f"not measured: {error}", "loops": []}
        else:
            budget.spend(1)
            yield {**result, "loops": list(_loops(endpoint.request, place, plan, budget, watch))}


def _first(request: client.Request) -> dict[str, Any]:
    answer = client.fetch(request)
    if answer.status >= 400:
        raise _errors.HttpError(f"it answers {answer.status}")
    # The decoded size, as a client sees it. The loops count the bytes on the wire.
    size = None if answer.truncated else len(answer.body)
    return {"status": answer.status, "body_bytes": size}


def _loops(
    request: client.Request,
    place: tuple[int, Any],
    plan: Plan,
    budget: Budget,
    watch: workers.WorkerSampler,
) -> Iterator[dict[str, Any]]:
    for cache, headers in CACHES.items():
        asked = replace(request, headers={**request.headers, **headers})
        question = http_load.LoadTarget(*place, asked.head(), request.timeout)
        # Fills the cache before the warm loop is measured.
        budget.spend(http_load.run_load(question, http_load.closed_loop(1, plan.seconds, 1)).asked)
        for loop in LOOPS:
            schedule = plan.schedule(loop, budget.share())
            with watch.during() as load:
                tally = http_load.run_load(question, schedule)
            budget.spend(tally.asked, 1)
            yield {"cache": cache, "loop": loop, **describe_loop(tally, load)}


def describe_loop(tally: http_load.Tally, load: workers.WorkerActivity) -> dict[str, Any]:
    """Return the figures of one loop."""
    fine = tally.latencies_ms
    cpu_ms = load.cpu_seconds * 1000 / tally.answers if tally.answers else None
    hits = tally.cache["HIT"] / sum(tally.cache.values()) if tally.cache else None
    return {
        "requests": tally.asked,
        "elapsed": round(tally.elapsed, 3),
        "throughput": round(len(fine) / tally.elapsed, 2) if tally.elapsed else 0.0,
        "errors": tally.errors,
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "failures": dict(tally.failures),
        "latency_ms": percentiles(fine),
        "quantiles_ms": quantiles(fine),
        "wire_bytes": round(tally.received / tally.answers) if tally.answers else None,
        "hit_rate": None if hits is None else round(hits, 4),
        "cpu_ms": None if cpu_ms is None else round(cpu_ms, 2),
        "waits": load.waits(),
        "looks": load.looks,
        "client_cpu_share": round(tally.own_cpu / tally.elapsed, 2) if tally.elapsed else 0.0,
    }


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return percentiles by the nearest rank, so that each is a measured time; {} without samples."""
    if not samples:
        return {}
    found = {f"p{one}": round(_statistics.percentile(samples, one), 2) for one in PERCENTILES}
    return {**found, "max": round(max(samples), 2)}


def quantiles(samples: Sequence[float]) -> list[float]:
    """Return the distribution in 41 steps, from the fastest response to the slowest."""
    ordered = sorted(samples)
    steps = range(QUANTILES + 1) if ordered else ()
    return [round(_statistics.percentile(ordered, step * 100 / QUANTILES), 2) for step in steps]


def slowest(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the slowest endpoints without the cache, the slowest first, and their waits."""
    found = []
    for endpoint in measured:
        cold = {one["loop"]: one for one in endpoint["loops"] if one["cache"] == "cold"}
        if cold and cold["open"]["latency_ms"]:
            p95 = cold["open"]["latency_ms"]["p95"]
            found.append({"name": endpoint["name"], "p95_ms": p95, "waits_for": waits_for(cold)})
    return sorted(found, key=lambda one: -one["p95_ms"])


def waits_for(loops: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the time of an endpoint by kind of wait, as text.

    @param loops: its loops without the cache, or with it, by their kind
    """
    ordered = sorted(where(loops).items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {share:.0%}" for kind, share in ordered if share >= SHOWN_SHARE)


def where(loops: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the time of an endpoint by kind of wait, as shares."""
    # Under load each worker is busy most of the time, which gives the most samples.
    for loop in (loops["closed"], loops["open"]):
        if loop["looks"] >= MIN_LOOKS:
            return dict(loop["waits"])
    return _guessed(loops["open"])


def _guessed(loop: Mapping[str, Any]) -> dict[str, float]:
    """Estimate the shares from the workers' CPU if there are too few samples or no permission."""
    if loop["cpu_ms"] is None or not loop["latency_ms"]:
        return {}
    cpu = min(1.0, loop["cpu_ms"] / max(loop["latency_ms"]["p50"], 0.01))
    return {syscalls.CPU: cpu, syscalls.UNKNOWN: 1 - cpu}


def message(measured: Sequence[Mapping[str, Any]]) -> str:
    done = sum(1 for endpoint in measured if endpoint["loops"])
    slow = "; ".join(
        f"{one['name']} p95 {one['p95_ms']:g} ms ({one['waits_for'] or 'it is not known what for'})"
        for one in slowest(measured)[:SLOWEST]
    )
    bad = "; ".join(f"{one['name']}: {one['error']}" for one in measured if one["error"])
    sentences = [f"{done} of {len(measured)} endpoints were measured."]
    sentences += [f"Slowest: {slow}."] if slow else []
    sentences += [f"{bad}."] if bad else []
    return " ".join(sentences)


def warnings(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the reasons why figures mean less than they seem to."""
    found = []
    for endpoint in measured:
        loops = endpoint["loops"]
        limited = sum(loop["statuses"].get("429", 0) for loop in loops)
        if limited:
            found.append(
                f"{endpoint['name']}: a rate limit refused {limited} requests; exempt the host itself from it to "
                "measure the app."
            )
        busy = max((loop["client_cpu_share"] for loop in loops), default=0.0)
        if busy > BUSY_CLIENT:
            found.append(
                f"{endpoint['name']}: the client was busy {busy:.0%} of the time, so throughput may be its own limit."
            )
    return found
