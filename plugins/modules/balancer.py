#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a server out of a load balancer, and put it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer
short_description: Take a server out of a load balancer without cutting a request, and put it back
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Runs on the balancer's own host, or wherever its API can be asked from; see C(delegate_to).
  - The last server of a pool that serves is never taken out. That is no failure, but a warning.
  - What a person took out is not put back. HAProxy's state C(maint) and nginx's C(down) are taken for a person's doing,
    HAProxy's C(drain) and a C(down) with this module's comment for that of a run, which may have been cut off.
    A target that is not registered with AWS says nothing of who did it, and is registered.
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
      - What the balancer calls the host.
      - With O(haproxy) the name of the server, with O(nginx) its address with or without the port, with O(target_group) the
        id of the target, which is an instance or an IP address.
    type: str
    required: true
  state:
    description: Whether the server gets users.
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
          Where the runtime API listens, with C(level admin), which is the path of a UNIX socket, or an address and a port as
          C(127.0.0.1:9999).
        type: str
        default: /run/haproxy/admin.sock
  nginx:
    description:
      - nginx, by marking the server's line in a file as C(down). The file is tested with C(nginx -t), and put back as it was
        if the test fails; then nginx is reloaded.
      - nginx does not know which of its servers are well, so each is asked for a connection.
    type: dict
    suboptions:
      file:
        description: The file that has the upstream, with one server to a line.
        type: path
        required: true
      upstream:
        description: The upstream's name, which a file with a single one need not be told.
        type: str
  target_group:
    description: A target group of an AWS load balancer. Needs C(boto3), and credentials where C(boto3) looks for them.
    type: dict
    suboptions:
      arn:
        description: The target group's ARN, which has its region.
        type: str
        required: true
      port:
        description: The port that the target is registered with.
        type: int
        required: true
  drain_timeout:
    description:
      - Seconds to wait until no request is under way any more. Then the task ends well, and the requests go on.
      - With O(nginx) there is nothing to wait for, as its workers don't say what they are at.
    type: float
    default: 30
  healthy_timeout:
    description: >-
      Seconds within which a server that is put back must get users. The balancer's own health check comes before that.
    type: float
    default: 300
"""

EXAMPLES = r"""
- name: Send no more users to the host
  evenkeel.flask.balancer:
    server: "{{ inventory_hostname }}"
    state: drained
    haproxy:
      backend: shop
  delegate_to: lb1

- name: Send users to the instance again
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
    How the balancer had the server, which is V(serving), V(drained), V(maintenance) for what a person took out, or V(down)
    for what does not answer the balancer.
  returned: success
  type: str
  sample: serving
after:
  description: How it has it now.
  returned: success
  type: str
  sample: drained
busy:
  description: How many requests, or connections, are still under way.
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
