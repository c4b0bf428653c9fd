# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a module that name its app."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of APP_SPEC in plugins/module_utils/_release/layout.py."""

    DOCUMENTATION = r"""
options:
  name:
    description: The app's name.
    type: str
    required: true
  root:
    description: The directory that holds the apps.
    type: path
    default: /srv
"""
