#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create the directories that an app writes to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_directories
short_description: Create the directories that an app writes to, without following links of the app
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Root creates O(path) for the app's user. All paths below are created with the rights of that user, because the app
    can replace them. So a link from a compromised app gives it no access to other files.
  - A link that root created in a directory of root is followed, for example from O(path) itself to a data disk. Any
    other link, and any file in place of a directory, fails the task with its name.
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
  path:
    description: The app's directory, with mode 0750. Missing parent directories are created for root.
    type: path
    required: true
  user:
    description: The app's user, which has a group of the same name.
    type: str
    required: true
  below:
    description:
      - Paths in O(path). If the last part has an extension, such as V(app.db), it names a file. The app creates the
        file itself, and only the directories above it are created. With a slash at its end a path names a directory.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Create the directories that survive every release
  evenkeel.flask.app_directories:
    path: /srv/shop/shared
    user: shop
    below: [instance, media/uploads, shop.db]
"""

RETURN = r"""
changes:
  description: The changes, or the predicted changes in check mode.
  returned: success
  type: list
  elements: str
  sample: ["create /srv/shop/shared/instance"]
"""

from typing import Any

from ..module_utils import _errors
from ..module_utils._module import AnsibleModule
from ..module_utils._system import app_directories

ARGUMENT_SPEC = {
    "path": {"type": "path", "required": True},
    "user": {"type": "str", "required": True},
    "below": {"type": "list", "elements": "str", "default": []},
}


def make(params: dict[str, Any], check_mode: bool) -> app_directories.Outcome:
    path, user = params["path"], params["user"]
    if not path.startswith("/"):
        raise _errors.PathProblem(f"{path} is not absolute; write it from the root on")
    owner = app_directories.Owner.find(user)
    if owner is not None:
        return app_directories.make(path, params["below"], owner, check_mode)
    if check_mode:
        # An earlier task would have created the user, so nothing exists yet.
        return app_directories.Outcome([f"create {path}"])
    raise _errors.PathProblem(
        f"user: this host has no user {user} with a group of that name; run the playbook "
        "evenkeel.flask.site, which makes both"
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        outcome = make(module.params, module.check_mode)
    except _errors.PathProblem as problem:
        module.fail_json(msg=f"{problem}.")
    except OSError as error:
        module.fail_json(msg=f"{error}")
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=bool(outcome.changes),
        changes=outcome.changes,
        diff={"before": "", "after": "".join(f"{change}\n" for change in outcome.changes)},
    )


if __name__ == "__main__":
    main()
