#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that a host can take a release, before any change."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check that a host can take a release of an app
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Checks Python, disk, clock and ports, and logs in to Redis and PostgreSQL with the app's own credentials, in one
    call. Reports all errors together, each under the variable to change, with the remedy.
  - Requires only Python on the host, and no client library or driver.
  - Of databases other than PostgreSQL only the port is checked, and SQLite is not checked.
  - URLs are never shown, only host and port.
  - With O(lock_seconds) it takes the host's lock first, as M(evenkeel.flask.rollout_lock) does. If another run has the
    lock, nothing is checked.
notes:
  - Only root can see which program of another user has a port, so use C(become) with O(ports).
extends_documentation_fragment:
  - evenkeel.flask.attributes
  - evenkeel.flask.run
  - evenkeel.flask.run.lock
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - Changes nothing, except for the lock and a key in Redis that is deleted again.
  idempotent:
    support: full
options:
  name:
    description: The app's name.
    type: str
    required: true
  python:
    description: The interpreter that creates the venvs.
    type: path
    default: /usr/bin/python3
  min_python:
    description: The oldest allowed Python version.
    type: str
    default: "3.9"
  user:
    description: The app's user, which must not be a user of the system. Not checked if left out.
    type: str
  path:
    description: The directory that must have free space. If it does not exist, its nearest existing parent is checked.
    type: path
    default: /srv
  min_free_mb:
    description: The required free megabytes (10^6 bytes).
    type: int
    default: 500
  ports:
    description: Ports that must be free, by the name of their variable.
    type: dict
    default: {}
  port_owners:
    description: Programs that may use the ports already.
    type: list
    elements: str
    default: [nginx]
  port_addresses:
    description:
      - The addresses of nginx at each of O(ports), by the same names. A port then belongs to the app only if the app's
        own file in nginx's configuration has it. Another file with the address is an error that names the file.
      - Not checked if left out, nor on a host without nginx.
    type: dict
    default: {}
  default_site:
    description: As in M(evenkeel.flask.nginx_site).
    type: str
    choices: [auto, keep]
    default: auto
  redis_url:
    description: The URL of the app's Redis, as redis-py accepts it. Empty for none.
    type: str
    default: ""
  redis_key_prefix:
    description:
      - The prefix of the key that is written, read back and deleted. The user's access list must allow it.
      - By default O(name) and a colon.
    type: str
  database_url:
    description: The SQLAlchemy URL of the app's database. Empty for none.
    type: str
    default: ""
  connections:
    description:
      - The fleet's figures, to check that the database allows all connections that its workers can hold at once. A
        connection count that only the pools' figures allow is a warning.
    type: dict
    suboptions:
      workers:
        description: Workers per slot.
        type: int
      threads:
        description: Concurrent requests per worker.
        type: int
      pool_size:
        description: The size of a worker's pool.
        type: int
      max_overflow:
        description: The connections that a pool can open beyond its size.
        type: int
      hosts:
        description: Hosts of the fleet that have these figures.
        type: int
      fleet:
        description: >-
          The figures of each host of the fleet instead, as P(evenkeel.flask.connection_figures#filter) returns them.
        type: list
        elements: dict
        suboptions:
          workers:
            description: Workers per slot.
            type: int
            required: true
          threads:
            description: Concurrent requests per worker.
            type: int
            required: true
          pool_size:
            description: The size of a worker's pool.
            type: int
            required: true
          max_overflow:
            description: The connections that a pool can open beyond its size.
            type: int
            required: true
      slots:
        description: Slots of a host that run at once.
        type: int
        default: 2
  lock_timeout:
    description:
      - Seconds that a migration waits for a lock. The login is repeated with this limit in C(PGOPTIONS), to check that
        a pooler accepts it. V(0) skips the check.
    type: int
    default: 0
  controller_time:
    description: The controller's clock, in seconds since 1970. Without it the clock is not checked.
    type: float
  max_clock_skew:
    description: The maximum difference of the clocks in seconds. It includes the start time of the task.
    type: float
    default: 60
  timeout:
    description: The timeout in seconds of a connection to a service, and of each response.
    type: float
    default: 5
  lock_seconds:
    description: The duration of the lock in seconds if this run does not renew it. Without it no lock is taken.
    type: float
"""

EXAMPLES = r"""
- name: Check the host
  evenkeel.flask.preflight:
    name: shop
    ports:
      flask_app_port: 8000
    port_addresses:
      flask_app_port: [0.0.0.0, "[::]"]
    controller_time: "{{ now().timestamp() }}"
    redis_url: "{{ shop_redis_url }}"
    database_url: "{{ shop_database_url }}"
    connections:
      fleet: "{{ hostvars | evenkeel.flask.connection_figures(groups['app']) }}"
  become: true
"""

RETURN = r"""
holder:
  description: The run that holds the lock now, as M(evenkeel.flask.rollout_lock) returns it.
  returned: when O(lock_seconds) was given
  type: dict
  sample: {}
problems:
  description: The errors, each with the variable to change and the remedy. The message has one per line.
  returned: always
  type: list
  elements: str
  sample: ["flask_app_port: 8000 is taken by python3 (pid 123); stop it, or choose another port."]
warnings:
  description: Risks, and checks that were not possible.
  returned: when there is any
  type: list
  elements: str
  sample: []
target:
  description: The Python, in the form that M(evenkeel.flask.release_archive) requires.
  returned: when the interpreter runs
  type: dict
  contains:
    python_version:
      description: Its version.
      type: str
    python_tag:
      description: The tag of wheels for it.
      type: str
    machine:
      description: The processor.
      type: str
    libc:
      description: The C library, empty if it is unknown.
      type: str
  sample: {python_version: 3.11.2, python_tag: cp311, machine: x86_64, libc: glibc-2.36}
free_mb:
  description: Megabytes that are free.
  returned: always
  type: int
  sample: 79000
clock_skew_seconds:
  description: Seconds that the host's clock is ahead of the controller's.
  returned: when O(controller_time) was given
  type: float
  sample: 0.4
redis_version:
  description: The version of Redis, V(null) where its access list hides it.
  returned: when the proof of O(redis_url) succeeded
  type: str
  sample: 7.0.15
redis_maxmemory_policy:
  description: The server's C(maxmemory-policy), V(null) where its access list hides it.
  returned: when the proof of O(redis_url) succeeded
  type: str
  sample: volatile-ttl
database_version:
  description: The version of PostgreSQL.
  returned: when the proof of O(database_url) succeeded, for PostgreSQL
  type: str
  sample: "15.14"
lock_timeout_applies:
  description: Whether the server takes O(lock_timeout) by C(PGOPTIONS). A migration must do without where it does not.
  returned: when O(lock_timeout) was tried
  type: bool
  sample: true
database_max_connections:
  description: All connections that PostgreSQL allows.
  returned: when the proof of O(database_url) succeeded, for PostgreSQL
  type: int
  sample: 100
"""

import time
from collections.abc import Mapping
from typing import Any

from ..module_utils import _errors
from ..module_utils._front import config
from ..module_utils._migrations import lock_timeout
from ..module_utils._module import AnsibleModule
from ..module_utils._preflight import budget, host
from ..module_utils._preflight import report as preflight_report
from ..module_utils._release import lock as release_lock
from ..module_utils._services import address as services_address
from ..module_utils._services import postgres
from ..module_utils._services import redis as services_redis
from ..module_utils._system import procfs

FIGURES: tuple[str, ...] = ("workers", "threads", "pool_size", "max_overflow")
BUDGET_SPEC: dict[str, Any] = {
    **{name: {"type": "int"} for name in (*FIGURES, "hosts")},
    "fleet": {
        "type": "list",
        "elements": "dict",
        "options": {name: {"type": "int", "required": True} for name in FIGURES},
    },
    "slots": {"type": "int", "default": 2},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "min_python": {"type": "str", "default": "3.9"},
    "user": {"type": "str"},
    "path": {"type": "path", "default": "/srv"},
    "min_free_mb": {"type": "int", "default": 500},
    "ports": {"type": "dict", "default": {}},
    "port_owners": {"type": "list", "elements": "str", "default": ["nginx"]},
    "port_addresses": {"type": "dict", "default": {}},
    "default_site": {"type": "str", "choices": ["auto", "keep"], "default": "auto"},
    "redis_url": {"type": "str", "default": "", "no_log": True},
    "redis_key_prefix": {"type": "str", "no_log": False},
    "database_url": {"type": "str", "default": "", "no_log": True},
    "connections": {
        "type": "dict",
        "options": BUDGET_SPEC,
        "required_one_of": [["fleet", "hosts"]],
        "required_by": {"hosts": FIGURES},
    },
    "lock_timeout": {"type": "int", "default": 0},
    "controller_time": {"type": "float"},
    "max_clock_skew": {"type": "float", "default": 60},
    "timeout": {"type": "float", "default": 5},
    "lock_seconds": {"type": "float"},
    **release_lock.TAKE_SPEC,
}


def look_at_host(params: Mapping[str, Any], report: preflight_report.Report) -> None:
    facts = report.facts
    with report.about("flask_app_python"):
        found = host.describe_python(params["python"])
        facts["target"] = {key: found[key] for key in host.TARGET}
        host.check_python(found, params["min_python"], params["python"])
    if params["user"]:
        with report.about("flask_app_user"):
            host.check_user(params["user"], host.user_id(params["user"]))
    with report.about("rollout_min_free_mb"):
        facts["free_mb"] = host.free_mb(params["path"])
        host.check_disk(params["path"], facts["free_mb"], params["min_free_mb"])
    if params["controller_time"] is not None:
        with report.about("clock"):
            skew = facts["clock_skew_seconds"] = round(time.time() - params["controller_time"], 1)
            host.check_clock(skew, params["max_clock_skew"])
    look_at_ports(params, report)


def look_at_ports(params: Mapping[str, Any], report: preflight_report.Report) -> None:
    ports: dict[str, int] = {}
    for variable, value in params["ports"].items():
        with report.about(variable):
            ports[variable] = host.port_number(value)
    holders = procfs.holders(ports.values())
    for variable, port in ports.items():
        with report.about(variable):
            host.check_port(port, holders.get(port, []), params["port_owners"])
    own = f"/etc/nginx/conf.d/{params['name']}.conf"
    disk = config.Disk()
    listens = {
        variable: config.app_listens(
            params["port_addresses"].get(variable) or [], port, config.resolve
        )
        for variable, port in ports.items()
    }
    if not disk.exists or not any(listens.values()):
        return
    servers = disk.config().servers
    running = [
        config.Listen(address, port, port)
        for port, address in procfs.addresses(
            port
            for port in ports.values()
            if any(holder.startswith("nginx ") for holder in holders.get(port, []))
        )
    ]
    for variable, requested in listens.items():
        with report.about(variable):
            host.check_listens(requested, servers, running, own, params["default_site"])


def prove_services(params: Mapping[str, Any], report: preflight_report.Report) -> None:
    facts, timeout = report.facts, params["timeout"]
    if params["redis_url"]:
        prefix = params["redis_key_prefix"]
        with report.about("redis_client_url"):
            redis = services_redis.check_connection(
                params["redis_url"], f"{params['name']}:" if prefix is None else prefix, timeout
            )
            facts["redis_version"] = redis.version
            facts["redis_maxmemory_policy"] = redis.policy
            services_redis.check_memory(redis)
    if not params["database_url"]:
        return
    with report.about("flask_app_database_url"):
        if not postgres.is_postgres_url(params["database_url"]):
            return services_address.reach(params["database_url"], timeout)
        server = postgres.check_connection(params["database_url"], timeout)
        facts["database_version"] = server.version
        facts["database_max_connections"] = server.max_connections
        if params["connections"]:
            with report.about("gunicorn_workers"):
                budget.check_budget(budgets(params["connections"]), *server.allowed())
        if params["lock_timeout"] > 0:
            with report.about("flask_app_migrate_lock_timeout"):
                facts["lock_timeout_applies"] = False
                try_lock_timeout(params["database_url"], timeout, params["lock_timeout"])
                facts["lock_timeout_applies"] = True


def budgets(connections: Mapping[str, Any]) -> list[budget.ConnectionBudget]:
    """Return the connection budget of each part of the fleet."""
    own = {name: connections[name] for name in FIGURES}
    fleet = connections["fleet"] or [own] * connections["hosts"]
    return budget.shares(fleet, connections["slots"])


def try_lock_timeout(url: str, timeout: float, seconds: int) -> None:
    """Check whether a migration gives up if it does not get a lock.

    @raises PreflightWarning: if it does not
    """
    driver = url.partition(":")[0].partition("+")[2]
    if driver in lock_timeout.DEAF_DRIVERS:
        raise _errors.PreflightWarning(
            f"the driver {driver} does not read PGOPTIONS, so a migration waits for a lock without limit, and "
            "users wait behind it; use psycopg for migrations, or have the app set lock_timeout itself."
        )
    try:
        applied = postgres.lock_timeout_ms(url, timeout, lock_timeout.options(seconds) or "")
    except postgres.Refused as error:
        raise _errors.PreflightWarning(
            f"the server does not take PGOPTIONS ({error.message}), so migrations run without a lock timeout; have "
            "the pooler ignore it (ignore_startup_parameters = options), or migrate past the pooler."
        ) from error
    if applied == 0:
        raise _errors.PreflightWarning(
            "the server ignores PGOPTIONS, as poolers may, so a migration waits for a lock without limit; "
            "migrate past the pooler, or set lock_timeout for the database's user."
        )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    report = preflight_report.Report()
    if module.params["lock_seconds"] is not None:
        path, seconds = release_lock.path(module.params["name"]), module.params["lock_seconds"]
        try:
            _found, lock = release_lock.acquire_for(path, module.params, seconds, module.check_mode)
        except _errors.LockError as error:
            module.fail_json(msg=str(error), problems=[str(error)], holder=error.holder)
        report.facts["holder"] = lock.as_dict() if lock else None
    look_at_host(module.params, report)
    prove_services(module.params, report)
    for warning in report.warnings:
        module.warn(warning)
    if report.problems:
        module.fail_json(msg="\n".join(report.problems), problems=report.problems, **report.facts)
    module.exit_json(changed=False, problems=[], **report.facts)


if __name__ == "__main__":
    main()
