# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the steps that take a host from one state to another.

Pure: a C(HostState) value describes a host, and a plan is a list of steps. C(slots.py) observes hosts
and executes steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .._errors import ReleaseError
from .history import Switch
from .layout import SLOTS, other_slot


@dataclass(frozen=True)
class HostState:
    """The observed state of a host; the only input of a plan."""

    releases: tuple[str, ...] = ()
    slots: Mapping[str, str | None] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    # Neither running nor stopped: systemd restarts a process that dies repeatedly.
    crash_looping: frozenset[str] = frozenset()
    live: str | None = None
    candidate: str | None = None
    history: tuple[Switch, ...] = ()

    def release_in(self, slot: str | None) -> str | None:
        return self.slots.get(slot) if slot else None

    @property
    def live_release(self) -> str | None:
        return self.release_in(self.live)

    @property
    def candidate_release(self) -> str | None:
        return self.release_in(self.candidate) if self.candidate != self.live else None

    def is_stopped(self, slot: str) -> bool:
        return slot not in self.running | self.crash_looping

    @property
    def idle(self) -> str:
        """Return the slot that no user's request reaches."""
        return other_slot(self.live)

    def replaced_by(self, release: str | None) -> str | None:
        """Return the release that was live before C(release), also after a switch without a record."""
        return self.recorded if release == self.live_release else self.live_release

    @property
    def recorded(self) -> str | None:
        """Return the live release of the history."""
        return self.history[-1].release if self.history else None

    @property
    def unrecorded(self) -> Switch | None:
        """Return a switch that was completed, but killed before its record."""
        if self.live_release in (None, self.recorded):
            return None
        was_live = self.live_release in (switch.release for switch in self.history)
        return Switch("", "rollback" if was_live else "release", self.live_release, self.recorded)

    @property
    def previous(self) -> str | None:
        """Return the release to roll back to: the last good one before the live one that still exists.

        A release that was rolled back is not good. So a second rollback goes further back, and never
        forward to the bad release.
        """
        bad = {self.live_release}
        for switch in reversed([*self.history, *filter(None, [self.unrecorded])]):
            if switch.action == "rollback":
                bad.add(switch.previous)
            if switch.release not in bad and switch.release in self.releases:
                return switch.release
        return None


