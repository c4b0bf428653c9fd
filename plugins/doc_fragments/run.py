# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that identify a run and its lock. The action plugins set them."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of RUN_SPEC in plugins/module_utils/_release/lock.py."""

    DOCUMENTATION = r"""
options:
  run:
    description: The identity of the run. By default the C(ansible-playbook) process of this task.
    type: str
  who:
    description: The user that started the run. By default the user of AWX, or of the controller.
    type: str
  controller:
    description: The controller of the run. By default the controller's host name.
    type: str
"""

    # The options that TAKE_SPEC adds.
    LOCK = r"""
options:
  force:
    description: Take the lock from the run that holds it.
    type: bool
    default: false
  gone:
    description: >-
      A run that has ended without giving its lock back. By default it is found out of one that was started on this
      controller.
    type: str
    default: ""
"""
