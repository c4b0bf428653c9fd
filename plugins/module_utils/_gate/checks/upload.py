# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that a file is uploaded and read back unchanged, and that a file too large gets status 413."""

from __future__ import annotations

import uuid
from typing import Any

from ..._errors import ArgumentError, HttpError
from ..._http import json_shape
from ..._http.client import Response, Url
from ..._http.expect import Expected
from ..check import CheckContext, Failed, HttpTarget, Passed, Settings, Skipped, expect

TITLE = "File Upload"
SPEC: dict[str, Any] = {
    "path": {"type": "str"},
    "field": {"type": "str", "default": "file"},
    "filename": {"type": "str", "default": "evenkeel-gate.txt"},
    "status": {"type": "list", "elements": "int", "default": [200, 201]},
    "read_back": {"type": "str"},
    "delete": {"type": "bool", "default": False},
    "max_bytes": {"type": "int"},
}


def run(trial: CheckContext, settings: Settings) -> Passed:
    if not settings["path"]:
        raise Skipped("no path is named (checks.upload.path)")
    if not trial.may_write:
        raise Skipped("it writes, and this is check mode")
    site = trial.candidate
    content = f"Written by the gate of evenkeel.flask, {uuid.uuid4()}\n".encode()
    answer = send(site, settings, content)
    expect(answer, Expected(status=settings["status"]))
    done = ["uploaded"]
    warnings = []
    url = place(site, settings, answer)
    if url:
        read_back(site, url, content)
        done.append("read back")
        if settings["delete"]:
            status = site.fetch(url, "DELETE").status
            if status >= 300:
                warnings.append(f"{url.path} was left behind: DELETE answered {status}")
            else:
                done.append("deleted")
    if settings["max_bytes"] is not None:
        if settings["delete"] and accept(site, settings):
            done.append("taken up to the limit")
        refuse(site, settings)
        done.append("refused with 413 above the limit")
    return Passed(", ".join(done), tuple(warnings))


def send(site: HttpTarget, settings: Settings, content: bytes) -> Response:
    headers, body = form(settings, content)
    return site.fetch(settings["path"], "POST", headers, body)


def form(settings: Settings, content: bytes) -> tuple[dict[str, str], bytes]:
    boundary = uuid.uuid4().hex
    head = (
        f"--{boundary}\r\nContent-Disposition: form-data; "
        f'name="{quoted(settings["field"])}"; filename="{quoted(settings["filename"])}"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def quoted(text: str) -> str:
    """Quote C(text) as browsers do between the quotes of a form's part."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def place(site: HttpTarget, settings: Settings, answer: Response) -> Url | None:
    """Return the URL of the file from the app's response, if the settings require it."""
    if not settings["read_back"]:
        return None
    try:
        reference = json_shape.lookup(json_shape.parse(answer.body), settings["read_back"])
        url = site.own(answer.url, str(reference))
    except (ValueError, LookupError, ArgumentError):
        raise Failed(
            f"the answer does not say where the file is ({settings['read_back']})"
        ) from None
    if url is None:
        raise Failed("the file is said to be on another site, where it cannot be read back")
    return url


def read_back(site: HttpTarget, url: Url, content: bytes) -> None:
    answer = site.fetch(url)
    expect(answer, Expected(), "reading back")
    if answer.body != content:
        raise Failed(f"reading back: {answer.answer.size} other bytes came than were uploaded")


def accept(site: HttpTarget, settings: Settings) -> bool:
    """Send 99 % of the limit: some apps count the form also, and Werkzeug rejects the last byte."""
    nearly = settings["max_bytes"] * 99 // 100
    room = nearly - len(form(settings, b"")[1])
    if room <= 0:
        return False
    answer = send(site, settings, b"x" * room)
    expect(answer, Expected(status=settings["status"]), f"a request of {nearly} bytes")
    url = place(site, settings, answer)
    if url:
        site.fetch(url, "DELETE")
    return True


def refuse(site: HttpTarget, settings: Settings) -> None:
    limit = settings["max_bytes"]
    try:
        answer = send(site, settings, b"x" * (limit + 1))
    except HttpError as error:
        raise Failed(f"a file above {limit} bytes: {error}, wanted 413") from None
    if answer.status < 300 and settings["delete"]:
        url = place(site, settings, answer)
        if url:
            site.fetch(url, "DELETE")
    expect(answer, Expected(status=(413,)), f"a file above {limit} bytes")
