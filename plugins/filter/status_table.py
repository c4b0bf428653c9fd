# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet at a glance."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Lay out what M(evenkeel.flask.release_info) found on each host as a table
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - One line for each host. A host that could not be asked is in the table too.
options:
  _input:
    description: What was found, by host. A host without an entry could not be asked.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ {'app1': found} | evenkeel.flask.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines of the table.
  type: list
  elements: str
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.evenkeel.flask.plugins.plugin_utils._table import lay_out

HEAD = ("host", "live release", "slot", "candidate", "previous", "since", "drift", "healthy")


def _row(host: str, info: Mapping[str, Any] | None) -> tuple[str, ...]:
    if not info or "live" not in info:
        return (host, *["?"] * (len(HEAD) - 2), "unreachable")
    live = str(info["live"] or "-")
    if info["answering"] != info["live"]:
        live = f"{live}, but {info['answering'] or 'nobody'} answers"
    values = (info["live_slot"], info["candidate"], info["previous"], info["since"])
    return (
        host,
        live,
        *(str(value or "-") for value in values),
        ", ".join(info.get("drift") or ()) or "-",
        "yes" if info["healthy"] else "NO",
    )


def status_table(found: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    return lay_out([HEAD, *(_row(host, info) for host, info in found.items())])


class FilterModule:
    """Make the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"status_table": status_table}
