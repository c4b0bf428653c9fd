# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show a live table below the output of a run: a row per host, redrawn once a second.

Pure functions make the lines. Only C(Screen) has effects.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from ..module_utils._printable import columns, cut, pad, printable_line

COLUMNS = ("host", "step", "elapsed", "verdict")
# In narrower terminals the table shows less than the lines above it. In columns.
MIN_COLUMNS = 40
# A higher rate is not visible, and slows the run of a large fleet down.
MIN_SECONDS = 0.1
COLORS = {
    "lost": "bright red", "failed": "red", "refused": "red", "taken back": "yellow",
    "passed": "green", "switched": "green", "baked": "green", "done": "green",
}  # fmt: skip
# These verdicts of a host stay, even if more tasks run on it.
LASTING = {"lost": 3, "failed": 1, "refused": 2}
UP_AND_CLEAR = "\x1b[{}A\r\x1b[J"


@dataclass
class Host:
    """The progress of a host: its step began at C(since), and ended at C(ended) if it has."""

    begun: float
    step: str = ""
    since: float = 0.0
    ended: float | None = None
    verdict: str = ""

    def begin(self, step: str, now: float) -> None:
        self.step, self.since, self.ended = step, now, None

    def end(self, now: float, verdict: str) -> None:
        self.ended = now
        if LASTING.get(verdict, 0) >= LASTING.get(self.verdict, 0):
            self.verdict = verdict or self.verdict


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"


def verdict(action: str, state: Any, outcome: str, result: Mapping[str, Any]) -> str:
    """Return the verdict on the host's release that a result implies; "" if it implies none.

    @param action: the module's name without that of its collection
    @param state: the state that the task requested
    @param outcome: V(ok), V(failed), V(unreachable), or V(passed over)
    """
    words = {
        ("rollout_gate", None): result.get("verdict"),
        ("rollout_bake", None): "baked",
        ("release", "staged"): "staged",
        ("release", "candidate"): "started",
        ("release", "live"): "switched",
        ("release", "withdrawn"): "taken back",
        ("release", "settled"): "done",
    }
    word = str(words.get((action, state)) or "")
    return {
        "ok": word,
        "failed": "refused" if word else "failed",
        "unreachable": "lost",
    }.get(outcome, "")


def table(
    hosts: Mapping[str, Host], now: float, width: int, height: int, final: bool = False
) -> list[tuple[str, str | None]]:
    """Return as many lines as fit, each with its colour, the most important first.

    @param final: show for each host the duration of its whole run instead of its last step's
    """
    shown = list(hosts)
    rest: list[str] = []
    if len(shown) + 1 > height:
        first = sorted(shown, key=lambda name: _matters(hosts[name]))[: max(height - 2, 1)]
        rest = [name for name in shown if name not in first]
        shown = [name for name in shown if name in first]
    rows = [COLUMNS, *(_row(name, hosts[name], now, final) for name in shown)]
    colors = [None, *(COLORS.get(hosts[name].verdict) for name in shown)]
    lines = list(zip(_laid_out(rows, width), colors))
    if rest:
        counts = Counter(hosts[name].verdict or "under way" for name in rest)
        summary = ", ".join(f"{count} {word}" for word, count in counts.items())
        lines.append((cut(printable_line(f"and {len(rest)} more: {summary}"), width), None))
    return lines


def _matters(host: Host) -> int:
    if host.verdict in LASTING:
        return 0
    return 1 if host.ended is None else 2


def _row(name: str, host: Host, now: float, final: bool) -> tuple[str, ...]:
    end = now if host.ended is None else host.ended
    elapsed = clock(end - (host.begun if final else host.since))
    return tuple(map(printable_line, (name, host.step, elapsed, host.verdict)))


