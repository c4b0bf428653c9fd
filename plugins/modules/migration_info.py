#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which migrations a release brings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Tell which migrations a release brings, and what they would take away
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Compares the Alembic scripts of two releases on a host. The scripts are read, not run, and the database is not asked.
  - An app without Alembic, or a release that is not there, has none.
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.app
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
options:
  release:
    description: The release whose migrations are told.
    type: str
    required: true
  against:
    description: The release that the database was migrated by.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See what the new release would do to the database
  evenkeel.flask.migration_info:
    name: shop
    release: 2.0.0-1a2b3c4d5e
    against: 1.0.0-0f1e2d3c4b
"""

RETURN = r"""
new:
  description: The scripts that only O(release) has.
  returned: success
  type: list
  elements: str
  sample: [0002_reviews.py]
destructive:
  description: What of them drops or renames what O(against) may need.
  returned: success
  type: list
  elements: str
  sample: ["0002_reviews.py, line 14: drop_column products price"]
missing:
  description: The scripts that only O(against) has; by these the database is ahead of O(release).
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.evenkeel.flask.plugins.module_utils import _migrations, _release
from ansible_collections.evenkeel.flask.plugins.module_utils._module import AnsibleModule

ARGUMENT_SPEC = {
    **_release.APP_SPEC,
    "release": {"type": "str", "required": True},
    "against": {"type": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    layout = _release.Layout(params["name"], params["root"])

    def scripts(release: str) -> dict[str, str]:
        folder = layout.release(release)
        return _migrations.scripts(f"{folder}/app", f"{folder}/lib")

    try:
        after, before = scripts(params["release"]), scripts(params["against"])
    except OSError as error:
        module.fail_json(msg=str(error))
    new = _migrations.new(before, after)
    module.exit_json(
        changed=False,
        new=new,
        destructive=[line for name in new for line in _migrations.destructive(name, after[name])],
        missing=_migrations.new(after, before),
    )


if __name__ == "__main__":
    main()
