# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse mistyped, missing and impossible variables of the collection's roles
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Checks the variables of a host against the argument specs of the roles, and tells all that is
    wrong at once. Argument specs alone let a mistyped name pass, and stop at the first wrong value.
  - Runs on the controller; the host is not asked.
  - Every unknown name that begins with C(flask_app_), C(gunicorn_), C(redis_client_) or C(rollout_)
    is refused. Of those that begin with C(logging_), C(nginx_) or C(profile_), which other people's roles use
    too, only near misses of a name of this collection are.
  - Looks for C(flask_app_source) and C(flask_app_requirements) on the controller. Relative paths start at the
    directory of the inventory, or of the playbook if there is no inventory file.
  - Refuses a host that has the address of another one of the play.
notes:
  - Names that begin with C(_) are the roles' own and are not looked at.
  - Values of variables that are secret by their argument spec are never shown.
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
  roles:
    description: The roles whose variables are checked. All of the collection by default.
    type: list
    elements: str
  required:
    description: More variables that must be set.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check the variables of all roles
  evenkeel.flask.check_variables:

- name: Check the variables of one role
  evenkeel.flask.check_variables:
    roles: [redis_client]
    required: [redis_client_url]
"""

RETURN = r"""
problems:
  description: What is wrong, each with the variable's name and the remedy. The message has one on each line.
  returned: always
  type: list
  elements: str
  sample: ["gunicorn_worker: no such variable; did you mean gunicorn_workers?"]
paths:
  description: Absolute paths of C(flask_app_source) and C(flask_app_requirements), where these are paths.
  returned: always
  type: dict
  sample: {flask_app_source: /home/me/shop}
"""
