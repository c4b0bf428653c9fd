# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the app's environment from the parameters, and keep C(no_log) from masking ids and paths."""

from __future__ import annotations

from typing import Any

# A shorter value is not a secret, and masking it would make messages unreadable. In characters.
MIN_SECRET = 4


def take(module: Any) -> tuple[dict[str, str], set[str]]:
    """Return the environment, and its values that a failure must mask as C(no_log_values).

    AnsibleModule masks the values of an argument everywhere. A value such as V(1), or the app's own
    name, is part of the returned ids and paths, and the next task needs these unchanged. So nothing
    is masked afterwards, and only the names of the argument itself remain.
    """
    environment = {name: str(value) for name, value in module.params["environment"].items()}
    module.params["environment"] = sorted(environment)
    secrets = {value for value in module.no_log_values if len(value) >= MIN_SECRET}
    module.no_log_values = set()
    return environment, secrets
