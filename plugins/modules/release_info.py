#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report the releases and slots of an app on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Report which release of an app is live on a host
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Reads links and units, and sends a request to the live process. The response of the process has priority over a
    link.
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
    description: The timeout of the live process in seconds.
    type: float
    default: 5
  user:
    description: The app's user. Defaults to O(name).
    type: str
"""

EXAMPLES = r"""
- name: Read the state of the host
  evenkeel.flask.release_info:
    name: shop
  register: shop
"""

RETURN = r"""
live:
  description: The release of the live link, V(null) if there is none.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
live_slot:
  description: The live slot.
  returned: success
  type: str
  sample: green
answering:
  description: The release that responded, V(null) if none did.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
healthy:
  description: Whether the live release responded at its health endpoint with status 200.
  returned: success
  type: bool
  sample: true
candidate:
  description: The release in the candidate slot, V(null) if there is none.
  returned: success
  type: str
  sample: null
previous:
  description: The target of a rollback, V(null) if there is none.
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
    - The differences from the state after the last run. They can be the live release, its files by their path in it,
      unit files and the front.
    - Empty on a host without an earlier run.
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
      description: The time, ISO 8601 in UTC.
      type: str
    action:
      description: V(release) or V(rollback).
      type: str
    release:
      description: The release that became live, V(null) if the host was left without one.
      type: str
    previous:
      description: The release that was live before.
      type: str
    who:
      description: The user. Further fields are those that M(evenkeel.flask.release) received as details.
      type: str
    digest:
      description: The digest of the code of C(release).
      type: str
    withdrawn:
      description: Whether the host withdrew the release itself, because it failed there.
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
  description: The releases that a person rolled back on this host, and that were not live there since.
  returned: success
  type: list
  elements: dict
  contains:
    release:
      description: The release.
      type: str
    digest:
      description: The digest of its code, V(null) if it is no longer known.
      type: str
    to:
      description: The target of the rollback.
      type: str
    time:
      description: The time, ISO 8601 in UTC.
      type: str
    who:
      description: The user.
      type: str
    controller:
      description: The controller.
      type: str
  sample: []
present:
  description: The parts of the app on the host, as paths and the user.
  returned: success
  type: list
  elements: str
  sample: ["/srv/shop", "user shop"]
optimizations:
  description: The state of each measure of the production form in the live release.
  returned: success
  type: list
  elements: dict
  contains:
    measure:
      description: The name of the measure.
      type: str
    state:
      description: V(applied), V(present) where the app has its own, V(not applicable) or V(off).
      type: str
    detail:
      description: Details as text, can be empty.
      type: str
  sample: [{measure: json, state: applied, detail: orjson}]
guards:
  description:
    - The locks, ports and socket names that the live slot holds and that only one slot can hold. An app can use one to
      run a scheduler in a single process.
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
    """Return the parts that the roles have created on the host, even after an interrupted run."""
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
    status, answering = slots.try_query(layout.live, params["health_path"], params["timeout"])
    guards = sorted(slots.guards(layout, host.live)) if host.live in host.running else []
    module.exit_json(
        changed=False,
        answering=answering,
        healthy=status == 200 and answering == host.live_release,
        prepared=os.path.isdir(layout.path("releases")),
        drift=drift.differences(drift.read(layout), drift.fingerprint(layout, host.live_release)),
        history=[switch.as_dict() for switch in host.history[-10:]],
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
