#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report the new migrations of a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Report the new migrations of a release, and their risks
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Compares the Alembic scripts of two releases on a host, and classifies the statements of the new ones. Statements
    that are known to disturb no release pass. All others are refused or reported.
  - With O(command) each new script prints its SQL, by Alembic's offline mode in the new release, as the app's user. It
    has no network then, and cannot write. If this fails, its source is read instead, and RV(partly) lists it.
  - The sizes of tables, and the properties of their columns, are read from PostgreSQL by the release's own
    C(DATABASE_URL). For another database no sizes are read, and statements that only wait for locks are warnings.
  - An app without Alembic, or a missing release, has no migrations.
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
    description: The release with the new migrations.
    type: str
    required: true
  against:
    description: The release that serves users during the migration.
    type: str
    required: true
  command:
    description: >-
      The command that migrates, for example C(flask db upgrade). Without it only the source of scripts is read.
    type: str
    default: ""
  user:
    description: The app's user. Defaults to O(name).
    type: str
  rules:
    description:
      - The action for a rule's findings, by rule. V(refuse) refuses small tables also, V(warn) only warns, V(ignore)
        does nothing.
      - The rules are C(access), C(blocking), C(check), C(column-not-null), C(column-volatile-default), C(data),
        C(drop), C(drop-default), C(drop-unique), C(foreign-key), C(index), C(rename), C(set-not-null), C(type),
        C(unique), C(unknown) and C(validated).
    type: dict
    default: {}
  allow_blocking:
    description: Whether migrations may lock large tables.
    type: bool
    default: false
  allow_destructive:
    description: Whether migrations may break O(against).
    type: bool
    default: false
  small_rows:
    description: The maximum number of rows for which locks are only a warning.
    type: int
    default: 10000
  timeout:
    description: The timeout of the offline mode in seconds.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Report the effects of the new release on the database
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
  description: Their statements that can break O(against), each with its table.
  returned: success
  type: list
  elements: str
  sample: ["0002_reviews: drops column products.price, and 1.0.0-0f1e2d3c4b may need it."]
locks:
  description: Their statements that block users, each with its table and size.
  returned: success
  type: list
  elements: str
  sample: ["0003_sort: CREATE INDEX on orders (40 million rows, 9.1 GB) blocks writes."]
refused:
  description: Those of both that O(rules), O(allow_blocking) and O(allow_destructive) do not allow, with the remedy.
  returned: success
  type: list
  elements: str
  sample: []
printed:
  description: The scripts that have printed their SQL. Of all others the source was read.
  returned: success
  type: list
  elements: str
  sample: [0002_reviews]
partly:
  description: The reason, by script, why only its source was read and not all of it was understood.
  returned: success
  type: dict
  sample: {}
missing:
  description: The scripts that only O(against) has. The database is ahead of O(release) by these.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
from collections.abc import Sequence

from ..module_utils._errors import ArchiveError, PreflightError, PreflightWarning
from ..module_utils._migrations import alembic, pg_catalog, rules
from ..module_utils._migrations import scripts as migrations
from ..module_utils._module import AnsibleModule
from ..module_utils._release import layout as release_layout
from ..module_utils._release import stage
from ..module_utils._services import postgres

ASK_SECONDS = 5
ARGUMENT_SPEC = {
    **release_layout.APP_SPEC,
    "release": {"type": "str", "required": True},
    "against": {"type": "str", "required": True},
    "command": {"type": "str", "default": ""},
    "user": {"type": "str"},
    "rules": {"type": "dict", "default": {}},
    "allow_blocking": {"type": "bool", "default": False},
    "allow_destructive": {"type": "bool", "default": False},
    "small_rows": {"type": "int", "default": 10000},
    "timeout": {"type": "float", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    layout = release_layout.Layout(params["name"], params["root"])
    folder = layout.release(params["release"])

    def scripts(release: str) -> dict[str, str]:
        place = layout.release(release)
        return migrations.scripts(f"{place}/app", f"{place}/lib")

    def offline(words: Sequence[str]) -> tuple[int, str]:
        user = params["user"] or params["name"]
        environment = stage.command_environment(folder)
        return stage.run_in(
            folder, user, layout, words, params["timeout"], environment, sealed=True
        )

    try:
        after, before = scripts(params["release"]), scripts(params["against"])
        url = stage.database_url(folder)
        command = stage.words(params["command"])
    except (ArchiveError, OSError) as error:
        module.fail_json(msg=str(error))
    is_postgres = postgres.is_postgres_url(url)
    dialect = migrations.dialect(url)
    read = {name: alembic.read(name, text, dialect) for name, text in after.items()}
    heads = pg_catalog.heads(url, ASK_SECONDS) if is_postgres and after else []
    todo = migrations.pending(before, read, heads)
    try:
        reading = migrations.read(todo, command, offline if command else None, dialect)
    except (ArchiveError, OSError) as error:
        module.fail_json(msg=str(error))
    every = [change for changes in reading.changes.values() for change in changes]
    tables, indexes = rules.tables(every), rules.indexes(every)
    catalog = rules.Catalog(dialect=dialect)
    if is_postgres and (tables or indexes):
        try:
            catalog = pg_catalog.read(url, ASK_SECONDS, tables, indexes, params["small_rows"])
        except (PreflightError, PreflightWarning) as error:
            module.warn(f"flask_app_database_url: the sizes of tables are not known; {error}")
    findings = rules.evaluate(reading.changes, catalog, params["against"])
    policy = rules.Policy(
        rules=params["rules"],
        allow_blocking=params["allow_blocking"],
        allow_destructive=params["allow_destructive"],
        small_rows=params["small_rows"],
    )
    refused, warned = rules.decide(findings, catalog, policy)
    for line in warned:
        module.warn(f"flask_app_migrate_command: {line}")
    for label, why in reading.partly.items():
        module.warn(
            f"flask_app_migrate_command: {label} is partly known; its source was read, for it does not "
            f"print its SQL ({why})."
        )
    if command and not after and os.path.isdir(folder):
        module.warn(
            "flask_app_migrate_command: the release has no Alembic scripts, so it is not known what "
            f"{params['command']!r} does to {params['against']}; check it by hand."
        )
    module.exit_json(
        changed=False,
        new=migrations.new(before, after),
        destructive=[rules.describe(one, catalog) for one in findings if one.breaks],
        locks=[rules.describe(one, catalog) for one in findings if one.locks],
        refused=refused,
        partly=reading.partly,
        printed=reading.printed,
        missing=migrations.new(after, before),
    )


if __name__ == "__main__":
    main()
