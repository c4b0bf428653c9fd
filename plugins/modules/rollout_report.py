# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Write the verdicts of the gate on a fleet as HTML, JUnit XML and JSON
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - C(report.html) is one self-contained page. It has the checks of each host with their failures and reasons, the
    latencies of the live release and the candidate, and a timeline of each host. C(junit.xml) is for CI, with a suite
    for each host. C(report.json) is for programs.
  - Runs on the controller. Replaces an earlier report in the same folder.
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
    description: A folder on the controller, created if necessary. A relative path starts at the inventory's directory.
    type: str
    required: true
  app:
    description: The app's name.
    type: str
    required: true
  release:
    description: The release that was checked.
    type: str
    required: true
  verdicts:
    description:
      - The returned values of M(evenkeel.flask.rollout_gate) by host. A host without a verdict is left out. Without any
        verdict nothing is written.
    type: dict
    required: true
  registered:
    description:
      - For the timeline, the names of variables with the returned values of this collection's modules, by step, in the
        order V(stage), V(start), V(gate), V(switch), V(bake), V(withdraw), V(finish). Each host's own variables are
        read. A value without a start time is left out.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the report
  evenkeel.flask.rollout_report:
    dest: reports
    app: shop
    release: 2.0.0-1a2b3c4d5e
    verdicts: "{{ {inventory_hostname: verdict} }}"
    registered: {gate: verdict}
"""

RETURN = r"""
verdict:
  description: V(failed) or V(inconclusive) if a host has it, V(passed) if none does, V(none) without any verdict.
  returned: success
  type: str
  sample: passed
files:
  description: The files that were written.
  returned: success
  type: list
  elements: str
  sample: [/home/me/inventory/reports/report.html]
"""
