# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the parts of an HTML page that the checks need."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_ASSET_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}


@dataclass
class Form:
    """The fields of a form: those that the user fills in, and those with a value."""

    fields: set[str] = field(default_factory=set)
    hidden: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """A page's assets and forms."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.assets: list[str] = []
        self.forms: list[Form] = []
        self.base = ""
        try:
            self.feed(text)
            self.close()
        except (AssertionError, NotImplementedError):
            # Python's parser fails on some broken declarations; the part before them counts.
            pass

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base":
            self.base = self.base or given.get("href", "")
        elif tag == "form":
            self.forms.append(Form())
        elif tag == "input" and self.forms and "name" in given:
            if given.get("type", "").lower() == "hidden":
                self.forms[-1].hidden[given["name"]] = given.get("value", "")
            else:
                self.forms[-1].fields.add(given["name"])
        elif tag in ("script", "img", "source", "video", "audio"):
            self._asset(given.get("src", ""))
        elif tag == "link" and _ASSET_RELATIONS & set(given.get("rel", "").lower().split()):
            self._asset(given.get("href", ""))

    def _asset(self, reference: str) -> None:
        reference = reference.strip()
        if reference and not reference.startswith(("data:", "blob:", "about:", "#")):
            self.assets.append(reference)

    def hidden_beside(self, names: set[str]) -> dict[str, str]:
        """Return the hidden fields, such as a CSRF token, of the form that has C(names)."""
        for form in self.forms:
            if names & form.fields:
                return form.hidden
        return {}
