# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves on a host that it stops at."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stop_message
short_description: Say what stands on a host where a run stopped before the first switch
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - Says only what was looked at after the stop, and what cannot have happened before the step.
positional: host, step
options:
  _input:
    description: What M(evenkeel.flask.release_info) found after the stop.
    type: dict
    required: true
  host:
    description: The host.
    type: str
    required: true
  step:
    description: Where the run stopped.
    type: str
    choices: [preflight, setup, stage, choose]
    required: true
  release:
    description: The release that was to be made live, if it is known.
    type: str
    default: ""
  migration:
    description: What M(evenkeel.flask.release_exec) returned of the migration, or nothing.
    type: dict
    default: {}
  check_mode:
    description: Whether the run was one in check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Say what stands
  ansible.builtin.debug:
    msg: "{{ found | evenkeel.flask.stop_message(inventory_hostname, 'stage', '2.0.0-1a2b3c4d5e') }}"
"""

RETURN = r"""
_value:
  description: The message.
  type: str
"""

from collections.abc import Mapping
from typing import Any, Callable

STEPS = {
    "preflight": "the run stopped in its checks, and has changed nothing on this host",
    "setup": "the run stopped while it set up this host, and has switched nothing",
    "stage": "the run stopped before the first switch",
    "choose": "the rollback stopped before the first switch",
}


def stop_message(
    found: Mapping[str, Any],
    host: str,
    step: str,
    release: str = "",
    migration: Mapping[str, Any] | None = None,
    check_mode: bool = False,
) -> str:
    said = [f"{host}: {STEPS[step]}."]
    if check_mode:
        return f"{said[0]} This was a check; nothing was changed."
    if step == "stage":
        said.append(_migration(migration or {}))
    if "releases" not in found:
        reason = str(found.get("msg") or "it did not answer").rstrip(".")
        return " ".join([*said, f"What stands on the host now is not known: {reason}."])
    if step == "setup":
        stands = ", ".join(found.get("present") or []) or "nothing of the app"
        said.append(f"These stand on it now: {stands}.")
    if step == "stage":
        is_staged = release and release in found["releases"]
        what = release or "The new release"
        said.append(f"{what} is {'staged here' if is_staged else 'not staged here'}.")
    live = found.get("live")
    if not live:
        said.append("No release is live here.")
    elif found.get("healthy"):
        said.append(f"{live} is live here, and answers.")
    else:
        said.append(f"{live} is live here, and does not answer as it should.")
    return " ".join(said)


def _migration(migration: Mapping[str, Any]) -> str:
    if migration.get("unreachable"):
        return "The host was lost while the migration ran; it may have changed the database."
    if "rc" not in migration:
        return "This run has not migrated the database."
    if migration["rc"] == 0:
        return "This run has migrated the database, and it stays so."
    return "The migration failed; it may have changed a part of the database."


class FilterModule:
    """Make the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stop_message": stop_message}
