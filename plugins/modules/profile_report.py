# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: profile_report
short_description: Store the profiles of a fleet as JSON and HTML, and read earlier ones
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - C(profile.json) is for programs, and for O(compare) in a later run. C(profile.html) is one self-contained page with
    a table, latencies and waits of each endpoint. With O(compare) it shows the earlier figures also.
  - Runs on the controller. Replaces the files of an earlier run in the same folder.
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
      - A report contains its time.
options:
  dest:
    description:
      - A folder on the controller, created if necessary. A relative path starts at the inventory's directory.
      - Without it nothing is written.
    type: str
    default: ""
  app:
    description: The app's name.
    type: str
    required: true
  profiles:
    description: >-
      The returned values of M(evenkeel.flask.endpoint_profile) by host. A host without measurements is left out.
    type: dict
    required: true
  compare:
    description: The C(profile.json) of an earlier run, relative to the inventory's directory.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Store the profiles
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
  description: The profiles by host, without fields that Ansible added.
  returned: success
  type: dict
  sample: {}
before:
  description: The profiles of the earlier run; empty without O(compare).
  returned: success
  type: dict
  sample: {}
"""
