# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe the state of a host at which a run stopped."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stop_message
short_description: Describe the state of a host at which a run stopped before the first switch
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - Describes only state that was read after the stop, and changes that are impossible before the step.
positional: host, step
options:
  _input:
    description: The returned values of M(evenkeel.flask.release_info) after the stop.
    type: dict
    required: true
  host:
    description: The host.
    type: str
    required: true
  step:
    description: The step at which the run stopped.
    type: str
    choices: [preflight, setup, stage, choose]
    required: true
  release:
    description: The release that the run should make live, if known.
    type: str
    default: ""
  migration:
    description: The returned values of M(evenkeel.flask.release_exec) for the migration, if it ran.
    type: dict
    default: {}
  check_mode:
    description: Whether the run was in check mode.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the state of the host
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
    sentences = [f"{host}: {STEPS[step]}."]
    if check_mode:
        return f"{sentences[0]} This was a check; nothing was changed."
    if step == "stage":
        sentences.append(_migration(migration or {}))
    if "releases" not in found:
        reason = str(found.get("msg") or "it did not answer").rstrip(".")
        return " ".join([*sentences, f"What stands on the host now is not known: {reason}."])
    if step == "setup":
        stands = ", ".join(found.get("present") or []) or "nothing of the app"
        sentences.append(f"These stand on it now: {stands}.")
    if step == "stage":
        is_staged = release and release in found["releases"]
        what = release or "The new release"
        sentences.append(f"{what} is {'staged here' if is_staged else 'not staged here'}.")
    live = found.get("live")
    if not live:
        sentences.append("No release is live here.")
    elif found.get("healthy"):
        sentences.append(f"{live} is live here, and answers.")
    else:
        sentences.append(f"{live} is live here, and does not answer as it should.")
    return " ".join(sentences)


def _migration(migration: Mapping[str, Any]) -> str:
    if migration.get("unreachable"):
        return "The host was lost while the migration ran; it may have changed the database."
    if "rc" not in migration:
        return "This run has not migrated the database."
    if migration["rc"] == 0:
        return "This run has migrated the database, and it stays so."
    return "The migration failed; it may have changed a part of the database."


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stop_message": stop_message}
