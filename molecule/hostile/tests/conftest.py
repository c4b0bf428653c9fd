# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A victim's view of the fleet, and the attackers' tools."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import Answer, Fleet, wait_until

SITE = "shop.example"
TIMEOUT_SECONDS = 60


class Visitor:
    """One client of the site. The balancer's header gives it an address of its own."""

    _numbers = itertools.count(1)

    def __init__(self, fleet: Fleet, address: str | None = None) -> None:
        number = next(self._numbers)
        self._fleet = fleet
        self.address = address or f"198.51.{number // 250}.{number % 250 + 1}"

    def send(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        body: str | None = None,
        host: str = "app1",
    ) -> Answer:
        """Send a GET, or a POST if there is a body, with the path exactly as given."""
        sent = {"Host": SITE, "X-Forwarded-For": self.address, **(headers or {})}
        netloc = urlsplit(self._fleet.urls[host]).netloc
        connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET" if body is None else "POST", path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def log_in(self, name: str, cookie: dict[str, str] | None = None) -> dict[str, str]:
        """Log in, and return the header that carries the session."""
        form = {"Content-Type": "application/x-www-form-urlencoded", **(cookie or {})}
        answer = self.send("/login", form, f"name={name}")
        assert answer.status == 302, answer.text
        return cookie_of(answer)

    def is_member(self, cookie: dict[str, str]) -> bool:
        return self.send("/account", cookie).status == 200

    def cached(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        """Send a GET until the cache answers it, as an attacker does to get a response stored.

        A response that is never stored is returned as it is. Each worker learns for itself.
        """
        for _turn in range(30):
            answer = self.send(path, headers)
            if answer.headers["X-Cache"] == "HIT":
                break
        return answer


def cookie_of(answer: Answer) -> dict[str, str]:
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


@dataclass
class Members:
    """Users who stay logged in and request their own page continuously."""

    fleet: Fleet
    seen: int = 0
    wrong: str | None = None

    def __enter__(self) -> Members:
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(host,), daemon=True)
            for host in self.fleet.hosts
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, host: str) -> None:
        name = uuid.uuid4().hex
        # An address that the limit does not count.
        visitor = Visitor(self.fleet, "203.0.113.1")
        try:
            cookie = visitor.log_in(name)
            while not self._is_over.wait(0.2):
                answer = visitor.send("/account", cookie, host=host)
                assert (answer.status, f"Hello, {name}" in answer.text) == (200, True), answer
                self.seen += 1
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.wrong = f"{host}: {error!r}"


@pytest.fixture
def members(fleet: Fleet) -> Iterator[Members]:
    """People use the site during the test, and at its end each has seen only their own page."""
    with Members(fleet) as found:
        wait_until(lambda: found.seen or found.wrong, "members use the site")
        yield found
    assert found.wrong is None


@pytest.fixture
def another_release() -> list[str]:
    """Arguments that make a release no host has seen."""
    return ["--extra-vars", json.dumps({"flask_app_env": {"NUMBER": uuid.uuid4().hex}})]


@pytest.fixture
def attacker(fleet: Fleet) -> Visitor:
    return Visitor(fleet)


@pytest.fixture
def visitor(fleet: Fleet) -> Visitor:
    return Visitor(fleet)
