#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the checks on a candidate and return the verdict."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Check a candidate before the first user reaches it
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Runs eight checks against a candidate, all in one call on the host, and then the team's own tests on the controller,
    if there are any. Returns the verdict V(passed), V(failed) or V(inconclusive). The task fails unless the verdict is
    V(passed).
  - A check is skipped, with the reason, if the app lacks what it needs or no endpoint is set for it. A gate in which no
    check passed is V(inconclusive).
  - Checks write only to endpoints of the settings. They work on the app's real data.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.checks
attributes:
  check_mode:
    support: partial
    details:
      - The checks that write (upload, session, unsafe methods of the API and error checks) are left out, and so are
        the team's own tests.
  diff_mode:
    support: N/A
    details:
      - No state is managed, so there is nothing to compare.
  idempotent:
    support: full
    details:
      - C(changed) is always V(false). Each check documents its effects in the app.
options:
  name:
    description:
      - The app's name on the host. With it the gate warns of jobs inside of the web app. These are a scheduler that the
        app starts when it is loaded, and guards that only one slot can hold (a lock, a port, a socket name).
    type: str
  root:
    description: The directory of the apps on the host.
    type: path
    default: /srv
  base_url:
    description: The URL of the candidate.
    type: str
    default: http://127.0.0.1:8001
  unix_socket:
    description: Connect to this UNIX socket instead of to the host of O(base_url).
    type: path
  live_url:
    description:
      - The URL of the live release on the same host. The candidate's response times are compared with it. A session
        that must survive the switch is created there. Without it, only the time budget counts.
    type: str
  live_unix_socket:
    description: Connect to this UNIX socket instead of to the host of O(live_url), which is then optional.
    type: path
  release:
    description: >-
      The release that must respond at O(base_url). A response with another one in C(X-Release) fails the gate.
    type: str
  health_path:
    description: The app's health endpoint.
    type: str
    default: /health
  headers:
    description: Headers of every request, such as C(Host).
    type: dict
  max_slowdown:
    description: The maximum factor by which the candidate may be slower than the live release.
    type: float
    default: 1.25
  timeout:
    description: The timeout of one whole request in seconds, from connecting to the last byte.
    type: float
    default: 10
  deadline:
    description: >-
      The time limit in seconds of the whole gate, except for the team's own tests. Checks without a result by then are
      V(inconclusive).
    type: float
    default: 120
"""

EXAMPLES = r"""
- name: Check the candidate next to the live release
  evenkeel.flask.rollout_gate:
    base_url: http://127.0.0.1:8001
    live_url: http://127.0.0.1:8000
    checks:
      main_page:
        contains: Welcome
      api:
        endpoints:
          - path: /api/products
            json:
              page: 1
              products: <list>
      upload:
        path: /upload
        read_back: url
        delete: true
        max_bytes: 2097152
      session:
        login:
          path: /login
          form:
            username: gate
            password: "{{ gate_password }}"
        check:
          path: /account
          contains: gate
        httponly: true
      errors:
        bad_body:
          path: /api/products
        wrong_method:
          path: /health

- name: Check a first release, with its own time budget
  evenkeel.flask.rollout_gate:
    checks:
      response_times:
        paths: [/, /reports]
        max_ms: 300
      concurrency:
        connections: 25

- name: Run the team's own tests also
  evenkeel.flask.rollout_gate:
    checks:
      suite:
        path: shop/tests
        requirements: [pytest==8.3.4, requests==2.32.3]
        allowed_failures: ["test_search*"]
"""

RETURN = r"""
verdict:
  description: V(passed), V(failed) or V(inconclusive). Only the first lets a release through.
  returned: always
  type: str
  sample: passed
began:
  description: The start, in seconds since the epoch by the host's clock.
  returned: always
  type: float
  sample: 1795610400.25
elapsed:
  description: The duration of the checks in seconds.
  returned: always
  type: float
  sample: 2.4
passed:
  description: The number of passed checks.
  returned: always
  type: int
  sample: 8
failed_checks:
  description: The number of failed checks. The word C(failed) is Ansible's own.
  returned: always
  type: int
  sample: 0
skipped_checks:
  description: The number of skipped checks. The word C(skipped) is Ansible's own.
  returned: always
  type: int
  sample: 0
inconclusive_checks:
  description: The number of inconclusive checks.
  returned: always
  type: int
  sample: 0
pass_rate:
  description: The percentage of passed checks among passed and failed ones.
  returned: always
  type: float
  sample: 100.0
