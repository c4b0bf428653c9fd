# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors whose messages users read, as one tree.

EvenkeelError
    ArchiveError        an archive; _release/stage.py: ReplacedError
    ArgumentError       an argument of a user
    BalancerError       a load balancer
    PreflightError, PreflightWarning  services and preflight; _services/postgres.py: NoTls, Refused
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
    """The base of all errors whose messages users read."""


class ArchiveError(EvenkeelError):
    """An archive cannot be trusted or read. The message has the reason."""


class ArgumentError(EvenkeelError):
    """An argument of a user is invalid, independently of the server. The message has the reason."""


class BalancerError(EvenkeelError):
    """The balancer does not reach the requested state. The message has the reason and the remedy."""


class PreflightWarning(EvenkeelError):
    """A check was not possible, or a risk exists. It is a warning, and does not stop the run."""


class PreflightError(EvenkeelError):
    """The host cannot take a release. The message has the remedy, and no secret."""


class HttpError(EvenkeelError):
    """There was no complete response. The message is the reason, suitable for a report."""


class LockError(EvenkeelError):
    """The lock is not available.

    @param holder: the run that has it, as text for people
    """

    def __init__(self, message: str, holder: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class PathProblem(EvenkeelError):
    """A path cannot be shared. The message has the reason and the remedy."""


class ReleaseError(EvenkeelError):
    """A release cannot reach the requested state. The message has the reason and the remedy."""


class SiteError(EvenkeelError):
    """nginx does not serve the app with this file. The message has the remedy."""


class UnitError(EvenkeelError):
    """The slot's unit cannot be evaluated. The message has the reason and the remedy."""
