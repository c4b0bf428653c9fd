#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the health of many endpoints at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Check the health of many endpoints at once
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Sends requests to every endpoint, and compares the responses with the expected ones. The task fails if an endpoint
    is not healthy, with the same results as on success.
  - One time limit covers the whole request, from the name lookup to the last byte. A slow body does not extend it.
  - A truncated response, in its head, its body or its compression, is not healthy, regardless of its status.
  - Bodies and headers are never shown, and a URL's query is hidden. The first MiB of a body is checked. The rest is
    read and counted.
  - Proxies of the environment are not used.
notes:
  - Values of request headers are masked in all output, except those of headers that are known to be harmless, such as
    C(Accept), C(Content-Type), C(Host), C(Origin), C(User-Agent) and C(X-Forwarded-Proto). If a body contains a secret,
    set C(no_log) on the task.
  - A regular expression in O(endpoints[].matches) with catastrophic backtracking can exceed the time limits. They bound
    only the network.
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
    description: The base of the endpoints' paths.
    type: str
    default: http://127.0.0.1:8000
  unix_socket:
    description: Connect to this UNIX socket instead of to the URL's host.
    type: path
  endpoints:
    description: The requests, and the expected responses.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path below O(base_url). Either this or O(endpoints[].url) is required.
        type: str
      url:
        description: Whole URL.
        type: str
      name:
        description: The endpoint's name in results; its path if left out.
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
          - Dotted path to expected value. V(<list>), V(<object>), V(<string>), V(<number>) and V(<bool>) match any
            value of that kind.
        type: dict
        default: {}
      response_headers:
        description: Name to expected value.
        type: dict
        default: {}
      max_ms:
        description: The maximum response time in milliseconds.
        type: float
  attempts:
    description: The maximum number of requests to each endpoint. Must be at least O(successes).
    type: int
    default: 1
  interval:
    description: Seconds between two attempts.
    type: float
    default: 1.0
  successes:
    description:
      - The required number of successive healthy responses. An endpoint that is healthy less often in a row is not
        healthy.
    type: int
    default: 1
  timeout:
    description: The timeout of one whole request in seconds, from the name lookup to the last byte.
    type: float
    default: 5
  deadline:
    description: The time limit of the whole task in seconds.
    type: float
  concurrency:
    description: The number of endpoints that are checked concurrently.
    type: int
    default: 8
  follow_redirects:
    description:
      - Which redirects are followed. V(safe) follows those to the same origin; a redirect to another origin is not
        healthy.
      - V(all) also follows redirects to other origins. It sends them only C(Accept), C(Accept-Charset),
        C(Accept-Encoding), C(Accept-Language) and C(User-Agent), and no body. It does not use O(unix_socket) for them,
        and never goes from https to http.
      - A request follows at most ten redirects, within its O(timeout).
    type: str
    choices: ["none", safe, all]
    default: "none"
  validate_certs:
    description: Whether certificates and the names in them are verified.
    type: bool
    default: true
  ca_path:
    description: File of the CA certificates to trust instead of the system's.
    type: path
  min_certificate_days:
    description: Days for which a certificate must still be valid. Requires O(validate_certs).
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

- name: Check a certificate before it expires
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

- name: Check gunicorn without nginx
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
  description: Whether all endpoints are healthy.
  returned: always
  type: bool
  sample: true
passed:
  description: The number of healthy endpoints.
  returned: always
  type: int
  sample: 2
failed_endpoints:
  description: The number of unhealthy endpoints. The word C(failed) is Ansible's own.
  returned: always
  type: int
  sample: 0
results:
  description: The result of each endpoint.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    url:
      description: The requested URL, without its query.
      type: str
    healthy:
      description: Whether it is healthy.
      type: bool
    status:
      description: The status of the last response, V(null) if there was none.
      type: int
    reason:
      description: The expected and the actual response.
      type: str
    elapsed_ms:
      description: The time of the last response in milliseconds, V(null) if there was none.
      type: float
    attempts:
      description: The number of requests.
      type: int
  sample:
    - {name: /health, url: "http://127.0.0.1:8000/health", healthy: true, status: 200, reason: healthy, elapsed_ms: 3.1, attempts: 1}
msg:
  description: One line that names the unhealthy endpoints, and the reasons.
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
    outcome: dict[str, Any] = {
        "healthy": not failed,
        "passed": len(results) - failed,
        "failed_endpoints": failed,
        "results": [asdict(result) for result in results],
        "msg": poll.message(results),
    }
    if failed:
        module.fail_json(**outcome)
    module.exit_json(changed=False, **outcome)


if __name__ == "__main__":
    main()
