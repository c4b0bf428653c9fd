# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the hosts on which a person rolled a release back."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rolled_back
short_description: List the hosts on which a person rolled back a release
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - One line for each host whose history has a rollback from the release, or from another release with the same code.
positional: release, digest
options:
  _input:
    description: RV(evenkeel.flask.release_info#module:rolled_back) by host.
    type: dict
    required: true
  release:
    description: The release.
    type: str
    required: true
  digest:
    description: The digest of its code.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the rollbacks
  ansible.builtin.debug:
    msg: "{{ {'app1': info.rolled_back} | evenkeel.flask.rolled_back('2.0.0-1a2b3c4d5e') }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable


def rolled_back(
    found: Mapping[str, Sequence[Mapping[str, Any]] | None], release: str, digest: str = ""
) -> list[str]:
    lines = []
    for host, rollbacks in found.items():
        for one in rollbacks or []:
            if one["release"] == release:
                what = f"{release} was rolled back"
            elif digest and one.get("digest") == digest:
                what = f"{release} has the code of {one['release']}, which was rolled back"
            else:
                continue
            lines.append(
                f"{what} on {host} at {one.get('time') or 'an unknown time'} by "
                f"{one.get('who') or 'somebody'} from {one.get('controller') or 'an unknown controller'}, to "
                f"{one.get('to') or 'nothing'}"
            )
    return lines


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rolled_back": rolled_back}
