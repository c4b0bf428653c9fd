# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the module which run this is. Documented in plugins/modules/preflight.py."""

from __future__ import annotations

from . import rollout_lock


class ActionModule(rollout_lock.ActionModule):
    """Its lock is taken as that of C(rollout_lock) is."""