results:
  description: The result of each check.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The check, as in O(checks).
      type: str
    title:
      description: The title of the check for people.
      type: str
    outcome:
      description: V(passed), V(failed), V(skipped) or V(inconclusive).
      type: str
    reason:
      description: The expected and the actual value; for a passed check the observation.
      type: str
    elapsed_ms:
      description: The duration of the check in milliseconds.
      type: float
    warnings:
      description: Observations that do not fail the release and should be known.
      type: list
      elements: str
    measured:
      description: The measured figures, by path. For the team's tests the numbers of passed, failed and skipped ones.
      type: dict
  sample:
    - name: health
      title: Health Check Endpoint
      outcome: passed
      reason: healthy 3 times in a row
      elapsed_ms: 6.2
      warnings: []
      measured: {}
summary:
  description: The verdict as lines for people.
  returned: always
  type: list
  elements: str
  sample:
    - "PASS Health Check Endpoint: healthy 3 times in a row"
    - "Passed: 8"
    - "Failed: 0"
    - "Pass rate: 100%"
    - READY FOR PRODUCTION
msg:
  description: One line that names the checks that block the candidate, and the reasons.
  returned: always
  type: str
  sample: "The candidate is not ready: Main Page Loading failed (500, wanted 200)."
"""

from collections.abc import Mapping
from typing import Any

from ..module_utils import _errors, _timing
from ..module_utils._gate import verdict
from ..module_utils._gate.check import CheckContext, HttpTarget
from ..module_utils._http import client
from ..module_utils._http import params as http_params
from ..module_utils._module import AnsibleModule
from ..module_utils._release import guards, slots, stage
from ..module_utils._release import layout as release_layout

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str"},
    "root": release_layout.APP_SPEC["root"],
    "base_url": {"type": "str", "default": "http://127.0.0.1:8001"},
    "unix_socket": {"type": "path"},
    "live_url": {"type": "str"},
    "live_unix_socket": {"type": "path"},
    "release": {"type": "str"},
    "health_path": {"type": "str", "default": "/health"},
    "headers": {"type": "dict"},
    "max_slowdown": {"type": "float", "default": 1.25},
    "checks": {"type": "dict", "apply_defaults": True, "options": verdict.CHECKS_SPEC},
    "timeout": {"type": "float", "default": 10},
    "deadline": {"type": "float", "default": 120},
}


def trial(params: Mapping[str, Any], may_write: bool) -> CheckContext:
    """Parse the parameters. ArgumentError names the invalid one."""
    for name, least in (("timeout", 0), ("deadline", 0), ("max_slowdown", 1)):
        if not params[name] > least:
            raise _errors.ArgumentError(f"{name} must be greater than {least}, not {params[name]}.")
    deadline = client.Deadline(params["deadline"])
    headers = http_params.headers_of(params["headers"])

    def site(url: str, unix_socket: str | None) -> HttpTarget:
        return HttpTarget(client.Url.parse(url), deadline, unix_socket, headers, params["timeout"])

    candidate = site(params["base_url"], params["unix_socket"])
    live = None
    if params["live_url"] or params["live_unix_socket"]:
        live = site(params["live_url"] or params["base_url"], params["live_unix_socket"])
    main_path = params["checks"]["main_page"]["path"]
    slowdown = params["max_slowdown"]
    health_path, release = params["health_path"], params["release"]
    return CheckContext(candidate, live, health_path, main_path, slowdown, may_write, release)


def schedulers(layout: release_layout.Layout) -> list[str]:
    """Return the effects of a rollout on jobs inside of the app, as text; [] without such jobs."""
    host = slots.observe(layout)
    tried = host.candidate or host.live
    effects = [stage.scheduler(layout.release(host.release_in(tried) or ""))]
    if host.candidate and host.live and host.candidate != host.live:
        lacking = guards.missing(
            lambda: slots.guards(layout, host.live or ""),
            lambda: slots.guards(layout, host.candidate or ""),
        )
        effects += [
            f"the live release holds {guard} (process {pid}), and the candidate does not. If this lets one "
            "process run a scheduler, the candidate has none until gunicorn_guard_recovery recycles a "
            "worker at the end of the rollout. Move such jobs out of the web app."
            for guard, pid in lacking.items()
        ]
    return [line for line in effects if line]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    module.no_log_values |= http_params.secrets(params["headers"])
    module.no_log_values |= verdict.secret_headers(params["checks"], http_params.secrets)
    timing = _timing.Timing()
    try:
        results = verdict.run(trial(params, not module.check_mode), params["checks"])
        if params["name"]:
            layout = release_layout.Layout(params["name"], params["root"])
            results = verdict.with_warnings(results, schedulers(layout))
    except _errors.ArgumentError as error:
        module.fail_json(msg=str(error))
    result = {**verdict.as_dict(results), **timing.as_dict()}
    if result["verdict"] != "passed":
        module.fail_json(**result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
