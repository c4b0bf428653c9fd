#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command in a release, as the app would."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_exec
short_description: Run a command in a release with the app's user, venv and environment
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - For database migrations and the like. The command runs in the release's source directory, finds
    the programs of its venv first, and has the environment that the app itself gets.
  - It runs under the properties of the slot's unit C(<name>@.service), its sandbox and its drop-ins included. The
    only difference is C(PYTHONPATH), which names the folders of the app. C(EVENKEEL_SLOT) is V(none).
  - The secrets of the app stand on no command line.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
attributes:
  check_mode:
    support: partial
    details:
      - The command is not run, and a change is foreseen.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - What a command does, only the command knows.
options:
  release:
    description: The release's id.
    type: str
    required: true
  command:
    description: The command, split as a shell splits words, without a shell.
    type: str
    required: true
  user:
    description: The app's user. Defaults to O(name).
    type: str
  timeout:
    description: Seconds that the command may take before it is stopped.
    type: float
    default: 7200
"""

EXAMPLES = r"""
- name: Migrate the database
  evenkeel.flask.release_exec:
    name: shop
    release: 2.0.0-1a2b3c4d5e
    command: flask --app shop db upgrade
  run_once: true
"""

RETURN = r"""
output:
  description: What the command printed, at most the last million characters.
  returned: always
  type: list
  elements: str
  sample: ["INFO  [alembic.runtime.migration] Running upgrade 0001 -> 0002"]
rc:
  description: The command's exit status.
  returned: when it was run
  type: int
  sample: 0
"""

import os
import shlex

from ansible_collections.evenkeel.flask.plugins.module_utils import _release, _stage, _venv
from ansible_collections.evenkeel.flask.plugins.module_utils._archive import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._module import AnsibleModule

# Characters. A command may print without end.
MAX_OUTPUT = 1 << 20
ARGUMENT_SPEC = {
    **_release.APP_SPEC,
    "release": {"type": "str", "required": True},
    "command": {"type": "str", "required": True},
    "user": {"type": "str"},
    "timeout": {"type": "float", "default": 7200},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    layout = _release.Layout(params["name"], params["root"])
    folder = layout.release(params["release"])
    if module.check_mode:
        module.exit_json(changed=True, output=[])
    if not os.path.isdir(folder):
        module.fail_json(msg=f"{folder} is not there. Stage the release first.", output=[])
    user, command = params["user"] or params["name"], shlex.split(params["command"])
    environment = _stage.command_environment(folder)
    try:
        rc, output = _stage.run_in(folder, user, layout, command, params["timeout"], environment)
    except ArchiveError as exc:
        module.fail_json(msg=str(exc), output=[])
    result = {"rc": rc, "output": output[-MAX_OUTPUT:].splitlines()}
    if rc != 0:
        module.fail_json(
            msg=f"{params['command']!r} ended with status {rc} in release {params['release']}: "
            f"{_venv.last_line(output)}",
            **result,
        )
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
