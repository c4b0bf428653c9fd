# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store cookies as a browser does, except that Secure cookies are sent over loopback also."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cookie:
    """One C(Set-Cookie) header; names of attributes are in lower case."""

    name: str
    value: str
    attributes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, header: str) -> Cookie:
        first, *rest = header.split(";")
        name, _sep, value = first.partition("=")
        attributes = {}
        for part in rest:
            key, _sep, given = part.partition("=")
            attributes[key.strip().lower()] = given.strip()
        return cls(name.strip(), value.strip(), attributes)

    @property
    def removed(self) -> bool:
        return self.attributes.get("max-age", "").startswith(("0", "-")) or not self.value

    def forged(self) -> Cookie:
        """Return the cookie with a forged value.

        A character in the middle is changed, because the last character of a signature can
        contain unused bits.
        """
        middle = len(self.value) // 2
        other = "B" if self.value[middle : middle + 1] == "A" else "A"
        return Cookie(self.name, self.value[:middle] + other + self.value[middle + 1 :])


class Jar:
    """The cookies of one client."""

    def __init__(self, cookies: Iterable[Cookie] = ()) -> None:
        self._cookies = {cookie.name: cookie for cookie in cookies}

    def take(self, headers: Iterable[str]) -> list[Cookie]:
        """Store the cookies of C(Set-Cookie) headers, and return those that were set."""
        cookies = [Cookie.parse(header) for header in headers]
        for cookie in cookies:
            if cookie.removed:
                self._cookies.pop(cookie.name, None)
            else:
                self._cookies[cookie.name] = cookie
        return [cookie for cookie in cookies if not cookie.removed]

    def forged(self) -> Jar:
        return Jar(cookie.forged() for cookie in self._cookies.values())

    def header(self) -> dict[str, str]:
        # A list, because another thread can store a cookie at the same time.
        pairs = "; ".join(
            f"{cookie.name}={cookie.value}" for cookie in list(self._cookies.values())
        )
        return {"Cookie": pairs} if pairs else {}
