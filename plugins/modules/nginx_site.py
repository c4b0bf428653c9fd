#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give nginx the file of an app, and verify that the running nginx has it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_site
short_description: Give nginx the file of an app, and verify that the running nginx has it
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Writes the app's file, runs C(nginx -t), reloads nginx, and waits until the nginx that runs answers by this file and
    accepts connections at each of its addresses. C(nginx -t) binds no port and a reload is only a signal, so their
    exit status proves nothing.
  - If nginx refuses the file, the former file is restored and the task fails with nginx's own message. The file of
    one app therefore never blocks the reloads of another.
  - A port that another file of nginx's configuration has is refused before anything is written.
  - An nginx that does not run is not started. The file is then tested, and proven when nginx has started and this
    module runs again.
  - A run that was killed before nginx accepted the file leaves the former file beside it. The next run restores it
    first.
extends_documentation_fragment:
  - evenkeel.flask.attributes
attributes:
  check_mode:
    support: full
    details:
      - The file is not tested by nginx, because it is not written.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: The app's name.
    type: str
    required: true
  path:
    description: The app's file. C(/etc/nginx/conf.d/<name>.conf) by default.
    type: path
  content:
    description: The content of the file, at the level of C(http).
    type: str
    required: true
  port:
    description: The live port.
    type: int
    required: true
  addresses:
    description: The addresses for users' requests, as in nginx's C(listen).
    type: list
    elements: str
    default: [0.0.0.0, "[::]"]
  candidate_port:
    description: The candidate's port on 127.0.0.1. There nginx also reports the digest of its file.
    type: int
    required: true
  default_site:
    description: >-
      With V(auto), Debian's unmodified default site is disabled if it uses one of the app's ports. With V(keep), it is
      never touched.
    type: str
    choices: [auto, keep]
    default: auto
  logs:
    description: Logs of nginx that are created, for root and the group C(adm) only, before nginx would create them.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Configure nginx for the app
  evenkeel.flask.nginx_site:
    name: shop
    content: "{{ lookup('ansible.builtin.template', 'app.conf.j2') }}"
    port: 8000
    candidate_port: 8001
  become: true
"""

RETURN = r"""
digest:
  description: The digest that the running nginx reports.
  returned: success
  type: str
  sample: 0f1e2d3c4b5a6978
disabled:
  description: Links of other sites that were removed.
  returned: success
  type: list
  elements: str
  sample: []
"""

import contextlib
import grp
import os
from typing import Any

from ..module_utils import _errors
from ..module_utils._front import config
from ..module_utils._front import site as nginx_site
from ..module_utils._module import AnsibleModule

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path"},
    "content": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": ["0.0.0.0", "[::]"]},
    "candidate_port": {"type": "int", "required": True},
    "default_site": {"type": "str", "choices": ["auto", "keep"], "default": "auto"},
    "logs": {"type": "list", "elements": "path", "default": []},
}
LOG_MODE = 0o640


def make_logs(paths: list[str]) -> None:
    """Create logs with the mode of Debian's package; nginx itself would create them world-readable."""
    for path in paths:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, LOG_MODE)
            with contextlib.suppress(KeyError):
                os.fchown(descriptor, -1, grp.getgrnam("adm").gr_gid)
            os.close(descriptor)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    path = params["path"] or f"/etc/nginx/conf.d/{params['name']}.conf"
    disk = config.Disk()
    live = config.app_listens(params["addresses"], params["port"], config.resolve)
    candidate = [config.Listen("127.0.0.1", *[params["candidate_port"]] * 2)]
    links: list[str] = []
    program = nginx_site.Program(disk)
    text, digest = nginx_site.marked(params["content"], params["name"], params["candidate_port"])
    site = nginx_site.Site(params["name"], path, params["candidate_port"], live, program)
    if not module.check_mode:
        site.recover()
    for variable, listens in (("flask_app_port", live), ("nginx_candidate_port", candidate)):
        verdict = config.evaluate(disk.config().servers, listens, path, params["default_site"])
        if verdict.problem:
            module.fail_json(msg=f"{variable}: {verdict.problem}")
        links += verdict.links
    site.links = list(dict.fromkeys(links))
    former = nginx_site.read(path)
    has_file = former == text and not site.links
    is_up = program.runs() or bool(site.taken())
    changed = not has_file or (is_up and not site.serves(digest))
    diff = {"before": former or "", "after": text, "before_header": path, "after_header": path}
    if changed and not module.check_mode:
        try:
            make_logs(params["logs"])
            site.bring(text, digest)
        except (OSError, _errors.SiteError) as error:
            module.fail_json(
                msg=f"{path}: nginx refuses it: {error}. The previous configuration is still active; correct "
                "the variables of the role nginx, or what the message names."
            )
    module.exit_json(changed=changed, diff=diff, digest=digest, disabled=site.links)


if __name__ == "__main__":
    main()
