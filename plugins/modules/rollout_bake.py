#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitor a release that has just gone live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_bake
short_description: Monitor a release under real traffic, while its predecessor is warm
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Each second it checks the health endpoint and gunicorn's restarts, and reads the app's logs of users' requests. The
    task fails at the first evidence against the release.
  - The requests are compared with those of the release before, from the same logs, in the ten minutes before the
    switch. A route is bad if it fails more often than chance explains, or takes at least twice as long and longer than
    O(max_slowdown). A dead worker fails the release also. So do more than 32 KiB in C(app.log) per request, if that is
    four times as much as before. Paths that differ by a number or an id are one route.
  - Clients are counted, not their requests. A client is an IPv4 address, or an IPv6 network of 64 bits. Each test
    except that of dead workers needs three affected clients, and must hold without any one client. Slowness is tested
    with at most five times of each client on a route. A 429 response of the collection's own limit is not a failure.
  - Clients are indistinguishable if one or two addresses sent 95 of 100 requests before the switch, with at most two
    further addresses. Then each request counts by itself, and a failure must occur at each of two such addresses. A
    warning names C(nginx_trusted_proxies). Requests from the host itself, and those without an address, count in the
    same way.
  - The growth of a worker is not evaluated while one client sends more than half of the requests.
  - Errors in C(app.log) of a kind that the release before did not log cause a warning. They fail the release if clearly
    more than 1 in 100 requests log one, and more than logged any error before. Of a line with arguments the template is
    its kind.
  - Workers that keep growing fail the release also. Such a worker has handled 30 requests or more. It has 8 MB of
    memory (or a tenth), 16 open files or 4 connections to a port more than any worker of the release before. After the
    first third of its requests it still grows as much per request as before. Three workers in four must do so.
  - These two tests require that the release before had at least as many requests in its ten minutes.
  - Without users, only the health endpoint and gunicorn are monitored.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
options:
  release:
    description: The live release.
    type: str
    required: true
  against:
    description: The release that was live before it. Without one, only errors that no app may have fail the release.
    type: str
  seconds:
    description: The duration in seconds. With 0 there is a single check.
    type: float
    default: 10
  base_url:
    description: The URL of the app for users.
    type: str
    default: http://127.0.0.1:8000
  unix_socket:
    description: Connect to this UNIX socket instead of to the host of O(base_url).
    type: path
  headers:
    description: Headers of every request, such as C(Host).
    type: dict
  health_path:
    description: The app's health endpoint. It must respond with 200.
    type: str
    default: /health
  timeout:
    description: The timeout of the health endpoint in seconds.
    type: float
    default: 5
  max_slowdown:
    description: The maximum factor by which a route may be slower than before. Values below 2 count as 2.
    type: float
    default: 2
  log_directory:
    description: The directory of C(access.log) and C(app.log).
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Monitor the release for a minute
  evenkeel.flask.rollout_bake:
    name: shop
    release: 2.0.0-1a2b3c4d5e
    against: 1.0.0-0f1e2d3c4b
    seconds: 60
    log_directory: /var/log/shop
"""

RETURN = r"""
before:
  description:
    - The figures of the release before it, from users' requests, and the maximum of each resource of one of its
      workers. V(port_5432) are connections to servers at this port.
  returned: always
  type: dict
  sample:
    requests: 812
    errors: 0
    clients: 214
    p50_ms: 4.1
    p95_ms: 9.7
    worker_deaths: 0
    memory_mb: 48.2
    open_files: 12
    port_5432: 1
after:
  description: The figures of the release.
  returned: always
  type: dict
  sample:
    requests: 15
    errors: 0
    clients: 9
    p50_ms: 4.0
    p95_ms: 9.1
    worker_deaths: 0
    memory_mb: 44.9
    open_files: 12
    port_5432: 1
new_errors:
  description: The kinds of errors that only the new release logged, and their counts.
  returned: always
  type: list
  elements: str
  sample: ["shop.mail: ConnectionRefusedError, 3 times"]
