# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors whose messages users read, as one tree.

EvenkeelError
    ArchiveError        an archive; _release/stage.py: ReplacedError
    ArgumentError       an argument of a user
    BalancerError       a load balancer
    Doubt, Problem      preflight and services; _services/postgres.py: NoTls, Refused
    HttpError           a request; _http/connection.py: Disconnected
    LockError           the lock of a rollout; _release/lock.py: HeldError
    PathProblem         a shared path
    ReleaseError        a state of a release
    SiteError           nginx and the file of an app
    UnitError           the unit of a slot

Each message states the fault and the next action. UntrustedError is an OSError and not in the tree.
"""

from __future__ import annotations


class EvenkeelError(Exception):
    """The base of all errors whose message a user reads."""


class ArchiveError(EvenkeelError):
    """An archive cannot be trusted or read; the message says why."""


class ArgumentError(EvenkeelError):
    """What was asked for makes no sense, whatever the server says; the message says why."""


class BalancerError(EvenkeelError):
    """The balancer cannot be brought to what is wanted; the message says why and what to do."""


class Doubt(EvenkeelError):
    """What could not be proven, or may go wrong later; told, and no reason to stop."""


class Problem(EvenkeelError):
    """Why the host cannot take a release; the message says what to do next, and no secret."""


class HttpError(EvenkeelError):
    """No complete answer came; the message is the reason, fit for a report."""


class LockError(EvenkeelError):
    """The lock cannot be had.

    @param holder: who has it, as people read it
    """

    def __init__(self, message: str, holder: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class PathProblem(EvenkeelError):
    """A path that cannot be shared; the message says why and what to do."""


class ReleaseError(EvenkeelError):
    """A release cannot be brought into the wanted state; the message says why and what to do."""


class SiteError(EvenkeelError):
    """Why nginx does not serve the app by this file; the message says what to do."""


class UnitError(EvenkeelError):
    """The slot's unit cannot be followed; the message says why and what to do."""
