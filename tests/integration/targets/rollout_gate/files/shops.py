# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit tests' shop on loopback, once for each fault that is named: shops.py FILE FAULT…

Their addresses go into FILE as JSON, by fault. They end by themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving
from ansible_collections.evenkeel.flask.tests.unit.plugins.shop import Shop

SECONDS = 300

if __name__ == "__main__":
    file, *faults = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        urls = {fault: stack.enter_context(serving(Shop(fault))).url for fault in faults}
        with open(f"{file}.part", "w", encoding="utf-8") as stream:
            json.dump(urls, stream)
        os.replace(f"{file}.part", file)
        time.sleep(SECONDS)
        # Open connections do not get an orderly end.
        os._exit(0)
