# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment by pyinfra, of the same steps as the plain playbook has; --serial takes host after host."""

from pathlib import Path

from pyinfra import host
from pyinfra.operations import files, pip, server, systemd

CODE = "/srv/shop/app"

code = files.put(
    name="Copy the code",
    src=host.data.archive,
    dest="/srv/shop/shop.tar.gz",
)
server.shell(
    name="Unpack the code",
    commands=[f"tar -xzf /srv/shop/shop.tar.gz -C {CODE}"],
    _if=code.did_change,
)
pip.packages(
    name="Install the requirements",
    requirements=f"{CODE}/requirements.txt",
    virtualenv="/srv/shop/venv",
    _if=code.did_change,
)
unit = files.template(
    name="Write the unit",
    src=str(Path(__file__).resolve().parents[1] / "hosts" / "shop.service.j2"),
    dest="/etc/systemd/system/shop.service",
    mode="644",
    shop_code=CODE,
    gunicorn_workers=host.data.gunicorn_workers,
)
systemd.service(
    name="Restart the shop",
    service="shop.service",
    restarted=True,
    enabled=True,
    daemon_reload=True,
    _if=lambda: code.did_change() or unit.did_change(),
)
server.shell(
    name="Wait until the shop is healthy",
    commands=[
        "curl --silent --fail --output /dev/null --retry 30 --retry-delay 1 --retry-all-errors"
        " http://127.0.0.1:9000/health"
    ],
)
