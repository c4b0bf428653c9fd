#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a release on one host from its archive to the users, and back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Stage, start, switch, withdraw, retire and prune the releases of an app on a host
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - A host has two slots, V(blue) and V(green). One is live. A new release is started and checked in the other one. The
    rename of one symbolic link then moves the users to it.
  - Each state is reached from any state of the host. So an interrupted run can simply run again.
  - The roles P(evenkeel.flask.flask_app#role) and P(evenkeel.flask.gunicorn#role) create the directory, user and units.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
  - evenkeel.flask.run
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(staged) creates the release from O(archive), O(files) and O(environment), atomically.
      - V(candidate) runs the release in the slot without users.
      - V(live) moves the users to the slot that runs the release, by one rename.
      - V(withdrawn) ensures that the release neither serves users nor runs. If it is live, the users are moved back to
        the other slot first.
      - V(settled) stops the slot that is not live, after its last response. It removes all releases except the O(keep)
        newest, and never the live or the previous one.
    type: str
    required: true
    choices: [staged, candidate, live, withdrawn, settled]
  release:
    description: The release's id. Required for V(candidate), V(live) and V(withdrawn).
    type: str
  archive:
    description:
      - The archive's path on the controller. It is copied to a host that lacks it. Required for V(staged).
    type: path
  wheels:
    description: >-
      The path of the archive of its wheels, on the controller. It is copied to a host that lacks it. Required for
      V(staged).
    type: path
  archive_sha256:
    description:
      - The SHA-256 of O(archive), as M(evenkeel.flask.release_archive) returned it. A stored archive of the host is
        compared with it before it is unpacked. If it differs, it is removed and copied again.
      - Without it there is no comparison.
    type: str
    default: ""
  wheels_sha256:
    description: The SHA-256 of O(wheels), used in the same way.
    type: str
    default: ""
  uploads:
    description: The directory on the host with the new archives. The action plugin sets it.
    type: path
  digest:
    description: The archive's digest, as M(evenkeel.flask.release_archive) returned it. Required for V(staged).
    type: str
  version:
    description: The app's version, shown in the release's id.
    type: str
    default: ""
  entry:
    description: The app's WSGI entry, for messages.
    type: str
    default: ""
  files:
    description: Configuration files of the release, content by name.
    type: dict
    default: {}
  environment:
    description: Environment of the app. Never shown.
    type: dict
    default: {}
  shared:
    description: Paths below the source that are linked into the app's shared directory.
    type: list
    elements: str
    default: []
  python:
    description: The interpreter that creates the venv.
    type: path
    default: /usr/bin/python3
  user:
    description: The app's user, and its group. Defaults to O(name).
    type: str
  action:
    description: The action of a switch in the history.
    type: str
    default: release
    choices: [release, rollback]
  details:
    description: Further fields of a switch in the history, for example the user.
    type: dict
    default: {}
  keep:
    description: The number of releases that V(settled) stores, and V(staged) expects.
    type: int
    default: 5
  health_path:
    description: The path of the request that checks whether a slot responds. Any status counts.
    type: str
    default: /
  start_timeout:
    description: Seconds within which a release must load when it is staged, and respond when it is started.
    type: float
    default: 60
  drain_timeout:
    description: The maximum wait in seconds for the last requests of a slot before it is stopped.
    type: float
    default: 30
  log_directory:
    description: The directory of the app's logs, for the reason why it does not start.
    type: path
  guard_recovery:
    description:
      - Whether V(settled) replaces one worker of the live slot to recover a guard. A guard is a lock, a port or a
        socket name that only one slot can hold. The condition is that the slot to be stopped held it, and the live slot
        does not. The import of the new worker can acquire it.
    type: bool
    default: false
  lock_seconds:
    description:
      - The duration in seconds of this run's lock from now on, as with M(evenkeel.flask.rollout_lock). If another run
        has it, nothing is done. V(settled) releases it at the end. So does V(staged) if nothing is left to do. Without
        it the lock is ignored.
    type: float
"""

EXAMPLES = r"""
- name: Start the release next to the live one
  evenkeel.flask.release:
    name: shop
    state: candidate
    release: 2.0.0-1a2b3c4d5e

- name: Move the users to it
  evenkeel.flask.release:
    name: shop
    state: live
    release: 2.0.0-1a2b3c4d5e

- name: Stop the old one
  evenkeel.flask.release:
    name: shop
    state: settled
"""

RETURN = r"""
release:
  description: The release's id.
  returned: when O(release) was given or O(state=staged)
  type: str
  sample: 2.0.0-1a2b3c4d5e
steps:
  description: The steps that were executed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: ["point_live green", "record 2.0.0-1a2b3c4d5e release"]
began:
  description: The start, in seconds since the epoch by the host's clock.
  returned: always
  type: float
  sample: 1795610400.25
elapsed:
  description: The duration in seconds.
  returned: always
  type: float
  sample: 1.2
live:
  description: The live release.
  returned: success
  type: str
  sample: 2.0.0-1a2b3c4d5e
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
live_slot:
  description: The live slot.
  returned: success
  type: str
  sample: green
replaced:
  description: >-
    Whether a stored archive differed from the built one and was removed, so that another run copies it again.
  returned: always
  type: bool
  sample: false
healthy:
  description: Whether the live release responded to O(health_path) with status 200 before any change.
  returned: when O(state=staged)
  type: bool
  sample: true
settled:
  description:
    - Whether the host has the state after V(settled), with this release live and healthy. If so, a rollout has nothing
      to do there.
  returned: when O(state=staged)
  type: bool
  sample: false
digest:
  description: The digest of the release's code.
  returned: when O(state=staged)
  type: str
  sample: 5f2c0e
rolled_back:
  description: The releases that a person rolled back on this host, as M(evenkeel.flask.release_info) returns them.
  returned: when O(state=staged)
  type: list
  elements: dict
  sample: []
"""

import errno
import os
from typing import Any

from ..module_utils import _errors, _timing
from ..module_utils._errors import ArchiveError
from ..module_utils._module import AnsibleModule
from ..module_utils._release import drift, environment, plan
from ..module_utils._release import guards as release_guards
from ..module_utils._release import layout as release_layout
from ..module_utils._release import lock as release_lock
from ..module_utils._release import slots as release_slots
from ..module_utils._release import stage as release_stage

ASK_SECONDS = 5
ARGUMENT_SPEC: dict[str, Any] = {
    **release_layout.APP_SPEC,
    "state": {
        "type": "str",
        "required": True,
        "choices": ["staged", "candidate", "live", "withdrawn", "settled"],
    },
    "release": {"type": "str"},
    "archive": {"type": "path"},
    "digest": {"type": "str"},
    "version": {"type": "str", "default": ""},
    "entry": {"type": "str", "default": ""},
    "files": {"type": "dict", "default": {}},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "shared": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "user": {"type": "str"},
    "action": {"type": "str", "default": "release", "choices": ["release", "rollback"]},
    "details": {"type": "dict", "default": {}},
    "keep": {"type": "int", "default": 5},
    "health_path": {"type": "str", "default": "/"},
    "start_timeout": {"type": "float", "default": 60},
    "drain_timeout": {"type": "float", "default": 30},
    "log_directory": {"type": "path"},
    "guard_recovery": {"type": "bool", "default": False},
    "wheels": {"type": "path"},
    "archive_sha256": {"type": "str", "default": ""},
    "wheels_sha256": {"type": "str", "default": ""},
    "uploads": {"type": "path"},
    "lock_seconds": {"type": "float"},
    **release_lock.RUN_SPEC,
}


def stage(
    params: dict[str, Any], layout: release_layout.Layout, check_mode: bool
) -> dict[str, Any]:
    release = release_layout.release_id(
        params["version"],
        params["digest"],
        params["files"],
        params["environment"],
        [params["python"], params["user"] or params["name"], *params["shared"]],
    )
    host = release_slots.observe(layout)
    status, answering = release_slots.try_query(layout.live, params["health_path"], ASK_SECONDS)
    is_there = release in host.releases
    healthy = status == 200 and answering == host.live_release
    settled = (
        healthy
        and host.live_release == release
        and not plan.plan_settled(host, params["keep"], is_as_left(layout, host))
    )
    if not is_there and not check_mode:
        archive, wheels = (
            release_stage.store_archive(layout, params[name], params["uploads"])
            for name in ("archive", "wheels")
        )
        release_stage.stage(
            release_stage.ReleaseSpec(
                layout=layout,
                release_id=release,
                version=params["version"],
                archive=archive,
                wheels=wheels,
                digest=params["digest"],
                python=params["python"],
                user=params["user"] or params["name"],
                entry=params["entry"],
                files=params["files"],
                environment=params["environment"],
                shared=tuple(params["shared"]),
                start_timeout=params["start_timeout"],
                archive_sha256=params["archive_sha256"],
                wheels_sha256=params["wheels_sha256"],
            )
        )
    return {
        "release": release,
        "steps": [] if is_there else [plan.Step("stage", release)],
        "healthy": healthy,
        "settled": settled,
        "digest": params["digest"],
        "rolled_back": plan.rolled_back(host.history, release_slots.digests(layout, host.releases)),
        **plan.summarise(host),
    }


def move(params: dict[str, Any], layout: release_layout.Layout, check_mode: bool) -> dict[str, Any]:
    host = release_slots.observe(layout)
    if check_mode:
        host = plan.assume_earlier_states(host, params["state"], params["release"])
    guards = lacking_guards(layout, host) if params["guard_recovery"] else {}
    plans = {
        "candidate": lambda: plan.plan_candidate(host, params["release"]),
        "live": lambda: plan.plan_live(host, params["release"], params["action"]),
        "withdrawn": lambda: plan.plan_withdrawn(host, params["release"]),
        "settled": lambda: plan.plan_settled(
            host, params["keep"], is_as_left(layout, host), [str(guard) for guard in guards]
        ),
    }
    steps: list[plan.Step] = plans[params["state"]]()
    warnings: list[str] = []
    # An automatic withdrawal, not a person's rollback, so the release may be tried again.
    withdrawn = {"withdrawn": True} if params["state"] == "withdrawn" else {}
    if not check_mode:
        slots = release_slots.Slots(
            layout,
            host,
            health_path=params["health_path"],
            start_timeout=params["start_timeout"],
            drain_timeout=params["drain_timeout"],
            log_directory=params["log_directory"],
            details={**params["details"], **withdrawn},
            guards=guards,
        )
        slots.apply(steps)
        warnings = slots.warnings
    after = plan.simulate(host, steps)
    return {
        "release": params["release"],
        "steps": steps,
        "doubts": warnings,
        "before": plan.summarise(host),
        "after": plan.summarise(after),
    }


def lacking_guards(
    layout: release_layout.Layout, host: plan.HostState
) -> dict[release_guards.Guard, int]:
    """Return the guards that the slot that is not live holds, and the live one did not acquire."""
    if host.live not in host.running or host.idle not in host.running:
        return {}
    return release_guards.missing(
        lambda: release_slots.guards(layout, host.idle),
        lambda: release_slots.guards(layout, host.live or ""),
    )


def is_as_left(layout: release_layout.Layout, host: plan.HostState) -> bool:
    """Return whether the host is unchanged since the last run. Without a live release it is."""
    found = drift.fingerprint(layout, host.live_release)
    return host.live_release is None or drift.read(layout) == found


def explained(message: str, layout: release_layout.Layout) -> str:
    """Add the remedy for a full disk, in all modes of the module."""
    if os.strerror(errno.ENOSPC) not in message:
        return message
    return f"{message.rstrip('.')}. Free some space where {layout.base} is, and run it again."


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "staged", ["archive", "wheels", "digest"]),
            ("state", "candidate", ["release"]),
            ("state", "live", ["release"]),
            ("state", "withdrawn", ["release"]),
        ],
    )
    params = {**module.params}
    params["environment"], secrets = environment.take(module)
    layout = release_layout.Layout(params["name"], params["root"])
    lock = release_lock.path(params["name"])
    timing = _timing.Timing()
    act = stage if params["state"] == "staged" else move
    try:
        if params["lock_seconds"] is not None:
            release_lock.acquire_for(lock, params, params["lock_seconds"], module.check_mode)
        done = act(params, layout, module.check_mode)
        is_over = params["state"] == "settled" or done.get("settled")
        if params["lock_seconds"] is not None and is_over:
            release_lock.unlock(lock, params["run"], module.check_mode)
    except (_errors.ReleaseError, _errors.LockError, ArchiveError, OSError) as exc:
        module.no_log_values = secrets
        replaced = isinstance(exc, release_stage.ReplacedError)
        module.fail_json(msg=explained(str(exc), layout), replaced=replaced, **timing.as_dict())
    for doubt in done.pop("doubts", []):
        module.warn(doubt)
    before = done.pop("before", {})
    after = done.pop("after", {})
    steps = [" ".join(filter(None, vars(step).values())) for step in done.pop("steps")]
    module.exit_json(
        changed=bool(steps),
        replaced=False,
        **timing.as_dict(),
        steps=steps,
        diff={
            "before": "".join(f"{key}: {value}\n" for key, value in before.items()),
            "after": "".join(f"{key}: {value}\n" for key, value in after.items()),
        },
        **done,
        **after,
    )


if __name__ == "__main__":
    main()