began:
  description: The start, in seconds since the epoch by the host's clock.
  returned: always
  type: float
  sample: 1795610400.25
elapsed:
  description: The duration in seconds.
  returned: always
  type: float
  sample: 10.02
msg:
  description: The evidence against the release, or a summary.
  returned: always
  type: str
  sample: "The bake went badly: /cart: 5 of 9 requests failed for 4 of 7 clients, before 0 of 114."
"""

from typing import Any

from ..module_utils import _errors, _timing
from ..module_utils._bake import watch as bake_watch
from ..module_utils._health import poll
from ..module_utils._http import client, expect
from ..module_utils._http import params as http_params
from ..module_utils._module import AnsibleModule
from ..module_utils._release import layout as release_layout
from ..module_utils._release import slots
from ..module_utils._system import procfs

ARGUMENT_SPEC: dict[str, Any] = {
    **release_layout.APP_SPEC,
    "release": {"type": "str", "required": True},
    "against": {"type": "str"},
    "seconds": {"type": "float", "default": 10},
    "base_url": {"type": "str", "default": "http://127.0.0.1:8000"},
    "unix_socket": {"type": "path"},
    "headers": {"type": "dict"},
    "health_path": {"type": "str", "default": "/health"},
    "timeout": {"type": "float", "default": 5},
    "max_slowdown": {"type": "float", "default": 2},
    "log_directory": {"type": "path", "required": True},
}


def watch(params: dict[str, Any]) -> bake_watch.BakeMonitor:
    layout = release_layout.Layout(params["name"], params["root"])
    slot = slots.live_slot(layout) or release_layout.SLOTS[0]
    request = client.Request(
        client.Url.parse(http_params.join(params["base_url"], params["health_path"])),
        headers=http_params.headers_of(params["headers"]),
        unix_socket=params["unix_socket"],
        timeout=params["timeout"],
    )
    endpoint = poll.Endpoint(params["health_path"], request, expect.Expected())

    def fetch(request_sent: client.Request) -> client.Response:
        response = client.fetch(request_sent)
        answered = response.headers.get("X-Release")
        # nginx sets this header for the host itself; that of an older version of the role does not.
        if answered and answered != params["release"]:
            raise _errors.HttpError(
                f"release {answered} answers instead of {params['release']}; another app may have this port of "
                "nginx (flask_app_port)"
            )
        return response

    def health() -> str | None:
        result = poll.check(endpoint, poll.Policy(), fetch)
        return None if result.healthy else result.reason

    def workers(of: str) -> dict[int, dict[str, float]]:
        main_pid = int(slots.unit_state(layout, of).get("MainPID", "0"))
        return procfs.workers(main_pid, layout.socket(of))

    return bake_watch.BakeMonitor(
        release=params["release"],
        against=params["against"],
        directory=params["log_directory"],
        health_path=params["health_path"],
        health=health,
        unit=lambda: slots.unit_state(layout, slot),
        workers=lambda: workers(slot),
        warm_workers=lambda: workers(release_layout.other_slot(slot)),
        max_slowdown=params["max_slowdown"],
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    module.no_log_values |= http_params.secrets(params["headers"])
    try:
        watched = watch(params)
    except _errors.ArgumentError as error:
        module.fail_json(msg=str(error))
    timing = _timing.Timing()
    problems = watched.problems(params["seconds"])
    new = [f"{kind}, {times} times" for kind, times in watched.news().items()]
    result = {
        "before": watched.before.as_dict(),
        "after": watched.after.as_dict(),
        "new_errors": new,
        **timing.as_dict(),
    }
    if new:
        module.warn(f"New in its log since {params['release']} serves: {'; '.join(new)}.")
    warning = watched.warning()
    if warning:
        module.warn(warning)
    if problems:
        module.fail_json(msg=f"The bake went badly: {'; '.join(problems)}.", **result)
    module.exit_json(
        changed=False,
        msg=f"{watched.after.total.asked} requests of users, and all is well.",
        **result,
    )


if __name__ == "__main__":
    main()
