# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give static files names that change with their content, so that browsers can store them for a year.

C(url_for) adds the digest of a static file's content to its URL, C(?v=...). nginx has the file under
that digest while any stored release refers to it. So pages of the predecessor find their own files
after a switch. A link that was written by hand has no digest. It gets the release's own file, with
the headers that the app set at the stage step, without a call of the app.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and Flask.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable
from urllib.parse import unquote_to_bytes, urlsplit

import flask
from evenkeel_http import of_not_modified, takes_gzip
from werkzeug.http import http_date
from werkzeug.test import Client
from werkzeug.wsgi import wrap_file

VERSION = "v"
DIGITS = 16
YEAR_SECONDS = 365 * 24 * 3600
MOST_FILES = 5000
# The headers that Flask sets for each file, and this collection for all responses. An app that sets other
# headers needs them, and nginx would not send them.
USUAL_HEADERS = {
    "accept-ranges",
    "cache-control",
    "cache-status",
    "content-disposition",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "x-cache",
    "x-release",
    "x-request-id",
}

# The rest of them is of one answer.
LASTING_HEADERS = ("accept-ranges", "cache-control", "content-disposition", "content-type")

UNKNOWN = "application/octet-stream"
# Types that have two names, of which Python or the host may choose either.
OTHER_NAMES = {
    "application/javascript": "text/javascript",
    "application/xml": "text/xml",
    "image/x-icon": "image/vnd.microsoft.icon",
}

WsgiApp = Callable[..., Iterable[bytes]]
# By endpoint and file name: the digest of what is in it.
Versions = Mapping[str, Mapping[str, str]]


def read(path: str) -> list[dict[str, Any]]:
    """The files that staging published; none while it is at it."""
    try:
        with open(path, encoding="utf-8") as stream:
            files: list[dict[str, Any]] = json.load(stream)["files"]
    except FileNotFoundError:
        return []
    return files


def versions_of(files: Iterable[Mapping[str, Any]]) -> Versions:
    versions: dict[str, dict[str, str]] = {}
    for file in files:
        versions.setdefault(file["endpoint"], {})[file["name"]] = file["version"]
    return versions


def lay_under(versions: Versions) -> None:
    """Make Flask put versions into URLs, and let browsers store a file that was requested with its version."""
    inject: Callable[..., None] = flask.Flask.inject_url_defaults

    def inject_url_defaults(self: Any, endpoint: str, values: dict[str, Any]) -> None:
        inject(self, endpoint, values)
        # An app that passes more values may have its own versions.
        if set(values) == {"filename"} and endpoint in versions:
            version = versions[endpoint].get(str(values["filename"]))
            if version:
                values[VERSION] = version

    flask.Flask.inject_url_defaults = inject_url_defaults  # type: ignore[method-assign]
    for owner in (flask.Flask, flask.Blueprint):
        _keep_for_a_year(owner, versions)


def _keep_for_a_year(owner: Any, versions: Versions) -> None:
    usual = owner.get_send_file_max_age

    def get_send_file_max_age(self: Any, filename: str | None) -> Any:
        version = flask.request.args.get(VERSION)
        known = versions.get(flask.request.endpoint or "", {}).get(str(filename))
        return YEAR_SECONDS if version and version == known else usual(self, filename)

    owner.get_send_file_max_age = get_send_file_max_age


