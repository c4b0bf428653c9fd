# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect content that a response in production must not have: tracebacks, debuggers, versions."""

from __future__ import annotations

import re

from .._http.client import Response

_MARKS = {
    "a traceback": re.compile(r"Traceback \(most recent call last\)"),
    "a debugger": re.compile(r"__debugger__=|werkzeug\.debug|Werkzeug Debugger|// Werkzeug|EVALEX"),
}
_VERSION = re.compile(r"\b(Werkzeug|Flask|Python|gunicorn|nginx|waitress|uWSGI)/\d", re.IGNORECASE)
_NGINX_PAGE = re.compile(r"<center>nginx/\d")


def leak(response: Response) -> str | None:
    """Return what the response discloses, or V(None)."""
    text = response.text()
    for name, mark in _MARKS.items():
        if mark.search(text):
            return name
    for header in ("Server", "X-Powered-By", "Via"):
        found = _VERSION.search(response.headers.get(header) or "")
        if found:
            return f"the version of {found.group(1)} in the header {header}"
    return "the version of nginx" if _NGINX_PAGE.search(text) else None
