# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP for a layer in front of the app: content encodings and conditional requests.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and Flask.
"""

from __future__ import annotations

import functools
import gzip
from typing import Any

from werkzeug.datastructures import Accept
from werkzeug.http import is_resource_modified, parse_accept_header

Headers = list[tuple[str, str]]

# As nginx's gzip_comp_level, gzip_min_length and gzip_types have it.
LEVEL = 6
WORTH_BYTES = 1024
TYPES = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/xml",
        "image/svg+xml",
        "text/css",
        "text/html",
        "text/javascript",
        "text/plain",
        "text/xml",
    }
)


# Browsers send a handful of different ones.
@functools.lru_cache(256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is welcome, by the header of that name (RFC 9110, 12.5.3)."""
    return parse_accept_header(accept_encoding, Accept).quality("gzip") > 0


def compressed(mimetype: str, body: bytes) -> bytes | None:
    """The body by gzip, where that is worth it."""
    if mimetype not in TYPES or len(body) < WORTH_BYTES:
        return None
    # Without the time in it, the same comes out on every host.
    smaller = gzip.compress(body, LEVEL, mtime=0)
    return smaller if len(smaller) < len(body) else None


def of_not_modified(environ: dict[str, Any], headers: Headers) -> Headers | None:
    """Return the headers of the 304 if the client has the response (RFC 9110, 15.4.5), else None."""
    names = {name.lower(): value for name, value in headers}
    etag, modified = names.get("etag"), names.get("last-modified")
    if not (etag or modified) or is_resource_modified(environ, etag, None, modified):
        return None
    return [item for item in headers if not item[0].lower().startswith("content-")]
