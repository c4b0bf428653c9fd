# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a host: one line for each switch. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Switch:
    """One line of a host's history: C(release) became live instead of C(previous).

    C(details) are for people: the user, the commit, the verdict of the gate.
    """

    time: str
    action: str
    release: str | None
    previous: str | None
    details: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_line(cls, line: str) -> Switch | None:
        """Parse a line, or return V(None) for one that a crash left incomplete."""
        try:
            record = json.loads(line)
            names = ("time", "action", "release", "previous")
            time, action, release, previous = (record.pop(name) for name in names)
            return cls(time, action, release, previous, record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def is_requested_rollback(self) -> bool:
        """Return whether a person requested it. A host also withdraws a failed release itself.

        Lines of older versions have no C(withdrawn). A run that releases has staged before, and a
        line that a later run wrote for a killed one has no user.
        """
        if self.action != "rollback" or "controller" not in self.details:
            return False
        took = self.details.get("took")
        staged = took.get("stage") if isinstance(took, Mapping) else None
        return not (self.details.get("withdrawn") or self.details.get("commit") or staged)

    def as_dict(self) -> dict[str, object]:
        """Return the fields as one dictionary; the fields of this class have priority over the details."""
        own = {name: value for name, value in vars(self).items() if name != "details"}
        return {**self.details, **own}

    def to_line(self) -> str:
        return json.dumps(self.as_dict(), sort_keys=True) + "\n"
