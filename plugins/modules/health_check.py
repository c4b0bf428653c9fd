#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check many endpoints at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check that endpoints are healthy, many at once
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Asks every endpoint, judges what comes, and fails the task when one is not healthy, with the
    same results as on success.
  - A request has one time limit for all of it, from the name lookup to the last byte; a body that drips
    does not stretch it.
  - An answer that is cut anywhere, in its head, its body or its compression, is not healthy whatever its status says.
  - Bodies and headers are never shown, and of a URL's query only that there is one. The first MiB of a body is
    looked at; the rest is read and counted.
  - Proxies named in the environment are not used.
notes:
  - Values of request headers are masked in all output, except those of headers that are known to be harmless, such as
    C(Accept), C(Content-Type), C(Host), C(Origin), C(User-Agent) and C(X-Forwarded-Proto). Where a body carries a secret,
    set C(no_log) on the task.
  - A regular expression in O(endpoints[].matches) that explodes may outlive the time limits; they bound the
    network only.
extends_documentation_fragment:
  - evenkeel.flask.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  base_url:
    description: What the endpoints' paths are relative to.
    type: str
    default: http://127.0.0.1:8000
  unix_socket:
    description: Connect to this UNIX socket instead of to the URL's host.
    type: path
  endpoints:
    description: What is asked, and what is wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path below O(base_url). Either this or O(endpoints[].url) is needed.
        type: str
      url:
        description: Whole URL.
        type: str
      name:
        description: What the endpoint is called in results; its path if left out.
        type: str
      method:
        description: HTTP method.
        type: str
        default: GET
      headers:
        description: Request headers.
        type: dict
        default: {}
      body:
        description: Request body.
        type: str
      body_json:
        description: Request body that is sent as JSON. Either this or O(endpoints[].body).
        type: raw
      status:
        description: Statuses that are healthy.
        type: list
        elements: int
        default: [200]
      contains:
        description: Text that the body must contain.
        type: str
      matches:
        description: Regular expression that the body must match somewhere.
        type: str
      json:
        description:
          - Dotted path to wanted value. V(<list>), V(<object>), V(<string>), V(<number>) and V(<bool>) want
            any value of that kind.
        type: dict
        default: {}
      response_headers:
        description: Name to wanted value.
        type: dict
        default: {}
      max_ms:
        description: Milliseconds that the answer may take.
        type: float
  attempts:
    description: How often each endpoint is asked at most. Must be at least O(successes).
    type: int
    default: 1
  interval:
    description: Seconds between two attempts.
    type: float
    default: 1.0
  successes:
    description:
      - Healthy answers in a row that are needed. An endpoint that is healthy now and then, but never so often in a
        row, is not healthy.
    type: int
    default: 1
  timeout:
    description: Seconds for one whole request, from resolving to the last byte.
    type: float
    default: 5
  deadline:
    description: Seconds for the whole task.
    type: float
  concurrency:
    description: How many endpoints are asked at once.
    type: int
    default: 8
  follow_redirects:
    description:
      - Where redirects are followed to. V(safe) is the same origin, and a redirect elsewhere is not healthy.
      - V(all) takes only C(Accept), C(Accept-Charset), C(Accept-Encoding), C(Accept-Language) and C(User-Agent) along when
        it goes elsewhere, and no body. It leaves O(unix_socket) behind, and never goes from https to http.
      - A request follows at most ten redirects, within its O(timeout).
    type: str
    choices: ["none", safe, all]
    default: "none"
  validate_certs:
    description: Whether certificates and the names in them are verified.
    type: bool
    default: true
  ca_path:
    description: File of the authorities to trust instead of the system's.
    type: path
  min_certificate_days:
    description: Days for which a certificate must still be valid. Needs O(validate_certs).
    type: float
"""

EXAMPLES = r"""
- name: Wait until the app is healthy, three times in a row
  evenkeel.flask.health_check:
    base_url: http://127.0.0.1:8000
    endpoints:
      - path: /health
        json: {status: ok}
      - path: /
        contains: Welcome
    attempts: 30
    successes: 3

