# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An error that the sandbox can have caused names the line that lifts the restriction."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._release import sandbox


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            "MemoryError: Cannot allocate write+execute memory for ffi.callback(). You might be running",
            "MemoryDenyWriteExecute=no",
        ),
        (
            "ImportError: libjit.so: cannot enable executable stack as shared object requires",
            "MemoryDenyWriteExecute=no",
        ),
        (
            "    page = mmap.mmap(-1, 4096, prot=7)\n        ^^^^^^^~~~~^^^\nPermissionError: [Errno 1] Operation not permitted",
            "MemoryDenyWriteExecute=no",
        ),
        ("FileNotFoundError: [Errno 2] No such file: '/proc/cpuinfo'", "ProcSubset=all"),
        ("PermissionError: [Errno 13] Permission denied: '/proc/1/stat'", "ProtectProc=default"),
        ("PermissionError: [Errno 13] Permission denied: '/home/me/.key'", "ProtectHome=read-only"),
        ("FileNotFoundError: [Errno 2] No such file: '/dev/dri/card0'", "PrivateDevices=no"),
        (
            "OSError: [Errno 97] Address family not supported by protocol",
            "RestrictAddressFamilies=AF_NETLINK",
        ),
        ("ValueError: not allowed to raise maximum limit", "SystemCallFilter=@resources"),
        ("PermissionError: [Errno 1] Operation not permitted", "SystemCallFilter=@privileged"),
        (
            "OSError: [Errno 30] Read-only file system: '/var/lib/x'",
            "ReadWritePaths=/var/lib/x",
        ),
    ],
)
def test_the_line_of_a_drop_in_is_named(error, line):
    message = sandbox.remedy(f"Traceback (most recent call last):\n{error}\n", "shop")
    assert f"'{line}" in message
    assert "/etc/systemd/system/shop@.service.d/" in message


def test_a_folder_of_the_release_is_named_as_a_shared_path():
    error = "OSError: [Errno 30] Read-only file system: '/srv/shop/releases/.1.0-a/app/logs/a.log'"
    assert "flask_app_shared_paths (here: logs/a.log" in sandbox.remedy(error, "shop")


@pytest.mark.parametrize(
    "error",
    [
        *("KeyError: 'TOKEN'", "ModuleNotFoundError: No module named 'nosuchmodule'", ""),
        "FileNotFoundError: [Errno 2] No such file or directory: '/etc/shop.ini'",
        "PermissionError: [Errno 13] Permission denied: '/dev/shm/a'",
    ],
)
def test_an_error_of_the_app_s_own_is_not_blamed_on_it(error):
    assert sandbox.remedy(error, "shop") is None
