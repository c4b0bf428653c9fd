# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Match all encodings of a path."""

from __future__ import annotations

DOCUMENTATION = r"""
name: url_path_pattern
short_description: Return a regular expression for all encodings of a path
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - Any character of a path can be percent-encoded. An app decodes the path before it routes the request, so to the app
    all encodings are one path.
  - The expression matches only these encodings, in PCRE. Dot segments and repeated slashes are other paths to an app.
options:
  _input:
    description: A path, percent-encoded or not.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show a pattern
  ansible.builtin.debug:
    msg: "{{ '/health' | evenkeel.flask.url_path_pattern }}"
"""

RETURN = r"""
_value:
  description: The expression, without anchors, and without a space, a quote or a brace.
  type: str
"""

from typing import Callable
from urllib.parse import unquote_to_bytes


def url_path_pattern(path: str) -> str:
    return "".join(map(_ways, unquote_to_bytes(path)))


def _ways(byte: int) -> str:
    character = chr(byte)
    literal = character if character.isascii() and character.isalnum() else f"\\x{byte:02x}"
    digits = "".join(
        digit if digit.isdigit() else f"[{digit}{digit.upper()}]" for digit in f"{byte:02x}"
    )
    return f"(?:{literal}|%{digits})"


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"url_path_pattern": url_path_pattern}
