#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock a host against a second rollout of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lock
short_description: Lock a host against a second rollout of an app
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - A lock on the host names the run that holds it, its user, its start and its controller. It expires by itself, and a
    reboot ends it also.
  - A run that finds the lock of another run fails with these facts. The exception is a run that was started on the same
    controller and whose process no longer exists.
  - A run can take its own lock again at any time, which extends it from then on.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.run
  - evenkeel.flask.run.lock
attributes:
  check_mode:
    support: full
    details:
      - The lock of another run is a failure in check mode also.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - O(state=held) extends the lock each time.
options:
  name:
    description: The app's name.
    type: str
    required: true
  state:
    description: Whether this run holds the lock. The lock of another run is never released.
    type: str
    choices: [held, free]
    default: held
  seconds:
    description: The duration of the lock in seconds if this run does not renew it.
    type: float
    default: 1800
  directory:
    description: The directory of the lock.
    type: path
    default: /run
"""

EXAMPLES = r"""
- name: Acquire the lock
  evenkeel.flask.rollout_lock:
    name: shop

- name: Release the lock
  evenkeel.flask.rollout_lock:
    name: shop
    state: free
"""

RETURN = r"""
holder:
  description: The run that holds the lock now, V(null) if none does.
  returned: always
  type: dict
  sample:
    run: 2f1c/4242/118822
    who: alice
    controller: ci-7
    since: "2026-11-24T14:00:00+00:00"
    until: "2026-11-24T14:30:00+00:00"
"""

from typing import Any

from ..module_utils import _errors
from ..module_utils._module import AnsibleModule
from ..module_utils._release import lock as release_lock

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["held", "free"], "default": "held"},
    "seconds": {"type": "float", "default": 1800},
    **release_lock.TAKE_SPEC,
    "directory": {"type": "path", "default": "/run"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    path = release_lock.path(params["name"], params["directory"])
    try:
        if params["state"] == "free":
            found, lock = release_lock.unlock(path, params["run"], module.check_mode)
        else:
            found, lock = release_lock.acquire_for(
                path, params, params["seconds"], module.check_mode
            )
    except _errors.LockError as error:
        module.fail_json(msg=str(error), holder=error.holder)
    module.exit_json(changed=lock != found, holder=lock.as_dict() if lock else None)


if __name__ == "__main__":
    main()
