#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what an app's releases and slots are like on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Tell which release of an app is live on a host
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Asks links, units and the live process itself. What the process answers is believed, not what a
    link says.
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
  health_path:
    description: The app's health endpoint.
    type: str
    default: /health
  timeout:
    description: Seconds that the live process may take to answer.
    type: float
    default: 5
  user:
    description: The app's user. Defaults to O(name).
    type: str
"""

EXAMPLES = r"""
- name: Look at the host
  evenkeel.flask.release_info:
    name: shop
  register: shop
"""

RETURN = r"""
live:
  description: The release that the live link leads to, V(null) if there is none.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
live_slot:
  description: The live slot.
  returned: success
  type: str
  sample: green
answering:
  description: The release that really answered, V(null) if nobody did.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
healthy:
  description: Whether the live release answered its health endpoint with status 200.
  returned: success
  type: bool
  sample: true
candidate:
  description: The release in the candidate slot, V(null) if there is none.
  returned: success
  type: str
  sample: null
previous:
  description: The release that a rollback goes to, V(null) if there is none.
  returned: success
  type: str
  sample: 1.0.0-0f1e2d3c4b
since:
  description: When the live release went live, ISO 8601 in UTC.
  returned: success
  type: str
  sample: "2026-11-24T14:00:00+00:00"
prepared:
  description: Whether the host was set up for the app.
  returned: success
  type: bool
  sample: true
drift:
  description:
    - What is not as the last run left it, which can be the live release, files of it by their path in it, unit files
      and the front.
    - Empty on a host that no run has left yet.
  returned: success
  type: list
  elements: str
  sample: [config/gunicorn.conf.py]
history:
  description: The last ten switches on the host, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: When, ISO 8601 in UTC.
      type: str
    action:
      description: V(release) or V(rollback).
      type: str
    release:
      description: What became live, V(null) if nothing was left to go back to.
      type: str
    previous:
      description: What was live before.
      type: str
    who:
      description: Who did it, and others like it that M(evenkeel.flask.release) was given as details.
      type: str
    digest:
      description: The digest of the code of what became live.
      type: str
    withdrawn:
      description: Whether the host went back by itself, since the release failed there.
      type: bool
  sample:
    - time: "2026-11-24T14:00:00+00:00"
      action: release
      release: 2.0.0-1a2b3c4d5e
      previous: 1.0.0-0f1e2d3c4b
      who: alice
      controller: ci-7
      commit: 3f2a1b0c9d8e
      verdict: passed
      took: {stage: 4.1, start: 0.9, gate: 2.4}
rolled_back:
  description: The releases that a person went back from on this host, and that were not live there since.
  returned: success
  type: list
  elements: dict
  contains:
    release:
      description: The release.
      type: str
    digest:
      description: The digest of its code, V(null) if that is not known any more.
      type: str
    to:
      description: The release that was gone back to.
      type: str
    time:
      description: When, ISO 8601 in UTC.
      type: str
    who:
      description: Who did it.
      type: str
    controller:
      description: From where.
      type: str
  sample: []
present:
  description: What of the app stands on the host, paths and the user.
  returned: success
  type: list
  elements: str
  sample: ["/srv/shop", "user shop"]
optimizations:
  description: What became of each measure of the production form in the live release.
  returned: success
  type: list
  elements: dict
  contains:
    measure:
      description: Which one.
      type: str
    state:
      description: V(applied), V(present) where the app has its own, V(not applicable) or V(off).
      type: str
    detail:
      description: In words, may be empty.
      type: str
  sample: [{measure: json, state: applied, detail: orjson}]
guards:
  description:
    - What the live slot holds and only one slot can hold, which can be locks, ports and names of sockets. An app can use
      one to let a single process run a scheduler.
  returned: success
  type: list
  elements: str
  sample: ["port 127.0.0.1:47200"]
releases:
  description: All releases on the host, the newest first.
  returned: success
  type: list
  elements: str
  sample: [2.0.0-1a2b3c4d5e, 1.0.0-0f1e2d3c4b]
running:
  description: The slots whose service runs.
  returned: success
  type: list
  elements: str
  sample: [green]
"""

import os

from ..module_utils._module import AnsibleModule
from ..module_utils._preflight import host as preflight
from ..module_utils._release import drift, plan, slots, stage
from ..module_utils._release import layout as release_layout

ARGUMENT_SPEC = {
    **release_layout.APP_SPEC,
    "health_path": {"type": "str", "default": "/health"},
    "timeout": {"type": "float", "default": 5},
    "user": {"type": "str"},
}


def present(layout: release_layout.Layout, user: str) -> list[str]:
    """What the roles have made on the host, whether it was whole or cut off."""
    paths = [
        layout.base,
        *drift.system_files(layout),
        os.path.join(layout.etc, "logrotate.d", layout.name),
    ]
    found = [path for path in paths if os.path.exists(path)]
    return found + ([f"user {user}"] if preflight.user_id(user) is not None else [])


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    layout = release_layout.Layout(params["name"], params["root"])
    host = slots.observe(layout)
    status, answering = slots.try_ask(layout.live, params["health_path"], params["timeout"])
    guards = sorted(slots.guards(layout, host.live)) if host.live in host.running else []
    module.exit_json(
        changed=False,
        answering=answering,
        healthy=status == 200 and answering == host.live_release,
        prepared=os.path.isdir(layout.path("releases")),
        drift=drift.differences(drift.read(layout), drift.fingerprint(layout, host.live_release)),
        history=[switch.told() for switch in host.history[-10:]],
        optimizations=[
            *stage.optimizations(layout.release(host.live_release or "")),
            *({"measure": "guard", "state": "present", "detail": str(guard)} for guard in guards),
        ],
        guards=[str(guard) for guard in guards],
        present=present(layout, params["user"] or params["name"]),
        releases=list(host.releases),
        rolled_back=plan.rolled_back(host.history, slots.digests(layout, host.releases)),
        running=sorted(host.running),
        since=slots.since(layout),
        **plan.summarise(host),
    )


if __name__ == "__main__":
    main()
