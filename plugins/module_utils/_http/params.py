# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a module's parameters to the parts of a request, and name its secret ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .._errors import ArgumentError

Params = Mapping[str, Any]
# Only the values of these headers may be shown. Any other header can be a secret.
_HARMLESS = re.compile(
    r"accept|accept-(charset|encoding|language)|cache-control|connection|content-(encoding|language|type)|date|expect|host"
    r"|if-(match|modified-since|none-match|unmodified-since)|origin|pragma|range|user-agent"
    r"|x-forwarded-(for|host|port|prefix|proto)|x-real-ip|x-request-id|x-requested-with",
    re.IGNORECASE,
)


def join(base_url: str, path: str) -> str:
    """Join C(path) to C(base_url), which can have a path of its own."""
    return f"{base_url.rstrip('/')}/{path.lstrip('/')}"


def headers_of(given: Params | None) -> dict[str, str]:
    """Return headers as strings; YAML makes numbers and booleans of some."""
    return {str(name): str(value) for name, value in (given or {}).items()}


def body_of(given: Params, headers: dict[str, str]) -> bytes | None:
    """Return the body of a request. A JSON body sets the content type in C(headers)."""
    if given.get("body_json") is None:
        body = given.get("body")
        return None if body is None else str(body).encode("utf-8", "surrogateescape")
    if given.get("body") is not None:
        raise ArgumentError("name either a body or a body_json.")
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return json.dumps(given["body_json"]).encode()


def secrets(headers: Mapping[str, Any] | None) -> set[str]:
    """Return the values of all headers that are not known to be harmless, for Ansible to mask."""
    found = (headers or {}).items()
    return {str(value) for name, value in found if value and not _HARMLESS.fullmatch(str(name))}
