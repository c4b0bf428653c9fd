# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the environment of an app."""

from __future__ import annotations

DOCUMENTATION = r"""
name: app_environment
short_description: Build the environment of an app
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - Adds the variables in which Flask apps expect the URLs of their services. Variables of the user have priority.
positional: secrets
options:
  _input:
    description: Environment variables.
    type: dict
    required: true
  secrets:
    description: Further environment variables.
    type: dict
    default: {}
  database_url:
    description: Becomes C(DATABASE_URL) and C(SQLALCHEMY_DATABASE_URI).
    type: str
    default: ""
  redis_url:
    description: Becomes C(REDIS_URL).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the environment of the app
  ansible.builtin.debug:
    msg: "{{ {'LANG': 'C.UTF-8'} | evenkeel.flask.app_environment(redis_url='redis://data:6379/0') }}"
"""

RETURN = r"""
_value:
  description: All the variables, as strings.
  type: dict
"""

from collections.abc import Mapping
from typing import Any, Callable


def app_environment(
    env: Mapping[str, Any],
    secrets: Mapping[str, Any] | None = None,
    database_url: str = "",
    redis_url: str = "",
) -> dict[str, str]:
    derived = {
        "DATABASE_URL": database_url,
        "SQLALCHEMY_DATABASE_URI": database_url,
        "REDIS_URL": redis_url,
    }
    known = {name: value for name, value in derived.items() if value}
    return {name: str(value) for name, value in {**known, **env, **(secrets or {})}.items()}


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"app_environment": app_environment}