def rolled_back(history: Sequence[Switch], digests: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the releases that a person rolled back and that no one has released again since.

    A release of the same code in another configuration needs this warning also, so each has the
    digest of its code.

    @param digests: of the code of releases on the host, by release
    """
    known = dict(digests)
    found: dict[str, Switch] = {}
    for switch in history:
        code = switch.details.get("digest")
        if switch.release and isinstance(code, str):
            known[switch.release] = code
        if switch.release:
            same = {
                switch.release,
                *(r for r in found if known.get(r, r) == known.get(switch.release)),
            }
            for release in same:
                found.pop(release, None)
        if switch.is_requested_rollback and switch.previous:
            found[switch.previous] = switch
    return [
        {
            "release": release,
            "digest": known.get(release),
            "to": switch.release,
            "time": switch.time,
            "who": switch.details.get("who"),
            "controller": switch.details.get("controller"),
        }
        for release, switch in found.items()
    ]


@dataclass(frozen=True)
class Step:
    """One effect on a host: C(verb) is the name of a method of the host, C(subject) its argument."""

    verb: str
    subject: str | None = None
    detail: str | None = None


def _require_staged(host: HostState, release: str) -> None:
    if release not in host.releases:
        known = ", ".join(host.releases) or "none"
        raise ReleaseError(
            f"Release {release} is not on this host; there are: {known}. "
            "Stage it first (rollout.yml), or name one of these."
        )


def plan_candidate(host: HostState, release: str) -> list[Step]:
    """Plan to run C(release) in the slot that no user reaches."""
    _require_staged(host, release)
    if host.live_release == release and host.live in host.running:
        return []
    slot = host.idle
    if host.candidate == slot and host.release_in(slot) == release and slot in host.running:
        return []
    steps = [Step("point_candidate", None)] if host.candidate else []
    warm = slot in host.running and host.release_in(slot) == release
    if not warm:
        steps += [] if host.is_stopped(slot) else [Step("stop", slot)]
        steps += [Step("assign", slot, release), Step("start", slot)]
    return [*steps, Step("point_candidate", slot)]


def plan_live(host: HostState, release: str, action: str) -> list[Step]:
    """Plan to move the users to the slot that runs C(release)."""
    if host.live_release == release and host.live in host.running:
        return []
    slot = host.idle
    if host.release_in(slot) != release or slot not in host.running:
        raise ReleaseError(
            f"Release {release} runs in no slot of this host, so it cannot go live. "
            "Start it as the candidate and prove it first."
        )
    steps = [
        Step("point_live", slot),
        Step("record", release, action),
    ]
    return [*steps, Step("point_candidate", None)] if host.candidate else steps


def plan_withdrawn(host: HostState, release: str) -> list[Step]:
    """Plan that C(release) neither serves users nor runs as the candidate."""
    steps: list[Step] = []
    bad = next((slot for slot in SLOTS if host.release_in(slot) == release), None)
    if bad is None:
        return steps
    if host.live == bad:
        good = host.idle
        back_to = host.release_in(good)
        if back_to in host.releases and back_to != release:
            if good not in host.running:
                steps.append(Step("start", good))
            steps += [Step("point_live", good), Step("record", back_to, "rollback")]
        else:
            steps += [Step("point_live", None), Step("record", None, "rollback")]
    if host.candidate == bad:
        steps.append(Step("point_candidate", None))
    if not host.is_stopped(bad):
        steps.append(Step("stop", bad))
    return steps


def plan_retired(host: HostState) -> list[Step]:
    """Plan to stop the slot that is not live, after its last response."""
    steps = [Step("point_candidate", None)] if host.candidate else []
    return steps if host.is_stopped(host.idle) else [*steps, Step("stop", host.idle)]


def plan_pruned(host: HostState, keep: int) -> list[Step]:
    """Plan to remove all but the C(keep) newest releases, never one that a slot or a rollback needs.

    C(host.releases) is ordered from the newest to the oldest.
    """
    needed = set(host.slots.values()) | {host.previous}
    remaining = set(host.releases[:keep]) | needed
    return [Step("remove", release) for release in host.releases if release not in remaining]


def plan_settled(
    host: HostState, keep: int, is_as_left: bool, guards: Sequence[str] = ()
) -> list[Step]:
    """Plan the end of a run: only the live slot runs, and the state of the host is stored.

    @param guards: the guards that the slot to be stopped holds, and the live one lacks
    """
    steps = plan_retired(host)
    if guards and Step("stop", host.idle) in steps and host.live:
        steps.append(Step("recycle", host.live, ", ".join(guards)))
    steps += plan_pruned(simulate(host, steps), keep)
    switch = host.unrecorded
    if switch:
        return [*steps, Step("record", switch.release, switch.action)]
    return steps if is_as_left else [*steps, Step("remember")]


def assume_earlier_states(host: HostState, state: str, release: str | None) -> HostState:
    """Return the host after the earlier states of a rollout, which check mode did not execute."""
    if release is None or state not in ("candidate", "live"):
        return host
    staged = replace(host, releases=tuple(dict.fromkeys((release, *host.releases))))
    return staged if state == "candidate" else simulate(staged, plan_candidate(staged, release))


def summarise(host: HostState) -> dict[str, str | None]:
    """Return the state of a host for diffs and for C(release_info)."""
    return {
        "live": host.live_release,
        "live_slot": host.live,
        "candidate": host.candidate_release,
        "previous": host.previous,
    }


def simulate(host: HostState, steps: Iterable[Step]) -> HostState:
    """Return the host as it would be after C(steps), for check mode and diffs."""
    slots = dict(host.slots)
    running, crash_looping = set(host.running), set(host.crash_looping)
    releases = list(host.releases)
    live, candidate, history = host.live, host.candidate, host.history
    for step in steps:
        if step.verb == "assign" and step.subject:
            slots[step.subject] = step.detail
        elif step.verb == "start" and step.subject:
            running.add(step.subject)
        elif step.verb == "stop" and step.subject:
            running.discard(step.subject)
            crash_looping.discard(step.subject)
        elif step.verb == "point_live":
            live = step.subject
        elif step.verb == "point_candidate":
            candidate = step.subject
        elif step.verb == "record":
            history += (
                Switch("", step.detail or "", step.subject, host.replaced_by(step.subject)),
            )
        elif step.verb == "remove" and step.subject:
            releases.remove(step.subject)
    return replace(
        host,
        releases=tuple(releases),
        slots=slots,
        running=frozenset(running),
        crash_looping=frozenset(crash_looping),
        live=live,
        candidate=candidate,
        history=history,
    )
