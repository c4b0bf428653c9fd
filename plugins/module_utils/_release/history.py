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

    C(details) are for people: who did it, from which commit, what the gate said.
    """

    time: str
    action: str
    release: str | None
    previous: str | None
    details: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_line(cls, line: str) -> Switch | None:
        """Read a line, or return V(None) for one that a crash left unfinished."""
        try:
            record = json.loads(line)
            names = ("time", "action", "release", "previous")
            time, action, release, previous = (record.pop(name) for name in names)
            return cls(time, action, release, previous, record)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def is_requested_rollback(self) -> bool:
        """Whether a person asked for it; a host also goes back by itself when a release fails.

        Lines of older versions have no C(withdrawn). A run that releases has staged before, and a
        line that a later run wrote for a killed one names nobody.
        """
        if self.action != "rollback" or "controller" not in self.details:
            return False
        took = self.details.get("took")
        staged = took.get("stage") if isinstance(took, Mapping) else None
        return not (self.details.get("withdrawn") or self.details.get("commit") or staged)

    def told(self) -> dict[str, object]:
        """The line as it is read: flat, and what the module itself knows is not to be overruled."""
        own = {name: value for name, value in vars(self).items() if name != "details"}
        return {**self.details, **own}

    def to_line(self) -> str:
        return json.dumps(self.told(), sort_keys=True) + "\n"
