# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names and paths of a release and of its slots on a host. Pure."""

from __future__ import annotations

import hashlib
import json
import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SLOTS = ("blue", "green")
# The options of a Layout, documented in plugins/doc_fragments/app.py.
APP_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "root": {"type": "path", "default": "/srv"},
}


def other_slot(slot: str | None) -> str:
    return SLOTS[1] if slot == SLOTS[0] else SLOTS[0]


@dataclass(frozen=True)
class Layout:
    """The paths of one app on a host."""

    name: str
    root: str = "/srv"
    run: str = "/run"
    etc: str = "/etc"

    @property
    def base(self) -> str:
        return os.path.join(self.root, self.name)

    def path(self, *parts: str) -> str:
        return os.path.join(self.base, *parts)

    def release(self, release_id: str) -> str:
        return self.path("releases", release_id)

    def slot(self, slot: str) -> str:
        return self.path("slots", slot)

    def socket(self, slot: str) -> str:
        return os.path.join(self.run, self.name, slot + ".sock")

    def unit(self, slot: str, kind: str = "service") -> str:
        return f"{self.name}@{slot}.{kind}"

    @property
    def live(self) -> str:
        return self.path("live.sock")

    @property
    def candidate(self) -> str:
        return self.path("candidate.sock")

    @property
    def history(self) -> str:
        return self.path("history.jsonl")

    @property
    def left(self) -> str:
        """Return the path of the fingerprints of the last run, see C(drift.py)."""
        return self.path("left.json")

    def slot_of_socket(self, target: str | None) -> str | None:
        """Return the slot that a C(live.sock) or C(candidate.sock) link names, if any."""
        return next((slot for slot in SLOTS if target == self.socket(slot)), None)


def release_id(
    version: str,
    archive_digest: str,
    files: Mapping[str, str],
    environment: Mapping[str, str],
    place: Sequence[str] = (),
) -> str:
    """Derive the id of a release from everything that determines its behavior.

    @param version: prefix of the id, so that people recognize the release; can be empty
    @param archive_digest: digest of code and locked wheels
    @param files: rendered configuration, content by relative path
    @param environment: environment of the app; only ten digits of the common
        hash leave this function, so no secret can be read from an id
    @param place: further inputs from the host
    """
    content = json.dumps(
        [version, archive_digest, sorted(files.items()), sorted(environment.items()), *place]
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    label = re.sub(r"[^A-Za-z0-9.+]+", "_", version).strip("_")
    return f"{label}-{digest}" if label else digest
