#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command in a release, in the environment of the app."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_exec
short_description: Run a command in a release with the app's user, venv and environment
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - For database migrations and similar commands. The command runs in the release's source directory, with the programs
    of its venv first in the path, and with the app's own environment.
  - It runs with the properties of the slot's unit C(<name>@.service), including its sandbox and its drop-ins. The only
    difference is C(PYTHONPATH), which names the folders of the app. C(EVENKEEL_SLOT) is V(none).
  - The secrets of the app are on no command line.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
attributes:
  check_mode:
    support: partial
    details:
      - The command does not run, and a change is predicted.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - The effects of the command are not known.
options:
  release:
    description: The release's id.
    type: str
    required: true
  command:
    description: The command, split into words as a shell does, and run without a shell.
    type: str
    required: true
  user:
    description: The app's user. Defaults to O(name).
    type: str
  timeout:
    description: The timeout of the command in seconds. After it the command is stopped.
    type: float
    default: 7200
  lock_timeout:
    description:
      - The maximum wait in seconds of a statement of the command for a lock in PostgreSQL, by C(PGOPTIONS). V(0) is no
        limit.
      - A C(lock_timeout) in the app's own C(PGOPTIONS) is not changed.
    type: int
    default: 0
  retries:
    description:
      - The number of repetitions of the command after a lock timeout, and after no other failure. It waits 5 seconds
        before the first one, then twice as long each time, plus up to 20 % at random.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Migrate the database
  evenkeel.flask.release_exec:
    name: shop
    release: 2.0.0-1a2b3c4d5e
    command: flask --app shop db upgrade
    lock_timeout: 5
    retries: 3
  run_once: true
"""

RETURN = r"""
output:
  description: The output of the command, at most the last million characters.
  returned: always
  type: list
  elements: str
  sample: ["INFO  [alembic.runtime.migration] Running upgrade 0001 -> 0002"]
rc:
  description: The command's exit status.
  returned: when it was run
  type: int
  sample: 0
attempts:
  description: The number of times that the command ran.
  returned: when it was run
  type: int
  sample: 1
invalid_indexes:
  description: Indexes that this run has left invalid. They must be removed before the next one.
  returned: when it was run
  type: list
  elements: str
  sample: []
"""

import os
import random
import time
from collections.abc import Sequence

from ..module_utils._errors import ArchiveError
from ..module_utils._migrations import lock_timeout, pg_catalog
from ..module_utils._module import AnsibleModule
from ..module_utils._release import layout as release_layout
from ..module_utils._release import stage
from ..module_utils._services import postgres
from ..module_utils._system import process

ASK_SECONDS = 5
# Characters. The output of a command has no limit.
MAX_OUTPUT = 1 << 20
ARGUMENT_SPEC = {
    **release_layout.APP_SPEC,
    "release": {"type": "str", "required": True},
    "command": {"type": "str", "required": True},
    "user": {"type": "str"},
    "timeout": {"type": "float", "default": 7200},
    "lock_timeout": {"type": "int", "default": 0},
    "retries": {"type": "int", "default": 0},
}


def locked_out(seconds: int, outcome: lock_timeout.Outcome, url: str) -> str:
    """Return which lock a migration did not get, and which session holds it."""
    table = lock_timeout.blocked_table(outcome.output)
    holders = pg_catalog.holders(url, ASK_SECONDS, table) if table and url else []
    attempts = f"{outcome.attempts} attempt{'' if outcome.attempts == 1 else 's'}"
    return (
        f"flask_app_migrate_command: no lock on {table or 'a table'} within {seconds} s, {attempts}"
        f"{'; ' if holders else ''}{', '.join(holders[:3])}. This run has switched nothing. End what holds "
        "the lock, and run it again."
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    layout = release_layout.Layout(params["name"], params["root"])
    folder = layout.release(params["release"])
    if module.check_mode:
        module.exit_json(changed=True, output=[])
    if not os.path.isdir(folder):
        module.fail_json(msg=f"{folder} is not there. Stage the release first.", output=[])
    user = params["user"] or params["name"]
    try:
        command = stage.words(params["command"])
        url = stage.database_url(folder)
        own = stage.environment(folder).get("PGOPTIONS", "")
    except (ArchiveError, OSError) as exc:
        module.fail_json(msg=str(exc), output=[])
    url = url if params["lock_timeout"] and postgres.is_postgres_url(url) else ""
    settings = lock_timeout.options(params["lock_timeout"], own)
    words = [f"PGOPTIONS={settings}", *command] if settings else command
    remedies: dict[str, str] = {}

    def invalid() -> Sequence[str]:
        found = pg_catalog.invalid_indexes(url, ASK_SECONDS) if url else []
        remedies.update({index.name: index.remedy for index in found})
        return [index.name for index in found]

    variables = stage.command_environment(folder)
    try:
        outcome = lock_timeout.run(
            lambda: stage.run_in(folder, user, layout, words, params["timeout"], variables),
            params["retries"],
            time.sleep,
            random.random,
            invalid,
        )
    except (ArchiveError, OSError) as exc:
        module.fail_json(msg=str(exc), output=[])
    output = outcome.output
    result = {
        "rc": outcome.status,
        "output": output[-MAX_OUTPUT:].splitlines(),
        "attempts": outcome.attempts,
        "invalid_indexes": list(outcome.left),
    }
    if outcome.status == 0:
        module.exit_json(changed=True, **result)
    message = (
        f"{params['command']!r} ended with status {outcome.status} in release {params['release']}: "
        f"{process.last_line(output)}"
    )
    if outcome.is_locked_out and settings:
        message = locked_out(params["lock_timeout"], outcome, url)
    if outcome.left:
        advice = " ".join(remedies[name] for name in outcome.left)
        message += (
            f" It left {', '.join(outcome.left)} as an invalid index; remove it before the next run: "
            f"{advice}"
        )
    module.fail_json(msg=message, **result)


if __name__ == "__main__":
    main()
