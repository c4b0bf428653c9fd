#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the endpoints of an app and its workers, from outside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_profile
short_description: Measure latencies, throughput and resources of an app's endpoints
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Sends requests to each endpoint on the host itself, without the cache and with it, and samples the workers
    meanwhile. In the closed loop, each of O(concurrency) users waits for the response before the next request. In the
    open loop, requests are sent at O(rate).
  - In the open loop a latency begins when the request was due. So the wait that one slow response imposes on the next
    ones is counted, as in wrk2.
  - Each request has its own connection.
  - The waits of workers are read from C(/proc) 100 times per second. Workers are not stopped, and the app needs no
    change.
  - An endpoint is not measured if its first response is an error, or missing.
notes:
  - The load affects all users of the host, and of its database, at that time.
  - A GET with side effects has them thousands of times. Name the endpoints if the app has such routes.
  - C(docs/profiling.md) describes what is measured, and its limits.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
attributes:
  check_mode:
    support: partial
    details:
      - Nothing is measured, because the load would affect users; O(endpoints) and bounds are checked.
  diff_mode:
    support: N/A
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  base_url:
    description: The base of the endpoints' paths. Plain HTTP only.
    type: str
    default: http://127.0.0.1:8000
  unix_socket:
    description: Connect to this UNIX socket instead of to the URL's host.
    type: path
  endpoints:
    description:
      - The endpoints, as paths, or as dictionaries with C(path), C(headers) and C(name). The default name is the path
        without its query.
      - By default all routes of the app's URL map that accept GET and have no argument, see RV(endpoints).
    type: list
    elements: raw
    default: []
  headers:
    description: Headers of every request, such as C(Host).
    type: dict
    default: {}
  seconds:
    description: The duration of each loop in seconds. Each endpoint has four loops.
    type: float
    default: 3
  concurrency:
    description: The number of concurrent users in a closed loop, at most 200.
    type: int
    default: 10
  rate:
    description: The requests per second in an open loop.
    type: float
    default: 50
  max_requests:
    description:
      - The maximum number of requests in total. Each loop can use an equal share of what the earlier ones left, and
        then ends.
    type: int
    default: 20000
  timeout:
    description: The timeout of a response in seconds.
    type: float
    default: 10
  pool_size:
    description: The size of a worker's connection pool, for comparison with its open connections.
    type: int
  user:
    description: The app's user, as which the routes are read. Defaults to O(name).
    type: str
"""

EXAMPLES = r"""
- name: Measure all pages of the shop
  evenkeel.flask.endpoint_profile:
    name: shop
  register: measured

- name: Measure two pages with a low load
  evenkeel.flask.endpoint_profile:
    name: shop
    base_url: http://127.0.0.1:8000
    endpoints:
      - /
      - path: /api/orders?page=1
        name: orders
        headers:
          Authorization: "Bearer {{ shop_token }}"
    concurrency: 4
    rate: 10
    max_requests: 2000
"""

RETURN = r"""
measured:
  description: Whether an endpoint was measured; false in check mode.
  returned: always
  type: bool
  sample: true
release:
  description: The live release.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
slot:
  description: The live slot.
  returned: success
  type: str
  sample: blue
settings:
  description: The amount of requests.
  returned: success
  type: dict
  sample: {seconds: 3.0, concurrency: 10, rate: 50.0, max_requests: 20000}
