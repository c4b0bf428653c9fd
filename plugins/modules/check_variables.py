# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse mistyped, missing and invalid variables of the collection's roles
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Checks the variables of a host against the argument specs of the roles, and reports all errors together. Argument
    specs alone accept a mistyped name, and stop at the first wrong value.
  - Runs on the controller, without a connection to the host.
  - Refuses every unknown name that begins with C(flask_app_), C(gunicorn_), C(redis_client_) or C(rollout_). Roles of
    other authors also use C(logging_), C(nginx_) and C(profile_). Of these, only near misses of a name of this
    collection are refused.
  - Checks that C(flask_app_source) and C(flask_app_requirements) exist on the controller. Relative paths start at the
    directory of the inventory, or of the playbook if there is no inventory file.
  - Refuses a host with the address of another host of the play.
notes:
  - Names that begin with C(_) belong to the roles and are not checked.
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
    description: The roles whose variables are checked. All roles of the collection by default.
    type: list
    elements: str
  required:
    description: Further variables that must be set.
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
  description: The errors, each with the variable's name and the remedy. The message has one per line.
  returned: always
  type: list
  elements: str
  sample: ["gunicorn_worker: no such variable; did you mean gunicorn_workers?"]
paths:
  description: Absolute paths of C(flask_app_source) and C(flask_app_requirements), if these are paths.
  returned: always
  type: dict
  sample: {flask_app_source: /home/me/shop}
"""
