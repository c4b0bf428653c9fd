# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles depend on each other in one direction, and a default has one value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())

# A role may read the variables and files of these roles.
READS = {
    "flask_app": set(),
    "logging": {"flask_app"},
    "redis_client": {"flask_app"},
    "nginx": {"flask_app"},
    "gunicorn": {"flask_app", "logging", "nginx"},
    "profile": {"flask_app", "nginx"},
    "rollout": {"flask_app", "gunicorn", "logging", "nginx", "redis_client"},
}
# Reads against the direction. Remove a pair when its last read is gone; do not add one.
EXCEPTIONS = {
    # The tasks that build and stage a release are still in flask_app.
    ("flask_app", "gunicorn"),
    ("flask_app", "logging"),
    ("flask_app", "nginx"),
    ("flask_app", "redis_client"),
    ("flask_app", "rollout"),
    # nginx answers the health path of the gate without a rate limit.
    ("nginx", "rollout"),
}


def text_of(role: str) -> str:
    """Return the YAML and the templates of a role, without comments and argument specs."""
    paths = [
        path
        for path in (ROLES / role).rglob("*")
        if path.suffix in (".yml", ".j2") and path.name != "argument_specs.yml"
    ]
    assert paths
    return "\n".join(re.sub(r"(?m)(^|\s)#.*$", "", path.read_text("utf-8")) for path in paths)


def roles_read_by(role: str) -> set[str]:
    text = text_of(role)
    others = {name for name in NAMES if re.search(rf"(?<![\w.])(__)?{name}_\w", text)}
    return (others | set(re.findall(r"\.\./\.\./(\w+)/files", text))) - {role}


@pytest.mark.parametrize("role", NAMES)
def test_a_role_reads_only_the_roles_that_it_may_read(role):
    against = {(role, other) for other in roles_read_by(role) - READS[role]}
    assert against == {pair for pair in EXCEPTIONS if pair[0] == role}


def test_the_roles_that_may_be_read_form_no_circle():
    left = dict(READS)
    while left:
        free = {role for role, others in left.items() if not others & set(left)}
        assert free, left
        left = {role: others for role, others in left.items() if role not in free}


def test_the_default_of_rollout_batches_has_one_value():
    """Ansible templates C(serial) before it loads the defaults of a role."""
    defaults = yaml.safe_load((ROLES / "rollout/defaults/main.yml").read_text("utf-8"))
    plays = yaml.safe_load((ROOT / "playbooks/batches.yml").read_text("utf-8"))
    found = [
        yaml.safe_load(default)
        for play in plays
        if "serial" in play
        for default in re.findall(r"default\((\[.*?\])\)", play["serial"])
    ]
    assert found
    assert all(default == defaults["rollout_batches"] for default in found)