def _laid_out(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lay out lines within the terminal's width: names get at most a third, steps the rest."""
    names, steps, times, verdicts = (max(map(columns, column)) for column in zip(*rows))
    names = min(names, width // 3)
    steps = min(steps, max(width - names - times - verdicts - 6, 0))
    return [
        cut(
            "  ".join(
                (_cell(name, names), _cell(step, steps), elapsed.rjust(times), word)
            ).rstrip(),
            width,
        )
        for name, step, elapsed, word in rows
    ]


def _cell(text: str, width: int) -> str:
    return pad(cut(text, width), width)


def is_terminal(stream: Any, environment: Mapping[str, str]) -> bool:
    """Return whether a stream is a terminal that can redraw lines."""
    return bool(stream.isatty()) and environment.get("TERM", "dumb") not in ("", "dumb")


class Screen:
    """The table below Ansible's output.

    Ansible holds the lock of its display while it forks and while it waits for an answer. So each
    redraw holds it also: no worker is forked within a line, and no prompt is overwritten.

    @param display: Ansible's display
    @param draw: returns the lines of the table for a width and a height
    @param out: the terminal that the display writes to
    """

    def __init__(self, display: Any, draw: Callable[[int, int], list[str]], out: TextIO) -> None:
        self.display = display
        self.draw = draw
        self.out = out
        self.drawn = 0
        self.drawn_at = 0.0
        # Whether the next output continues the line of the table: after a partial line or at a prompt.
        self.is_mid_line = False
        self.is_asking = False
        self._pid = os.getpid()
        self._enough = threading.Event()
        self._shown = display.display
        self._prompts = {name: getattr(display, name) for name in ("prompt", "prompt_until")}
        display.display = self._show_above
        for name in self._prompts:
            setattr(display, name, self._wrap_prompt(name))
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _tick(self) -> None:
        while not self._enough.wait(1):
            self.refresh()

    def refresh(self) -> None:
        with self.display._lock:
            if not (self._enough.is_set() or self.is_mid_line or self.is_asking):
                self._clear()
                self._draw()
                self.out.flush()

    def refresh_soon(self) -> None:
        """Redraw, except if the last redraw is recent; then the next tick redraws."""
        if time.monotonic() - self.drawn_at >= MIN_SECONDS:
            self.refresh()

    def _draw(self) -> None:
        try:
            size = os.get_terminal_size(self.out.fileno())
        except (OSError, ValueError):
            return
        if size.columns >= MIN_COLUMNS:
            # Half of the screen remains for the lines. The last column stays free, because some
            # terminals wrap after it.
            lines = self.draw(size.columns - 1, max(size.lines // 2, 3))
            self.out.write("".join(f"{line}\n" for line in lines))
            self.drawn, self.drawn_at = len(lines), time.monotonic()

    def _clear(self) -> None:
        if self.drawn:
            self.out.write(UP_AND_CLEAR.format(self.drawn))
            self.out.flush()
            self.drawn = 0

    def _show_above(self, msg: str, *args: Any, **kwargs: Any) -> None:
        if os.getpid() != self._pid:  # A worker: Ansible passes its output to the main process.
            self._shown(msg, *args, **kwargs)
            return
        with self.display._lock:
            self._clear()
            self._shown(msg, *args, **kwargs)
            self.is_mid_line = not (kwargs.get("newline", True) or msg.endswith("\n"))
            self.refresh_soon()

    def _wrap_prompt(self, name: str) -> Callable[..., Any]:
        def prompt(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() != self._pid:
                return self._prompts[name](*args, **kwargs)
            with self.display._lock:
                self._clear()
                self.is_asking = True
                try:
                    return self._prompts[name](*args, **kwargs)
                finally:
                    self.is_asking = False

        return prompt

    def close(self) -> None:
        """Remove the table, and restore the display."""
        if os.getpid() != self._pid or self._enough.is_set():
            return
        self._enough.set()
        with self.display._lock:
            self._clear()
            self.display.display = self._shown
            for name, method in self._prompts.items():
                setattr(self.display, name, method)
        self._thread.join(1)
