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
  - Asks each endpoint on the host itself, with the cache left out and with it, in a closed loop (so many users, each
    waits for its answer) and in an open one (so many requests a second, whatever happens), and looks at the workers
    meanwhile.
  - In the open loop an answer's time begins when its request was due, so that the wait which one slow answer
    imposes on the next ones is counted, as wrk2 does.
  - Each request has a connection of its own.
  - What a worker waits for is read from C(/proc) a hundred times a second. It is not stopped for that, and the app needs nothing.
  - An endpoint whose first answer is an error, or none, is not measured.
notes:
  - The load is felt by whoever uses the host, and its database, at that time.
  - A GET that changes something changes it thousands of times. Name the endpoints where there are such.
  - What is measured, and how far it can be trusted, is told in C(docs/profiling.md).
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
attributes:
  check_mode:
    support: partial
    details:
      - Nothing is measured, as a load would be felt; O(endpoints) and bounds are checked.
  diff_mode:
    support: N/A
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  base_url:
    description: What the endpoints' paths are relative to. Plain HTTP only.
    type: str
    default: http://127.0.0.1:8000
  unix_socket:
    description: Connect to this UNIX socket instead of to the URL's host.
    type: path
  endpoints:
    description:
      - What is measured, as paths, or as dictionaries with C(path), C(headers) and C(name), which is the path without
        its query by default.
      - By default all routes of the app's URL map that answer GET and have no argument, see RV(endpoints).
    type: list
    elements: raw
    default: []
  headers:
    description: Headers of every request, such as C(Host).
    type: dict
    default: {}
  seconds:
    description: Seconds for each loop. There are four of them for each endpoint.
    type: float
    default: 3
  concurrency:
    description: How many users ask at once in a closed loop; 200 at most.
    type: int
    default: 10
  rate:
    description: How many requests a second are sent in an open loop.
    type: float
    default: 50
  max_requests:
    description:
      - How many requests are sent in all. Each loop may have an equal share of what those before it left, and ends when it
        has had it.
    type: int
    default: 20000
  timeout:
    description: Seconds that an answer may take.
    type: float
    default: 10
  pool_size:
    description: How many connections to the database a worker's pool may open, to compare with what it has.
    type: int
  user:
    description: The app's user, which the routes are read as. Defaults to O(name).
    type: str
"""

EXAMPLES = r"""
- name: Measure all pages of the shop
  evenkeel.flask.endpoint_profile:
    name: shop
  register: measured

- name: Measure two pages, and gently
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
  description: Whether anything was; false in check mode.
  returned: always
  type: bool
  sample: true
release:
  description: The release that is live.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
slot:
  description: The slot that it is in.
  returned: success
  type: str
  sample: blue
settings:
  description: How much was asked.
  returned: success
  type: dict
  sample: {seconds: 3.0, concurrency: 10, rate: 50.0, max_requests: 20000}
endpoints:
  description: What each endpoint is like.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What it is called.
      type: str
    status:
      description: The status of its first answer, V(null) if none came, or an error.
      type: int
    body_bytes:
      description: The size of its body, unpacked. V(null) beyond one MiB.
      type: int
    error:
      description: Why it was not measured.
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
          description: How many were sent.
          type: int
        elapsed:
          description: Seconds from the first request to the last answer.
          type: float
        throughput:
          description: Answers below 400, a second.
          type: float
        errors:
          description: Answers from 400 on, and requests without a whole answer.
          type: int
        statuses:
          description: How many answers had which status.
          type: dict
        failures:
          description: Why how many requests had no whole answer.
          type: dict
        latency_ms:
          description: Of the answers below 400, C(p50), C(p90), C(p95), C(p99) and C(max), by the nearest rank.
          type: dict
        quantiles_ms:
          description: The same in 41 steps, from the fastest to the slowest.
          type: list
          elements: float
        wire_bytes:
          description: Bytes of an answer as it came, head and packed body, on average.
          type: int
        hit_rate:
          description: Share of the answers whose header C(X-Cache) says V(HIT); V(null) if none has it.
          type: float
        cpu_ms:
          description: CPU that the workers used for a request.
          type: float
        waits:
          description:
            - Where the time went in which workers had a request, as shares of one. V(cpu) is running, or ready and
              without a core; V(database), V(redis), V(other server), V(client), V(disk), V(lock) and V(sleep) are
              what was waited for; V(unknown) cannot be seen from outside.
            - Empty where workers may not be looked at.
          type: dict
        looks:
          description: On how many looks at a worker that had a request V(waits) rests.
          type: int
        client_cpu_share:
          description: How much of the time this module was busy itself.
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
  description: The endpoints by their p95 in the open loop without the cache, the slowest first, and what for.
  returned: success
  type: list
  elements: dict
  sample: [{name: /, p95_ms: 18.0, waits_for: "database 66%, cpu 31%"}]
workers:
  description: What each worker holds when all is measured.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: Its process id.
      type: int
    pss_mb:
      description: Its memory, where shared pages are counted by their share (C(Pss)).
      type: float
    memory_mb:
      description: The memory that is its own alone (C(RssAnon) and C(VmSwap)).
      type: float
    open_files:
      description: Open files, without users' connections.
      type: int
    database_connections:
      description: Connections to the database, V(null) if the app's environment names no address of one.
      type: int
    redis_connections:
      description: Connections to Redis, likewise.
      type: int
    cpu_seconds:
      description: CPU that it used since it was first seen.
      type: float
  sample:
    - {pid: 4711, pss_mb: 31.2, memory_mb: 24.9, open_files: 9, database_connections: 1, redis_connections: 1, cpu_seconds: 2.4}
main_pss_mb:
  description: Memory of gunicorn's main process, likewise.
  returned: success
  type: float
  sample: 12.1
pool:
  description:
    - The most connections to the database that one worker had open at once, O(pool_size), and their ratio. How many of them
      the app used at that moment is not seen.
  returned: success
  type: dict
  sample: {most: 1, size: 60, use: 0.0167}
began:
  description: When it began, in seconds since 1970 by the host's clock.
  returned: success
  type: float
  sample: 1795600000.0
elapsed:
  description: Seconds that it took.
  returned: success
  type: float
  sample: 12.5
msg:
  description: One line with the slowest endpoints, what they wait for, and what was not measured.
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

# An app that takes longer to load would not have been staged.
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


def watch(layout: release_layout.Layout, slot: str) -> workers.Watch:
    with open(os.path.join(layout.slot(slot), "env"), encoding="utf-8") as stream:
        servers = connections.addresses(connections.environment(stream.read()))
    main_pid = int(slots.unit_state(layout, slot).get("MainPID", "0"))
    return workers.Watch(main_pid, connections.Connections(layout.socket(slot), servers))


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
        **timing.told(),
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
