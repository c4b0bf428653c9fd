# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: profile_report
short_description: Save what was measured on a fleet as JSON and HTML, and read what was measured before
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - C(profile.json) is for programs, and for O(compare) in a later run. C(profile.html) is one page that needs nothing else,
    with a table, latencies and waits of each endpoint; with O(compare), before beside after.
  - Runs on the controller. What an earlier run saved in the same folder is replaced.
extends_documentation_fragment:
  - evenkeel.flask.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - A report says when it was made.
options:
  dest:
    description:
      - A folder on the controller, made if need be. A relative path starts at the inventory's directory.
      - Without it nothing is written.
    type: str
    default: ""
  app:
    description: The app's name.
    type: str
    required: true
  profiles:
    description: What M(evenkeel.flask.endpoint_profile) returned, by host. A host that measured nothing is left out.
    type: dict
    required: true
  compare:
    description: The C(profile.json) of an earlier run, seen from the inventory's directory.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Save what was measured
  evenkeel.flask.profile_report:
    dest: profiles/after
    app: shop
    profiles: "{{ {inventory_hostname: measured} }}"
    compare: profiles/before/profile.json
"""

RETURN = r"""
files:
  description: The files that were written.
  returned: success
  type: list
  elements: str
  sample: [/home/me/inventory/profiles/after/profile.json]
hosts:
  description: What was measured, by host, without what Ansible added.
  returned: success
  type: dict
  sample: {}
before:
  description: The same of the earlier run; empty without O(compare).
  returned: success
  type: dict
  sample: {}
"""
