# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Define the input and the outcomes of a check.

A check is a file of this directory with C(TITLE), C(SPEC) (an argument spec)
and C(run(trial, settings)). It returns a C(Passed) if it passes, and otherwise raises
C(Failed), C(Skipped) or C(Inconclusive).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from .._http.client import Clock, Deadline, Request, Response, Url, fetch
from .._http.expect import Expected, evaluate
from .._http.params import join

Settings = Mapping[str, Any]
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
NOWHERE = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\])(:\d*)?")


class NotPassed(Exception):
    """The outcome of a check that does not pass. The message has the reason."""

    outcome = ""

    def __init__(self, reason: str, measured: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.measured = measured or {}


class Failed(NotPassed):
    """The candidate is not good. The message has the expected and the actual value."""

    outcome = "failed"


class Skipped(NotPassed):
    """The check does not apply."""

    outcome = "skipped"


class Inconclusive(NotPassed):
    """The check has too little information. This lets no release through."""

    outcome = "inconclusive"


@dataclass(frozen=True)
class Passed:
    """The result of a check that passed."""

    detail: str
    warnings: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HttpTarget:
    """One release, reachable over HTTP."""

    base: Url
    deadline: Deadline
    unix_socket: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    clock: Clock = time.monotonic

    def request(
        self,
        where: str | Url,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Request:
        """Build a request for a path below the base URL, or for a URL of this target."""
        if self.deadline.over:
            raise Inconclusive(f"the gate's deadline of {self.deadline.seconds:g} s was over")
        return Request(
            where if isinstance(where, Url) else Url.parse(join(str(self.base), where)),
            method=method,
            headers={**self.headers, **(headers or {})},
            body=body,
            unix_socket=self.unix_socket,
            timeout=min(self.timeout, max(self.deadline.left, 0.001)),
        )

    def fetch(
        self,
        where: str | Url,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        return fetch(self.request(where, method, headers, body), self.clock)

    def own(self, page: Url, reference: str) -> Url | None:
        """Return the URL of C(reference) on C(page) on this target, or V(None) for another site.

        An app that gets its public name in a C(Host) header writes that name into its links.
        Such links count as this target's.
        """
        url = page.join(reference)
        names = {
            self.base.netloc,
            *(v.lower() for k, v in self.headers.items() if k.lower() == "host"),
        }
        if url.netloc not in names:
            return None
        return replace(self.base, target=url.target)


@dataclass(frozen=True)
class CheckContext:
    """The candidate and all other inputs of a check."""

    candidate: HttpTarget
    live: HttpTarget | None = None
    health_path: str = "/health"
    main_path: str = "/"
    max_slowdown: float = 1.25
    may_write: bool = True
    # The release that must respond, if known.
    release: str | None = None


def expect(response: Response, expected: Expected, subject: str = "") -> None:
    """Raise C(Failed) unless the response is as expected."""
    problem = evaluate(response, expected, time.time())
    problem = problem or _leads_nowhere(response)
    if problem:
        raise Failed(f"{subject}: {problem}" if subject else problem)


def _leads_nowhere(response: Response) -> str | None:
    """Report a redirect to a name that means the client's own machine, unless the request had that name."""
    location = response.headers.get("Location") or ""
    netloc = urlsplit(location).netloc.lower()
    if not NOWHERE.fullmatch(netloc) or netloc == response.url.netloc:
        return None
    return f"{response.status} leads visitors to their own machine ({location.partition('?')[0][:80]!r})"
