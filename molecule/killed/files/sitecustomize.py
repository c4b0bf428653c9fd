# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write down the renames of modules below /srv, and stop at the one that a test named: the test kills what stopped.

Beside this file are C(renames), a line for each, and C(stop_at): the number of one, and C(before) or C(after) it.
"""

from __future__ import annotations

import os
import signal
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Renames:
    def __init__(self) -> None:
        self.is_due = False
        self.is_looking = False

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        # The actions of this class are also events.
        if self.is_looking:
            return
        self.is_looking = True
        try:
            # An event comes before its action, so the next event after a rename comes after the rename.
            if self.is_due:
                self.stop()
            elif event == "os.rename":
                self.renamed(os.fsdecode(args[1]))  # type: ignore[arg-type]
        finally:
            self.is_looking = False

    def renamed(self, path: str) -> None:
        if not path.startswith("/srv/"):
            return
        with open(os.path.join(FOLDER, "renames"), "a+", encoding="utf-8") as stream:
            stream.write(f"{path}\n")
            stream.seek(0)
            number = len(stream.readlines())
        try:
            with open(os.path.join(FOLDER, "stop_at"), encoding="utf-8") as stream:
                wanted, side = stream.read().split()
        except FileNotFoundError:
            return
        if number == int(wanted):
            self.is_due = side == "after"
            if side == "before":
                self.stop()

    def stop(self) -> None:
        self.is_due = False
        with open(os.path.join(FOLDER, "stopped"), "w", encoding="utf-8") as stream:
            stream.write(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)


# Processes that a module starts are not affected.
os.environ.pop("PYTHONPATH", None)
sys.addaudithook(Renames())
