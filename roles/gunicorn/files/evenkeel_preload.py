# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the app as gunicorn will, and tell whether its workers may be forked from the process that did.

This file is part of each release and runs once, when it is staged. What does not survive a fork:
threads, which the child has none of, and connections and files, which all of them would share.
It needs nothing but Python 3.9, its standard library and gunicorn.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading

from gunicorn.app.wsgiapp import WSGIApplication

# The last thing that is said when nothing speaks against it.
FORKABLE = "evenkeel: the app may be loaded before the fork"


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
    opened = sorted(where for _descriptor, where in open_files().items() - before)
    threads = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    if opened or threads:
        print(f"evenkeel: each worker loads the app, for it opened {opened} and started {threads}")
    else:
        print(FORKABLE)


if __name__ == "__main__":
    main()
