# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_report
short_description: Write what the gate found on a fleet as HTML, JUnit XML and JSON
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - C(report.html) is one page that needs nothing else, with the checks of each host, what failed and why, and the latencies
    of the live release and the candidate, and what each host did when. C(junit.xml) is for CI, a suite for each host; C(report.json) for programs.
  - Runs on the controller. An earlier report in the same folder is replaced.
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
    description: A folder on the controller, made if need be. A relative path starts at the inventory's directory.
    type: str
    required: true
  app:
    description: The app's name.
    type: str
    required: true
  release:
    description: The release that was proven.
    type: str
    required: true
  verdicts:
    description:
      - What M(evenkeel.flask.rollout_gate) returned, by host. A host without a verdict is left out, and without any nothing
        is written.
    type: dict
    required: true
  registered:
    description:
      - For the timeline, the names of variables that have what modules of this collection returned, by step, in the order
        V(stage), V(start), V(gate), V(switch), V(bake), V(withdraw), V(finish). Each host's own are read. What says nothing
        of when it began is left out.
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
  description: V(failed) or V(inconclusive) if it is so on one host, V(passed) if on none, V(none) if no host has one.
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
