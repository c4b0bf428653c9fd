# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run a module works for, and so whose lock it is. Their actions fill these options in."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of RUN_SPEC in plugins/module_utils/_release/lock.py."""

    DOCUMENTATION = r"""
options:
  run:
    description: The run. By default the C(ansible-playbook) that this task belongs to.
    type: str
  who:
    description: Who started the run. By default the user of AWX, or of the controller.
    type: str
  controller:
    description: Where the run was started. By default the controller's host name.
    type: str
"""

    # What TAKE_SPEC has beyond it.
    LOCK = r"""
options:
  force:
    description: Take the lock from whoever has it.
    type: bool
    default: false
  gone:
    description: >-
      A run that has ended without giving its lock back. By default it is found out of one that was started on this
      controller.
    type: str
    default: ""
"""