endpoints:
  description: The result of each endpoint.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the endpoint.
      type: str
    status:
      description: The status of the first response, V(null) after an error or without a response.
      type: int
    body_bytes:
      description: The decoded size of the body in bytes, V(null) above 1 MiB.
      type: int
    error:
      description: The reason why it was not measured.
      type: str
    loops:
      description: The four loops, cold before warm, and closed before open.
      type: list
      elements: dict
      contains:
        cache:
          description: V(cold) with C(Cache-Control:no-cache) in each request, V(warm) without it and after a first one.
          type: str
        loop:
          description: V(closed) or V(open).
          type: str
        requests:
          description: The number of requests.
          type: int
        elapsed:
          description: Seconds from the first request to the last response.
          type: float
        throughput:
          description: Responses below 400 per second.
          type: float
        errors:
          description: Responses of 400 or higher, and requests without a complete response.
          type: int
        statuses:
          description: The number of responses by status.
          type: dict
        failures:
          description: The number of requests without a complete response, by reason.
          type: dict
        latency_ms:
          description: >-
            Latencies of the responses below 400, as C(p50), C(p90), C(p95), C(p99) and C(max), by the nearest rank.
          type: dict
        quantiles_ms:
          description: The same in 41 steps, from the fastest to the slowest.
          type: list
          elements: float
        wire_bytes:
          description: The average bytes of a response as received, with headers and compressed body.
          type: int
        hit_rate:
          description: The share of responses with V(HIT) in the header C(X-Cache); V(null) if none has the header.
          type: float
        cpu_ms:
          description: The CPU time of the workers per request, in milliseconds.
          type: float
        waits:
          description:
            - Shares of the time in which workers had a request. V(cpu) is running, or ready without a core.
              V(database), V(redis), V(other server), V(client), V(disk), V(lock) and V(sleep) are waits. V(unknown)
              cannot be detected from outside.
            - Empty if tracing of workers is not allowed.
          type: dict
        looks:
          description: The number of samples with a request on which V(waits) is based.
          type: int
        client_cpu_share:
          description: The share of the time in which this module itself used the CPU.
          type: float
  sample:
    - name: /
      status: 200
      body_bytes: 5000
      error: null
      loops:
        - cache: cold
          loop: closed
          requests: 2411
          elapsed: 3.01
          throughput: 800.99
          errors: 0
          statuses: {"200": 2411}
          failures: {}
          latency_ms: {p50: 11.9, p90: 16.2, p95: 18.0, p99: 24.4, max: 41.2}
          quantiles_ms: [4.2, 11.9, 41.2]
          wire_bytes: 1204
          hit_rate: 0.0
          cpu_ms: 2.31
          waits: {cpu: 0.31, database: 0.66, redis: 0.03}
          looks: 1422
          client_cpu_share: 0.12
slowest:
  description: The endpoints by their p95 in the open loop without the cache, the slowest first, and their waits.
  returned: success
  type: list
  elements: dict
  sample: [{name: /, p95_ms: 18.0, waits_for: "database 66%, cpu 31%"}]
workers:
  description: The resources of each worker at the end.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: Its process id.
      type: int
    pss_mb:
      description: Its memory in MB; a shared page counts by its share (C(Pss)).
      type: float
    memory_mb:
      description: Its own memory in MB (C(RssAnon) and C(VmSwap)).
      type: float
    open_files:
      description: Open files, without connections of clients.
      type: int
    database_connections:
      description: Connections to the database, V(null) if the app's environment has no address of one.
      type: int
    redis_connections:
      description: Connections to Redis, V(null) if the app's environment has no address of it.
      type: int
    cpu_seconds:
      description: CPU seconds since the worker was first sampled.
      type: float
  sample:
    - {pid: 4711, pss_mb: 31.2, memory_mb: 24.9, open_files: 9, database_connections: 1, redis_connections: 1, cpu_seconds: 2.4}
main_pss_mb:
  description: Memory in MB of gunicorn's main process, as in C(pss_mb).
  returned: success
  type: float
  sample: 12.1
pool:
  description:
    - The maximum of concurrent database connections of one worker, O(pool_size), and their ratio. The number of
      connections in use at that moment cannot be detected.
  returned: success
  type: dict
  sample: {most: 1, size: 60, use: 0.0167}
began:
  description: The start, in seconds since 1970 by the host's clock.
  returned: success
  type: float
  sample: 1795600000.0
elapsed:
  description: The duration in seconds.
  returned: success
  type: float
  sample: 12.5
msg:
  description: One line with the slowest endpoints, their waits, and the endpoints that were not measured.
  returned: always
  type: str
  sample: "1 of 1 endpoints were measured. Slowest: / p95 18 ms (database 66%, cpu 31%)."
