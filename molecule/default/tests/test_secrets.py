# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are in the environment file of a release, and nowhere else."""

from __future__ import annotations

import pytest

SECRETS = ["secret_key", "postgres_password", "redis_password"]
PLACES = "/etc /home /opt /root /run /srv /tmp /usr/local /var"


@pytest.fixture(params=SECRETS)
def secret(fleet, request):
    return fleet.secrets[request.param]


def test_the_app_alone_can_read_its_environment(host):
    env = host.see.file(f"{host.live_folder}/env")
    assert (env.user, env.group, env.mode) == ("root", "storefront", 0o640)


def test_a_secret_is_in_no_other_file(host, secret):
    found = host.see.run(f"grep --recursive --text -lF -e {secret} {PLACES}").stdout
    assert found.split() == [f"{host.live_folder}/env"]


def test_a_secret_is_on_no_command_line(host, secret):
    shown = host.see.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    assert "gunicorn" in shown
    assert secret not in shown


def test_a_secret_is_not_in_the_journal(host, secret):
    # A field of several lines is preceded by its length as eight bytes, so this is not text.
    shown = host.see.run("journalctl --no-pager --all --output export").stdout_bytes
    assert b"NOT_LOGGING_PARAMETER" in shown
    assert secret.encode() not in shown


def test_the_password_that_the_gate_logs_in_with_is_not_in_the_journal(host):
    assert "demo-password" not in host.see.check_output("journalctl --no-pager --all")
