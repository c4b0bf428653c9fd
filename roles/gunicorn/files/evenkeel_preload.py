# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the app as gunicorn will, and tell as JSON what the release should know of it.

C(forkable): whether its workers may be forked from a process that has loaded it. What does not
survive a fork: threads, which the child has none of, and connections and files, which all of them
would share, but for idle ones in the pools of SQLAlchemy. C(measures) and C(static): see evenkeel_optimize.py.

This file is part of each release and runs once, when it is staged. It needs nothing but Python 3.9,
its standard library, gunicorn and evenkeel_fork.py.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import sys
import threading

import evenkeel_fork
from gunicorn.app.wsgiapp import WSGIApplication

# The last line that is said begins with it: what an app prints, it prints before.
MARK = "evenkeel: "


def open_files() -> dict[str, str]:
    """What each descriptor of this process leads to; not those that only append, as logs do: forks may share them."""
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            flags = fcntl.fcntl(int(descriptor), fcntl.F_GETFL)
            where = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            # The one that the listing itself was read with.
            continue
        if flags & (os.O_ACCMODE | os.O_APPEND) != os.O_WRONLY | os.O_APPEND:
            found[descriptor] = where
    return found


def main() -> None:
    config = os.path.join(os.path.dirname(os.path.realpath(__file__)), "gunicorn.conf.py")
    sys.argv = ["gunicorn", "--config", config]
    gunicorn = WSGIApplication()
    before = open_files().items()
    gunicorn.load()
    if "sqlalchemy" in sys.modules:
        # As the slot will before it forks, but for what would lose something by it.
        evenkeel_fork.let_go(gc.get_objects(), held=False)
    opened = sorted(where for _descriptor, where in open_files().items() - before)
    threads = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    told = {"forkable": not opened and not threads, "opened": opened, "threads": threads}
    # An app that answers may open what it had not.
    wsgi = sys.modules.get("evenkeel_wsgi")
    if wsgi:
        told.update(wsgi.optimizer.describe(wsgi.app, wsgi.application))
    print(f"\n{MARK}{json.dumps(told)}", flush=True)
    # Threads that an app leaves running would keep this process.
    os._exit(0)


if __name__ == "__main__":
    main()