"""

import os
from dataclasses import asdict
from typing import Any

from ..module_utils import _errors, _timing
from ..module_utils._errors import ArchiveError
from ..module_utils._module import AnsibleModule
from ..module_utils._profile import connections, measure, syscalls, workers
from ..module_utils._release import layout as release_layout
from ..module_utils._release import slots, stage

# An app that takes longer to load would not have been staged. Seconds.
LOAD_SECONDS = 300.0
ARGUMENT_SPEC: dict[str, Any] = {
    **release_layout.APP_SPEC,
    "base_url": {"type": "str", "default": "http://127.0.0.1:8000"},
    "unix_socket": {"type": "path"},
    "endpoints": {"type": "list", "elements": "raw", "default": []},
    "headers": {"type": "dict", "default": {}},
    "seconds": {"type": "float", "default": 3},
    "concurrency": {"type": "int", "default": 10},
    "rate": {"type": "float", "default": 50},
    "max_requests": {"type": "int", "default": 20000},
    "timeout": {"type": "float", "default": 10},
    "pool_size": {"type": "int"},
    "user": {"type": "str"},
}


def routes(layout: release_layout.Layout, slot: str, user: str) -> list[str]:
    folder = os.path.realpath(layout.slot(slot))
    command = [
        os.path.join(folder, "venv", "bin", "python"),
        "-c",
        measure.ROUTES,
        folder,
        measure.MARK,
    ]
    return measure.read_routes(*stage.run_in(folder, user, layout, command, LOAD_SECONDS))


def watch(layout: release_layout.Layout, slot: str) -> workers.WorkerSampler:
    with open(os.path.join(layout.slot(slot), "env"), encoding="utf-8") as stream:
        servers = connections.addresses(connections.environment(stream.read()))
    main_pid = int(slots.unit_state(layout, slot).get("MainPID", "0"))
    return workers.WorkerSampler(main_pid, connections.Connections(layout.socket(slot), servers))


def profile(params: dict[str, Any], layout: release_layout.Layout) -> dict[str, Any]:
    slot = slots.live_slot(layout)
    if slot is None:
        raise _errors.ArgumentError(
            f"{layout.live} leads to no slot: this host serves nothing of {layout.name}. Run the playbook "
            "evenkeel.flask.site first."
        )
    timing = _timing.Timing()
    plan = measure.read_plan(params)
    given = params["endpoints"] or routes(layout, slot, params["user"] or params["name"])
    endpoints = measure.read_endpoints(given, params)
    watched = watch(layout, slot)
    measured = list(measure.measure(endpoints, plan, watched))
    most, size = watched.most[syscalls.DATABASE], params["pool_size"]
    return {
        "release": os.path.basename(os.path.realpath(layout.slot(slot))),
        "slot": slot,
        "settings": asdict(plan),
        "endpoints": measured,
        "slowest": measure.slowest(measured),
        "workers": watched.held(layout.socket(slot)),
        "main_pss_mb": watched.main_pss_mb(),
        "pool": {
            "most": most,
            "size": size,
            "use": round(most / size, 4) if most and size else None,
        },
        "msg": measure.message(measured),
        "warnings": [*measure.warnings(measured), *filter(None, [watched.warning])],
        **timing.as_dict(),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    module.no_log_values |= measure.credentials(params)
    layout = release_layout.Layout(params["name"], params["root"])
    try:
        if module.check_mode:
            measure.read_plan(params)
            measure.read_endpoints(params["endpoints"], params)
            module.exit_json(
                changed=False,
                measured=False,
                msg="Nothing is measured in check mode: users would feel the load.",
            )
        found = profile(params, layout)
    except (
        _errors.ArgumentError,
        _errors.ReleaseError,
        ArchiveError,
        OSError,
    ) as error:
        module.fail_json(msg=str(error), measured=False)
    for warning in found.pop("warnings"):
        module.warn(warning)
    module.exit_json(changed=False, measured=True, **found)


if __name__ == "__main__":
    main()
