#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch a release that has just gone live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_bake
short_description: Watch a release under real traffic, while its predecessor is warm
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Each second it asks the health endpoint, looks whether gunicorn was restarted, and reads what the app's logs say of the
    requests that users sent. The task fails as soon as something speaks against the release.
  - What users met is compared with what they met at the release before, by the same logs, in the ten minutes before the
    switch. Routes that fail more often than chance allows, and routes that take at least twice as long and longer than
    O(max_slowdown), speak against it; so does a worker that died, and so do more than 32 KiB in C(app.log) for each request, if
    that is four times as much as before. Paths that differ by a number or an id are one route.
  - Clients are counted, and not their requests. A client is an IPv4 address, or an IPv6 network of 64 bits. Each judgement
    but that on dead workers needs three affected clients, and must hold without any one client. Slowness is judged by at most
    five times of each client on a route. An answer of 429 by the collection's own limit is no failure.
  - Clients cannot be told apart where one or two addresses sent 95 of 100 requests before the switch, with at most two others
    beside them. Then each request counts by itself, and a failure must show at each of two such addresses. A warning names
    C(nginx_trusted_proxies). Requests from the host itself, and those without an address, count like this as well.
  - A growing worker says nothing of the release while one client sends more than half of the requests.
  - Errors in C(app.log) of a kind that the release before did not log are told in a warning. They speak against the release
    when clearly more than 1 in 100 requests log one, and more than logged any error before. Of a line with arguments the
    template is its kind.
  - Workers that go on growing speak against it, too. A worker does that which was asked 30 times or more, has 8 MB of memory
    (or a tenth), 16 open files or 4 connections to a port more than any worker of the release before, and after the first
    third of its requests takes as much more for each as before. Three workers in four must do it.
  - These two are judged only while the release before was asked at least as often in its ten minutes.
  - Without users, the health endpoint and gunicorn alone are watched.
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
    description: The release that was live before it. Without one, only errors that no app may have speak against the release.
    type: str
  seconds:
    description: How long to watch. With 0 it is looked at once.
    type: float
    default: 10
  base_url:
    description: Where users reach the app.
    type: str
    default: http://127.0.0.1:8000
  unix_socket:
    description: Connect to this UNIX socket instead of to the host of O(base_url).
    type: path
  headers:
    description: Headers that every request carries, such as C(Host).
    type: dict
  health_path:
    description: The app's health endpoint. It must answer 200.
    type: str
    default: /health
  timeout:
    description: Seconds that the health endpoint may take.
    type: float
    default: 5
  max_slowdown:
    description: How many times slower than before a route may be; less than 2 is taken for 2.
    type: float
    default: 2
  log_directory:
    description: Where C(access.log) and C(app.log) are.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Watch the release for a minute
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
    - What the release before it did, as far as users asked, and the most that one of its workers has of each thing.
      V(port_5432) are connections to servers at this port.
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
  description: What the release did.
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
  description: The kinds of errors that only the new release logged, and how often.
  returned: always
  type: list
  elements: str
  sample: ["shop.mail: ConnectionRefusedError, 3 times"]
began:
  description: When it began, in seconds since the epoch by the host's clock.
  returned: always
  type: float
  sample: 1795610400.25
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
  sample: 10.02
msg:
  description: What speaks against the release, or what was seen.
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


def watch(params: dict[str, Any]) -> bake_watch.Watch:
    layout = release_layout.Layout(params["name"], params["root"])
    slot = slots.live_slot(layout) or release_layout.SLOTS[0]
    request = client.Request(
        client.Url.parse(http_params.join(params["base_url"], params["health_path"])),
        headers=http_params.headers_of(params["headers"]),
        unix_socket=params["unix_socket"],
        timeout=params["timeout"],
    )
    endpoint = poll.Endpoint(params["health_path"], request, expect.Wanted())

    def fetch(asked: client.Request) -> client.Response:
        response = client.fetch(asked)
        answered = response.headers.get("X-Release")
        # nginx tells it to the host itself; one that an older version of the role set up does not.
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

    return bake_watch.Watch(
        release=params["release"],
        against=params["against"],
        directory=params["log_directory"],
        health_path=params["health_path"],
        health=health,
        unit=lambda: slots.unit_state(layout, slot),
        workers=lambda: workers(slot),
        warm_workers=lambda: workers(release_layout.other(slot)),
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
    told = {
        "before": watched.before.told(),
        "after": watched.after.told(),
        "new_errors": new,
        **timing.told(),
    }
    if new:
        module.warn(f"New in its log since {params['release']} serves: {'; '.join(new)}.")
    warning = watched.warning()
    if warning:
        module.warn(warning)
    if problems:
        module.fail_json(msg=f"The bake went badly: {'; '.join(problems)}.", **told)
    module.exit_json(
        changed=False,
        msg=f"{watched.after.whole.asked} requests of users, and all is well.",
        **told,
    )


if __name__ == "__main__":
    main()