- name: Check a certificate before it is too late
  evenkeel.flask.health_check:
    base_url: https://shop.example.com
    endpoints:
      - path: /
        headers:
          X-Api-Key: "{{ shop_api_key }}"
        response_headers:
          Strict-Transport-Security: max-age=31536000
        max_ms: 500
    min_certificate_days: 14
    deadline: 10

- name: Ask gunicorn itself
  evenkeel.flask.health_check:
    unix_socket: /srv/shop/live.sock
    endpoints:
      - path: /api/products?page=1
        json:
          page: 1
          products: <list>
          products.0.name: <string>
"""

RETURN = r"""
healthy:
  description: Whether all endpoints are.
  returned: always
  type: bool
  sample: true
passed:
  description: How many endpoints are healthy.
  returned: always
  type: int
  sample: 2
failed_endpoints:
  description: How many endpoints are not healthy. The word C(failed) is Ansible's own.
  returned: always
  type: int
  sample: 0
results:
  description: What came of each endpoint.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    url:
      description: What was asked, without its query.
      type: str
    healthy:
      description: Whether it is.
      type: bool
    status:
      description: The last answer's status, V(null) if none came.
      type: int
    reason:
      description: What was wanted and what came.
      type: str
    elapsed_ms:
      description: Milliseconds that the last answer took, V(null) if none came.
      type: float
    attempts:
      description: How often it was asked.
      type: int
  sample:
    - {name: /health, url: "http://127.0.0.1:8000/health", healthy: true, status: 200, reason: healthy, elapsed_ms: 3.1, attempts: 1}
msg:
  description: One line that names the endpoints that are not healthy, and why.
  returned: always
  type: str
  sample: "1 of 2 endpoints are not healthy: /health: 503, wanted 200."
"""

from dataclasses import asdict
from typing import Any

from ..module_utils import _errors
from ..module_utils._health import endpoints as health_endpoints
from ..module_utils._health import poll
from ..module_utils._http import client
from ..module_utils._http import params as http_params
from ..module_utils._module import AnsibleModule

ENDPOINT_SPEC: dict[str, Any] = {
    "path": {"type": "str"},
    "url": {"type": "str"},
    "name": {"type": "str"},
    "method": {"type": "str", "default": "GET"},
    "headers": {"type": "dict", "default": {}},
    "body": {"type": "str"},
    "body_json": {"type": "raw"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "contains": {"type": "str"},
    "matches": {"type": "str"},
    "json": {"type": "dict", "default": {}},
    "response_headers": {"type": "dict", "default": {}},
    "max_ms": {"type": "float"},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "base_url": {"type": "str", "default": "http://127.0.0.1:8000"},
    "unix_socket": {"type": "path"},
    "endpoints": {"type": "list", "elements": "dict", "required": True, "options": ENDPOINT_SPEC},
    "attempts": {"type": "int", "default": 1},
    "interval": {"type": "float", "default": 1.0},
    "successes": {"type": "int", "default": 1},
    "timeout": {"type": "float", "default": 5},
    "deadline": {"type": "float"},
    "concurrency": {"type": "int", "default": 8},
    "follow_redirects": {"type": "str", "choices": ["none", "safe", "all"], "default": "none"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "min_certificate_days": {"type": "float"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    for endpoint in params["endpoints"]:
        module.no_log_values |= http_params.secrets(endpoint["headers"])
    try:
        endpoints, policy = health_endpoints.read(params)
    except _errors.ArgumentError as error:
        module.fail_json(msg=str(error))
    deadline = client.Deadline(params["deadline"]) if params["deadline"] else None
    results = poll.check_all(endpoints, policy, client.fetch, params["concurrency"], deadline)
    failed = sum(not result.healthy for result in results)
    told: dict[str, Any] = {
        "healthy": not failed,
        "passed": len(results) - failed,
        "failed_endpoints": failed,
        "results": [asdict(result) for result in results],
        "msg": poll.message(results),
    }
    if failed:
        module.fail_json(**told)
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
