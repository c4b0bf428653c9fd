# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the responses of an app in its production form with those of the plain app.

A part that also differs between two responses of the plain app is not compared.
"""

from __future__ import annotations

import base64
import functools
import http.client
import itertools
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from urllib.parse import urlencode

from ansible_collections.evenkeel.flask.molecule.shared.testbed import Answer

# Headers of the connection, the clock and the collection, not of an app.
NOT_THE_APPS = {
    "age",
    "cache-status",
    "connection",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
    "x-cache",
    # Of clients on the host itself only.
    "x-release",
    "x-request-id",
}
# The collection's version in URLs, an intended difference.
VERSION = re.compile(r"\?v=[0-9a-f]{16}\b")
# The boundaries of words, so that a token is one piece.
JOINT = re.compile(r"""([\s"'<>]+)""")
CSRF_TOKEN = re.compile(r'name="csrf_token"[^>]* value="([^"]+)"')


@functools.lru_cache(maxsize=64)
def parts(answer: Answer) -> dict[str, list[str]]:
    """Return the parts of a response that are compared."""
    headers = sorted(
        f"{name.lower()}: {_value(name.lower(), value)}"
        for name, value in answer.headers.items()
        if name.lower() not in NOT_THE_APPS
    )
    texts = {
        "status": str(answer.status),
        # nginx sets it, regardless of the app's value.
        "headers": "\n".join(each for each in headers if each != "vary: "),
        "body": VERSION.sub("", answer.body.decode("latin-1")),
    }
    return {name: JOINT.split(text) for name, text in texts.items()}


def _value(name: str, value: str) -> str:
    """Return a header without the intended differences."""
    if name == "vary":
        named = {each.strip().lower() for each in value.split(",")}
        return ", ".join(sorted(named - {"accept-encoding"}))
    if name == "set-cookie":
        # A session's is an id now, and is not sent for other sites.
        return re.sub(r"^session=[^;]+", "session=...", value.replace("; SameSite=Lax", ""))
    return value


def differences(plain: Sequence[Answer], optimized: Answer) -> list[str]:
    """Return the parts that differ from the plain responses, if those agree."""
    found = []
    own = parts(optimized)
    for name, pieces in own.items():
        wanted = [parts(answer)[name] for answer in plain]
        if len({len(each) for each in wanted}) > 1:
            # Not even its shape is always the same.
            continue
        if len(pieces) != len(wanted[0]):
            found.append(
                f"{name}: {_from(wanted[0], pieces)!r} became {_from(pieces, wanted[0])!r}"
            )
            continue
        found += [
            f"{name}: {piece[0]!r} became {new!r}"
            for *piece, new in zip(*wanted, pieces)
            if len(set(piece)) == 1 and piece[0] != new
        ]
    return found


def _from(pieces: Sequence[str], others: Sequence[str]) -> str:
    """The first pieces of it that are not those of the others."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(pieces, others))
    start = len(list(same))
    return "".join(pieces[start : start + 20])


def has_no_shape(plain: Sequence[Answer]) -> bool:
    """Whether it is another answer each time from beginning to end, so that there is little to compare."""
    shapes = [[len(pieces) for pieces in parts(answer).values()] for answer in plain]
    return any(shape != shapes[0] for shape in shapes)


def stands_still(plain: Sequence[Answer], optimized: Sequence[Answer]) -> bool:
    """Whether an app that never answers the same now does."""
    changes = all(parts(one) != parts(other) for one, other in itertools.combinations(plain, 2))
    return changes and any(
        parts(one) == parts(other) for one, other in itertools.combinations(optimized, 2)
    )


class Asker:
    """Asks on a host, for as long as a C(with) lasts."""

    def __init__(self, container: str, script: str) -> None:
        self._command = ["podman", "exec", "-i", container, "python3", script]

    def __enter__(self) -> Asker:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def ask(
        self, port: int, method: str, url: str, body: str | None, headers: Mapping[str, str]
    ) -> Answer:
        request = {"port": port, "method": method, "url": url, "body": body, "headers": headers}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        record = json.loads(self._process.stdout.readline())
        message = http.client.HTTPMessage()
        for name, value in record["headers"]:
            message[name] = value
        return Answer(record["status"], message, base64.b64decode(record["body"]))


class Visitor:
    """A client that stores cookies and all responses.

    @param headers: sent with each request
    """

    def __init__(self, asker: Asker, port: int, headers: Mapping[str, str]) -> None:
        self._asker = asker
        self._port = port
        self._headers = headers
        self._cookies: dict[str, str] = {}
        self.answers: list[tuple[str, Answer]] = []

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, {})

    def get_as_another(self, path: str) -> Answer:
        """Return the response for a visitor without cookies."""
        own, self._cookies = self._cookies, {}
        try:
            return self.get(path)
        finally:
            self._cookies = own

    def post(self, path: str, form: Mapping[str, object] | None = None) -> Answer:
        """Send a form, with the token of the last page that had one."""
        pages = [CSRF_TOKEN.search(answer.body.decode("latin-1")) for _path, answer in self.answers]
        tokens = [{"csrf_token": page[1]} for page in pages if page]
        body = urlencode({**(form or {}), **(tokens[-1] if tokens else {})}, doseq=True)
        return self._ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        sent = {**self._headers, **headers}
        if self._cookies:
            sent["Cookie"] = "; ".join(map("=".join, self._cookies.items()))
        answer = self._asker.ask(self._port, method, path, body, sent)
        for set_cookie in answer.headers.get_all("Set-Cookie", []):
            name, _equals, value = set_cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
            if not value or "Max-Age=0" in set_cookie:
                del self._cookies[name]
        self.answers.append((f"{method} {path}", answer))
        return answer
