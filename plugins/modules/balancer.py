#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain a server in a load balancer, and return it to service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer
short_description: Drain a server in a load balancer without interrupting requests, and return it to service
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Runs on the balancer's own host, or on any host with access to its API; see C(delegate_to).
  - The last serving server of a pool is never drained. This is a warning, not a failure.
  - A server that a person removed is not returned to service. HAProxy's state C(maint) and nginx's C(down) count as a
    person's action. HAProxy's C(drain), and a C(down) with this module's comment, count as a run's, which may have been
    interrupted. AWS does not record who deregistered a target, so such a target is registered.
extends_documentation_fragment:
  - evenkeel.flask.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  server:
    description:
      - The host's name in the balancer.
      - With O(haproxy) the name of the server, with O(nginx) its address with or without the port, with O(target_group)
        the id of the target, which is an instance or an IP address.
    type: str
    required: true
  state:
    description: Whether the server receives users' requests.
    type: str
    choices: [serving, drained]
    required: true
  haproxy:
    description: HAProxy, by its runtime API.
    type: dict
    suboptions:
      backend:
        description: The backend.
        type: str
        required: true
      socket:
        description: >-
          The address of the runtime API, with C(level admin). It is the path of a UNIX socket, or an address and a port
          as in C(127.0.0.1:9999).
        type: str
        default: /run/haproxy/admin.sock
  nginx:
    description:
      - For nginx the server's line in a file is marked as C(down). The file is tested with C(nginx -t), and restored if
        the test fails. Then nginx is reloaded.
      - nginx does not know which of its servers are healthy, so the module opens a connection to each.
    type: dict
    suboptions:
      file:
        description: The file with the upstream, one server per line.
        type: path
        required: true
      upstream:
        description: The name of the upstream. Not required for a file with a single one.
        type: str
  target_group:
    description: A target group of an AWS load balancer. Requires C(boto3), and credentials where C(boto3) finds them.
    type: dict
    suboptions:
      arn:
        description: The target group's ARN, which has its region.
        type: str
        required: true
      port:
        description: The port with which the target is registered.
        type: int
        required: true
  drain_timeout:
    description:
      - The maximum wait in seconds for requests in flight. After it the task succeeds, and the requests continue.
      - Ignored with O(nginx), whose workers do not report their requests.
    type: float
    default: 30
  healthy_timeout:
    description: >-
      The maximum time in seconds until a returned server receives requests. The balancer's own health check precedes
      that.
    type: float
    default: 300
"""

EXAMPLES = r"""
- name: Drain the host
  evenkeel.flask.balancer:
    server: "{{ inventory_hostname }}"
    state: drained
    haproxy:
      backend: shop
  delegate_to: lb1

- name: Return the instance to service
  evenkeel.flask.balancer:
    server: "{{ instance_id }}"
    state: serving
    target_group:
      arn: arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/shop/73e2d6bc24d8a067
      port: 8000
  delegate_to: localhost
"""

RETURN = r"""
before:
  description: >-
    The server's state before, which is V(serving), V(drained), V(maintenance) if a person removed it, or V(down) if it
    does not respond to the balancer.
  returned: success
  type: str
  sample: serving
after:
  description: The server's state now.
  returned: success
  type: str
  sample: drained
busy:
  description: The number of requests, or connections, that are still in flight.
  returned: success
  type: int
  sample: 0
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ..module_utils import _errors
from ..module_utils._balancer import haproxy as balancer_haproxy
from ..module_utils._balancer import nginx as balancer_nginx
from ..module_utils._balancer import plan, target_group
from ..module_utils._module import AnsibleModule

KINDS = ("haproxy", "nginx", "target_group")
ARGUMENT_SPEC: dict[str, Any] = {
    "server": {"type": "str", "required": True},
    "state": {"type": "str", "required": True, "choices": ["serving", "drained"]},
    "haproxy": {
        "type": "dict",
        "options": {
            "backend": {"type": "str", "required": True},
            "socket": {"type": "str", "default": "/run/haproxy/admin.sock"},
        },
    },
    "nginx": {
        "type": "dict",
        "options": {"file": {"type": "path", "required": True}, "upstream": {"type": "str"}},
    },
    "target_group": {
        "type": "dict",
        "options": {
            "arn": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
        },
    },
    "drain_timeout": {"type": "float", "default": 30},
    "healthy_timeout": {"type": "float", "default": 300},
}


def find(module: AnsibleModule) -> plan.Balancer:
    params = module.params
    server, haproxy, nginx, group = (params[name] for name in ("server", *KINDS))
    if haproxy:
        return balancer_haproxy.HAProxy(server, haproxy["socket"], haproxy["backend"])
    if nginx:
        path = os.path.realpath(nginx["file"])

        def write(text: str) -> None:
            with tempfile.NamedTemporaryFile(
                "w", dir=module.tmpdir, delete=False, encoding="utf-8", newline=""
            ) as stream:
                stream.write(text)
            module.atomic_move(stream.name, path)

        return balancer_nginx.Nginx(server, path, nginx["upstream"], write)
    try:
        client = target_group.connect(group["arn"])
    except ImportError:
        module.fail_json(msg=missing_required_lib("boto3"))
    return target_group.TargetGroup(server, group["arn"], group["port"], client)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_one_of=[KINDS],
        mutually_exclusive=[KINDS],
    )
    params = module.params
    try:
        outcome = plan.move(
            find(module),
            params["state"],
            drain_timeout=params["drain_timeout"],
            healthy_timeout=params["healthy_timeout"],
            check_mode=module.check_mode,
        )
    except _errors.BalancerError as error:
        module.fail_json(msg=str(error))
    if outcome.plan.warning:
        module.warn(outcome.plan.warning)
    before, after = outcome.before.state, outcome.after.state
    module.exit_json(
        changed=outcome.plan.verb is not None,
        before=before,
        after=after,
        busy=outcome.after.busy,
        diff={"before": f"{before}\n", "after": f"{after}\n"},
    )


if __name__ == "__main__":
    main()