class StaticFiles:
    """Serve published files that are requested without their version.

    The app responds to all requests that are not for a whole file.

    @param root: the folder of the published files
    @param files: the result of C(read)
    @param compresses: whether the compressed copies of files are served to clients that accept gzip
    """

    def __init__(
        self,
        app: WsgiApp,
        root: str,
        files: Iterable[Mapping[str, Any]],
        compresses: bool = True,
    ) -> None:
        self.app = app
        self.files = {}
        for file in files:
            path = unquote_to_bytes(urlsplit(file["url"]).path)
            place = os.path.join(root, file["version"], os.fsdecode(path).lstrip("/"))
            headers = list(map(tuple, file["headers"]))
            # As WSGI has it (PEP 3333, "Unicode Issues").
            self.files[path.decode("latin-1")] = (
                file["version"],
                place,
                compresses and os.path.exists(f"{place}.gz"),
                headers,
            )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        found = self.files.get(environ.get("PATH_INFO", ""))
        is_whole = (
            environ["REQUEST_METHOD"] in ("GET", "HEAD")
            and "HTTP_RANGE" not in environ
            and f"{VERSION}=" not in environ.get("QUERY_STRING", "")
        )
        if found is None or not is_whole:
            return self.app(environ, start_response)
        version, place, has_compressed, headers = found
        headers = [*headers]
        if has_compressed:
            headers.append(("Vary", "Accept-Encoding"))
            if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
                headers.append(("Content-Encoding", "gzip"))
                version, place = f"{version}-gzip", f"{place}.gz"
        try:
            # The server closes it after the response.
            stream = open(place, "rb")  # noqa: SIM115
        except OSError:
            return self.app(environ, start_response)
        status = os.fstat(stream.fileno())
        headers += [("ETag", f'"{version}"'), ("Last-Modified", http_date(status.st_mtime))]
        kept = of_not_modified(environ, headers)
        if kept is not None:
            stream.close()
            start_response("304 Not Modified", kept)
            return []
        start_response("200 OK", [*headers, ("Content-Length", str(status.st_size))])
        if environ["REQUEST_METHOD"] == "HEAD":
            stream.close()
            return []
        return wrap_file(environ, stream)


def listed(
    app: flask.Flask, application: Any, types: Mapping[str, str]
) -> tuple[list[dict[str, Any]], str]:
    """Return the static files that the app serves to all clients alike, and why others are not in the list.

    Each file is requested from the app. A file that the app serves only to users who are logged in,
    or with its own headers, must not be served by nginx.

    @param application: the WSGI application that gunicorn serves
    @param types: nginx's content types, by the end of the file name
    @returns: of each file the endpoint, its name there, URL, headers, path and version
    """
    found: list[dict[str, Any]] = []
    refused = ""
    client = Client(application)
    for endpoint, folder in _folders(app):
        for name in _names(folder):
            if len(found) >= MOST_FILES:
                return found, f"there are more than {MOST_FILES}"
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                content = stream.read()
            with app.test_request_context():
                url = flask.url_for(endpoint, filename=name)
            answer = client.get(url)
            end = name.rpartition(".")[2].lower()
            why = _special(answer, content, types.get(end, UNKNOWN))
            if why:
                refused = f"{url} {why}"
            else:
                version = hashlib.sha256(content).hexdigest()[:DIGITS]
                found.append(
                    {
                        "endpoint": endpoint,
                        "name": name,
                        "url": url,
                        "headers": [
                            [name, value]
                            for name, value in answer.headers
                            if name.lower() in LASTING_HEADERS
                        ],
                        "path": path,
                        "version": version,
                    }
                )
    return found, refused


def _folders(app: flask.Flask) -> Iterator[tuple[str, str]]:
    owners: list[tuple[str, Any]] = [("static", app)]
    owners += [(f"{name}.static", blueprint) for name, blueprint in app.blueprints.items()]
    known = {rule.endpoint for rule in app.url_map.iter_rules()}
    for endpoint, owner in owners:
        if endpoint in known and owner.static_folder and os.path.isdir(owner.static_folder):
            yield endpoint, owner.static_folder


def _names(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield os.path.relpath(path, folder).replace(os.sep, "/")


def _special(answer: Any, content: bytes, type_of_nginx: str) -> str:
    """Return why nginx would not send the same response, or an empty string."""
    if answer.status_code != 200:
        return f"is answered by {answer.status_code}"
    if answer.get_data() != content:
        return "is not what is in the file"
    if answer.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        return f"is {answer.content_type}"
    mimetype = OTHER_NAMES.get(answer.mimetype, answer.mimetype)
    if mimetype != type_of_nginx:
        return f"is {mimetype}, and by nginx would be {type_of_nginx}"
    more = sorted({name.lower() for name, _value in answer.headers} - USUAL_HEADERS)
    return f"has headers of its own: {', '.join(more)}" if more else ""
