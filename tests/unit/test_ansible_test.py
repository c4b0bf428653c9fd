# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of pip that ansible-test gets from the user."""

from __future__ import annotations

import configparser

from ansible_collections.evenkeel.flask.tests.ansible_test import pip_conf


def test_pip_is_set_as_for_the_user_and_the_environment_wins():
    conf = configparser.ConfigParser(interpolation=None)
    conf.read_string(
        pip_conf(
            [
                ":env:.timeout='60'",
                "global.find-links='/one\\n/two'",
                "global.timeout='5'",
                "install.constraint='/c.txt'",
            ]
        )
    )
    assert conf["global"] == {"find-links": "/one\n/two", "timeout": "60"}
    assert dict(conf["install"]) == {"constraint": "/c.txt"}


def test_a_user_without_settings_has_none():
    assert pip_conf([]) == ""
