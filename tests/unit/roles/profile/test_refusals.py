# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that are refused before any load, with a real ansible-playbook in check mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.plugins.action import profile_report

pytestmark = pytest.mark.slow

COLLECTIONS = str(Path(profile_report.__file__).parents[5])
INVENTORY = """
[app]
app1
app2
[production]
app2
[all:vars]
ansible_connection=local
ansible_python_interpreter={python}
flask_app_name=shop
flask_app_entry=shop:app
flask_app_requirements=["flask"]
"""
# In check mode the module measures nothing on any host.
COMMAND = [
    sys.executable,
    "-m",
    "ansible.cli.playbook",
    "--check",
    "-i",
    "hosts",
    "evenkeel.flask.profile",
]


@pytest.fixture(name="profile")
def _profile(tmp_path):
    (tmp_path / "hosts").write_text(INVENTORY.format(python=sys.executable))

    def run(*options):
        variables = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
            },
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_BECOME_EXE": "/bin/false",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [*COMMAND, "-e", "ansible_become=false", *options], cwd=tmp_path, env=variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    return run


def recap(output, host):
    line = next(line for line in output.splitlines() if line.startswith(host) and "ok=" in line)
    return dict(word.split("=") for word in line.split() if "=" in word)


def test_a_host_of_production_is_left_in_peace_and_told_how_to_change_that(profile):
    done = profile()
    assert done.returncode == 2, done.stdout
    assert recap(done.stdout, "app2")["failed"] == "1"
    assert recap(done.stdout, "app1")["failed"] == "0"
    assert "-e profile_allow_production=true" in done.stdout


def test_it_is_measured_where_that_is_allowed(profile):
    done = profile("-e", "profile_allow_production=true")
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout, "app2")["failed"] == "0"


def test_a_host_is_marked_by_a_variable_too(profile):
    done = profile("-e", "profile_production=true", "--limit", "app1")
    assert recap(done.stdout, "app1")["failed"] == "1", done.stdout


def test_an_earlier_run_that_is_not_there_is_told_before_a_load_is_put_on_anything(profile):
    done = profile("-e", "profile_compare=none.json", "--limit", "app1")
    assert "none.json cannot be read" in done.stdout
    assert "profile : Measure]" not in done.stdout


def test_a_wrong_variable_is_told_first(profile):
    done = profile("-e", "profile_rate=0", "--limit", "app1")
    assert "profile_rate: 0.0 is too low" in done.stdout
    assert "profile : Measure]" not in done.stdout
