# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's templates with the role's defaults, as a host would get them."""

from __future__ import annotations

import getpass
import grp
import os
import pathlib
import shutil
import subprocess
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "logging"
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROLE / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.filters.update(FilterModule().filters())


LOGROTATE = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin") or ""
GROUP = grp.getgrgid(os.getgid()).gr_name
needs_logrotate = pytest.mark.skipif(
    not LOGROTATE or getpass.getuser() != GROUP,
    reason="needs logrotate, and a user whose group has the user's name",
)


def defaults() -> dict[str, Any]:
    return dict(yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()))


def render(template: str, **variables: Any) -> str:
    known = {
        "flask_app_name": "shop",
        "flask_app_user": "shop",
        "ansible_managed": "Ansible managed",
        **variables,
    }
    for name, value in defaults().items():
        known.setdefault(
            name, ENVIRONMENT.from_string(value).render(known) if isinstance(value, str) else value
        )
    return ENVIRONMENT.get_template(template).render(known)


class Logrotate:
    """logrotate with the role's own configuration, for the logs in a directory of one's own."""

    def __init__(self, directory: pathlib.Path, **variables: Any) -> None:
        self.state = directory / "logrotate.state"
        self.configuration = directory / "logrotate.conf"
        user = getpass.getuser()
        self.configuration.write_text(
            render(
                "logrotate.conf.j2",
                logging_directory=str(directory),
                flask_app_user=user,
                **variables,
            )
        )
        self.configuration.chmod(0o600)

    def __call__(self, *options: str) -> str:
        """Run it once and return its output."""
        command = [LOGROTATE, *options, "--state", str(self.state), str(self.configuration)]
        return subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
