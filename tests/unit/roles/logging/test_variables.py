# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's variables do not collide with those of a role that many hosts also have."""

from __future__ import annotations

import re

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _variables
from ansible_collections.evenkeel.flask.tests.unit.roles.logging.rendered import ROLE, defaults

# defaults/main.yml of fedora.linux_system_roles.logging 1.17.0
LINUX_SYSTEM_ROLES = [
    "logging_certificates",
    "logging_custom_config_files",
    "logging_custom_templates",
    "logging_domain",
    "logging_elasticsearch_password",
    "logging_enabled",
    "logging_files_template_format",
    "logging_flows",
    "logging_forwards_template_format",
    "logging_inputs",
    "logging_manage_firewall",
    "logging_manage_selinux",
    "logging_mark",
    "logging_mark_interval",
    "logging_max_message_size",
    "logging_outputs",
    "logging_pki_files",
    "logging_preserve_fqdn",
    "logging_provider",
    "logging_purge_confs",
    "logging_server_queue_size",
    "logging_server_queue_type",
    "logging_server_threads",
    "logging_system_log_dir",
    "logging_tcp_threads",
    "logging_udp_batch_size",
    "logging_udp_system_time_requery",
    "logging_udp_threads",
]


def test_no_variable_is_one_of_linux_system_roles():
    assert len(LINUX_SYSTEM_ROLES) == 28
    assert not set(defaults()) & set(LINUX_SYSTEM_ROLES)


def test_a_variable_of_linux_system_roles_is_no_typo_of_ours():
    specs = _variables.load_specs(str(ROLE.parent), ["logging"])
    assert _variables.unknown(LINUX_SYSTEM_ROLES, specs) == []


@pytest.mark.parametrize("name", defaults())
def test_each_variable_is_used(name):
    used = [*ROLE.glob("tasks/*"), *ROLE.glob("templates/*"), *ROLE.parent.glob("*/templates/*")]
    assert any(re.search(rf"\b{name}\b", path.read_text()) for path in used)


@pytest.mark.parametrize(("name", "value"), defaults().items())
def test_the_readme_names_each_variable_with_its_default(name, value):
    shown = "none" if value == "" else f"`{str(value).lower() if value is False else value}`"
    readme = (ROLE / "README.md").read_text()
    assert re.search(rf"^\| `{name}` \| .+ \| {re.escape(shown)} \|$", readme, re.MULTILINE)
