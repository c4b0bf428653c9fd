# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the variables of a host against the roles' argument specs; on the controller only.

Argument specs alone accept a mistyped name, stop at the first wrong value, and do not check
the meaning of a value.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load

from ..module_utils import _errors
from ..module_utils._errors import ArgumentError
from ..module_utils._gate import suite as suite_check
from ..module_utils._gate.verdict import CHECKS_SPEC
from ..module_utils._migrations.rules import IGNORE, REFUSE, RULES, WARN
from ..module_utils._profile.measure import MAX_CONCURRENCY
from ..module_utils._system import app_directories

Option = Mapping[str, Any]
Options = Mapping[str, Option]

# Roles of other authors also use these prefixes (names of fedora.linux_system_roles begin with
# logging_). So only a near miss of a name of this collection is a typo.
SHARED_PREFIXES = ("logging_", "nginx_", "profile_")
NEAR = 0.85

SAMPLES = {"flask_app_name": "shop", "flask_app_entry": "shop:create_app()"}
WORDS = {
    "bool": "true or false",
    "dict": "a dictionary",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\(.*\))?")
NGINX_SIZE = re.compile(r"[1-9]\d{0,8}[kKmM]?")
# ngx_conf_set_bufs_slot() requires at least two buffers.
NGINX_BUFFERS = re.compile(r"(?:[2-9]|[1-9]\d{1,4}) [1-9]\d{0,8}[kKmM]?")
# As in nginx's server_name: a name, a name with * as its first or last part, or a regular expression.
HOST_NAME = re.compile(r"(\*?\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?(:\d{1,5})?")
BATCH = re.compile(r"0*[1-9]\d*|0*([1-9]\d?|100)%")
SHARE = re.compile(r"\d+%?", re.ASCII)
UMASK = re.compile(r"0?[0-7]{3}")
ACTIONS = (REFUSE, WARN, IGNORE)
BALANCERS = ("haproxy", "nginx", "target_group")
PROJECT_FILES = ("pyproject.toml", "setup.py", "requirements.txt")


class ValueProblem(Exception):
    """A value is invalid for its variable. The message has the reason and the allowed values."""


def load_specs(roles_folder: str, roles: Iterable[str]) -> dict[str, Options]:
    """Read the options of all entry points of each role.

    @raises FileNotFoundError: if a role does not exist
    """
    specs: dict[str, Options] = {}
    for role in roles:
        path = os.path.join(roles_folder, role, "meta", "argument_specs.yml")
        with open(path, encoding="utf-8") as stream:
            # yaml_load uses libyaml if available: each host reads the file again, in its own process.
            entry_points = yaml_load(stream)["argument_specs"].values()
        specs[role] = {
            name: option
            for entry in entry_points
            for name, option in entry.get("options", {}).items()
        }
    return specs


def unknown(names: Iterable[str], specs: Mapping[str, Options]) -> list[str]:
    """Return the variables that have a role's prefix and that the role does not have."""
    problems = []
    for role, options in specs.items():
        prefix = f"{role}_"
        shared = prefix in SHARED_PREFIXES
        # Only the part after the prefix is compared: the common prefix does not make names similar.
        tails = [option.removeprefix(prefix) for option in options]
        for name in sorted(names):
            if not name.startswith(prefix) or name in options:
                continue
            tail = name.removeprefix(prefix)
            near = difflib.get_close_matches(tail, tails, 1, NEAR if shared else 0.6)
            if near:
                problems.append(f"{name}: no such variable; did you mean {prefix}{near[0]}?")
            elif not shared:
                problems.append(
                    f"{name}: no such variable; the README of the role {role} names those there are."
                )
    return problems


def missing(names: Iterable[str], values: Mapping[str, Any]) -> list[str]:
    """Return the required variables that are not set, or empty."""
    return [
        f"{name}: required; set it in group_vars/app.yml, "
        f"e.g. {name}: {SAMPLES.get(name, '<value>')}"
        for name in names
        if values.get(name) in (None, "")
    ]


def converted(option: Option, value: Any) -> Any:
    """Convert a value as Ansible does for a role's argument.

    @raises ValueProblem: if it has the wrong type, or is not one of the choices
    """
    expected = option.get("type", "str")
    bare = {key: option[key] for key in ("type", "choices") if key in option}
    result = ArgumentSpecValidator({"value": bare}).validate({"value": value})
    if result.error_messages or _loses_meaning(expected, value):
        choices = ", ".join(map(str, option.get("choices", [])))
        hide = option.get("no_log") or isinstance(value, (Mapping, list))
        advice = "; put it in quotes" if isinstance(value, float) and expected == "str" else ""
        raise ValueProblem(
            f"wanted {f'one of {choices}' if choices else WORDS.get(expected, expected)}, "
            f"got {_kind(value) if hide else repr(value)[:60]}{advice}."
        )
    return result.validated_parameters["value"]


def mistyped(name: str, option: Option, value: Any) -> Iterator[str]:
    """Return all type errors of a value and of the values in it.

    Ansible's validator checks each value. The recursion names each by its whole path.
    """
    if value is None:
        yield f"{name}: has no value; give it one, or remove the line for the default."
        return
    try:
        value = converted(option, value)
    except ValueProblem as problem:
        yield f"{name}: {problem}"
        return
    inherited = {"no_log": option.get("no_log", False)}
    options = option.get("options", {})
    if isinstance(value, list) and "elements" in option:
        below = {**inherited, "type": option["elements"], "options": options}
        for index, entry in enumerate(value):
            yield from mistyped(f"{name}[{index}]", below, entry)
    elif isinstance(value, Mapping) and options:
        for key, spec in options.items():
            if value.get(key) is not None:
                yield from mistyped(f"{name}.{key}", {**inherited, **spec}, value[key])
            elif spec.get("required"):
                yield f"{name}.{key}: required, and not there."
        for key in (key for key in value if key not in options):
            near = difflib.get_close_matches(str(key), options, 1)
            advice = (
                f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(options))}."
            )
            yield f"{name}.{key}: no such setting; {advice}"


def _loses_meaning(expected: str, value: Any) -> bool:
    """Return whether Ansible's conversion would lose information: a list to text, 1.10 to "1.1", true to 1."""
    if expected in ("str", "path"):
        return isinstance(value, (Mapping, list, bool, float))
    return expected in ("int", "float") and isinstance(value, bool)


def _kind(value: Any) -> str:
    # By isinstance, because ansible-core 2.19 has tagged subclasses of these types; a bool is an int.
    kinds = {"bool": bool, "dict": Mapping, "float": float, "int": int, "list": list, "str": str}
    return next(
        (WORDS[name] for name, kind in kinds.items() if isinstance(value, kind)), "something"
    )


def _matches(pattern: re.Pattern[str], advice: str) -> Callable[[Any], None]:
    def validate(value: Any) -> None:
        if not pattern.fullmatch(str(value)):
            raise ValueProblem(f"{value!r} {advice}.")

    return validate


def _between(low: float, high: float, what: str) -> Callable[[Any], None]:
    def validate(value: Any) -> None:
        if not low <= value <= high:
            raise ValueProblem(f"{value} is {what}.")

    return validate


def _url(form: str, schemes: Sequence[str] = ()) -> Callable[[str], None]:
    def validate(value: str) -> None:
        # The message of urlsplit on an invalid URL can contain a part of the password.
        try:
            parts = urlsplit(value)
            _port = parts.port
        except ValueError:
            raise ValueProblem(
                f"is no URL; wanted {form}, with %2F for / and %40 for @ in a password."
            ) from None
        if not parts.scheme or "://" not in value or (schemes and parts.scheme not in schemes):
            raise ValueProblem(f"is not of the form {form}.")

    return validate


def _batches(value: Sequence[Any]) -> None:
    bad = [entry for entry in value if not BATCH.fullmatch(str(entry))]
    if bad or not value:
        problem = f"{bad[0]!r} is no size of a batch" if bad else "is empty"
        raise ValueProblem(
            f'{problem}; wanted numbers above 0 and percentages, e.g. [1, "25%", "100%"].'
        )


def _endpoints(value: Sequence[Any]) -> None:
    for entry in value:
        path = entry.get("path") if isinstance(entry, Mapping) else entry
        if not isinstance(path, str) or not path.startswith("/"):
            raise ValueProblem(
                "has an entry that is no path; wanted paths that begin with /, or dictionaries with path and, where "
                "need be, name and headers."
            )


def _cache_rules(value: Sequence[Mapping[str, Any]]) -> None:
    for rule in value:
        if not str(rule["path"]).startswith(("/", "*")):
            raise ValueProblem(
                f"{rule['path']!r} is no path; wanted e.g. /products, /products/<id> or /api/*."
            )
        _seconds(rule["timeout"])


def _cache_timeouts(value: Mapping[str, Any]) -> None:
    for timeout in value.values():
        _seconds(timeout)


def _seconds(value: Any) -> None:
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
        raise ValueProblem(f"{value!r} is no time; wanted whole seconds, and 0 for never.")


def _networks(value: Sequence[str]) -> None:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueProblem(f"{error}; wanted e.g. 10.0.0.0/8 or 192.0.2.7.") from error


def _shared_paths(value: Sequence[str]) -> None:
    for path in value:
        try:
            app_directories.relative(path)
        except _errors.PathProblem as problem:
            raise ValueProblem(f"{problem}.") from problem


def _host_names(value: Sequence[Any]) -> None:
    for name in map(str, value):
        port = name.rpartition(":")[2]
        if name.startswith("~"):
            # Other characters end the word in nginx's configuration.
            if re.search(r'["\s]', name):
                raise ValueProblem(
                    f"{name!r} has a space or a quote, which nginx does not take here."
                )
        elif (
            name in ("_", "*")
            or name.count("*") > 1
            or not HOST_NAME.fullmatch(name)
            or (port.isdigit() and ":" in name and not 1 <= int(port) <= 65535)
        ):
            raise ValueProblem(
                f"{name!r} is not a host name; use e.g. shop.example, *.shop.example or shop.example:8443, and xn-- for "
                "other scripts."
            )


def _share(value: Any) -> None:
    text = str(value)
    if not SHARE.fullmatch(text) or (text.endswith("%") and int(text[:-1]) > 100):
        raise ValueProblem(
            f'{value!r} is no number of hosts; wanted a number from 0 or a percentage, e.g. "10%".'
        )


def _migration_rules(value: Mapping[str, Any]) -> None:
    for rule, action in value.items():
        if rule not in RULES:
            near = difflib.get_close_matches(str(rule), RULES, 1)
            advice = f"did you mean {near[0]}?" if near else f"use one of {', '.join(RULES)}."
            raise ValueProblem(f"{rule!r} is not a rule; {advice}")
        if action not in ACTIONS:
            raise ValueProblem(f"{rule} is {action!r}; use refuse, warn or ignore.")


def _nginx_path(value: str) -> None:
    if not re.fullmatch(r"/[\w./@%+-]+", value):
        raise ValueProblem(
            f'{value!r} is not a path for nginx; use an absolute path of letters, digits and ._/@%+-, or "" for none.'
        )


def _nginx_size(value: str) -> None:
    if not NGINX_SIZE.fullmatch(value):
        raise ValueProblem(
            f"{value!r} is not a size for nginx; use a number with k or m, e.g. 16k."
        )


def _nginx_buffers(value: str) -> None:
    if not NGINX_BUFFERS.fullmatch(value):
        raise ValueProblem(
            f"{value!r} is not a number and a size; use at least 2 buffers, e.g. 8 16k."
        )


def _bytes(size: str) -> int:
    """Return the bytes of a size in nginx's notation."""
    digits = size.rstrip("kKmM")
    return int(digits) * {"": 1, "k": 1 << 10, "m": 1 << 20}[size[len(digits) :].lower()]


# Checks of a value beyond its type. Called with the converted value, except if it is empty.
VALIDATORS: Mapping[str, Callable[[Any], None]] = {
    "flask_app_name": _matches(
        NAME,
        "is no name for an app; wanted small letters, digits, - and _, at most 31, a letter first",
    ),
    "flask_app_entry": _matches(
        ENTRY, "is no WSGI entry; wanted package.module:app or package.module:create_app()"
    ),
    "flask_app_cache_rules": _cache_rules,
    "flask_app_database_url": _url("postgresql+psycopg://user:password@host:5432/database"),
    "flask_app_migrate_lock_timeout": _between(0, 86400, "not from 0 to 86400 seconds"),
    "flask_app_migrate_retries": _between(0, 100, "not from 0 to 100"),
    "flask_app_migrate_small_rows": _between(0, 10**12, "not a number of rows; use 0 or more"),
    "flask_app_port": _between(1, 65535, "no port; wanted 1 to 65535"),
    "flask_app_rate_limit": _between(0, float("inf"), "no limit; wanted 0, for none, or more"),
    "flask_app_rate_limit_exempt": _networks,
    "flask_app_shared_paths": _shared_paths,
    "gunicorn_umask": _matches(UMASK, 'is no umask; wanted octal digits in quotes, e.g. "0027"'),
    "gunicorn_workers": _between(1, float("inf"), "too few; wanted 1 or more"),
    "nginx_access_log": _nginx_path,
    "nginx_candidate_port": _between(1, 65535, "no port; wanted 1 to 65535"),
    "nginx_client_max_body_size": _matches(
        re.compile(r"\d{1,9}[kKmMgG]?"), "is not a size for nginx; use a number with k, m or g"
    ),
    "nginx_proxy_buffer_size": _nginx_size,
    "nginx_proxy_buffers": _nginx_buffers,
    "nginx_server_names": _host_names,
    "nginx_trusted_proxies": _networks,
    "profile_concurrency": _between(1, MAX_CONCURRENCY, f"not from 1 to {MAX_CONCURRENCY}"),
    "profile_endpoints": _endpoints,
    "profile_max_requests": _between(1, float("inf"), "too few; wanted 1 or more"),
    "profile_rate": _between(0.1, float("inf"), "too low; wanted 0.1 or more"),
    "profile_seconds": _between(0.1, float("inf"), "too short; wanted 0.1 or more"),
    "redis_client_cache_timeouts": _cache_timeouts,
    "redis_client_url": _url(
        "redis://user:password@host:6379/0, rediss://… or unix:///path", ("redis", "rediss", "unix")
    ),
    "rollout_batches": _batches,
    "rollout_lock_seconds": _between(
        1, float("inf"), "no time to hold a lock for; wanted 1 or more"
    ),
    "rollout_max_failures": _share,
    "rollout_migration_rules": _migration_rules,
}


def validate(name: str, value: Any) -> None:
    """Check the meaning of a value.

    @raises ValueProblem: if the value is invalid
    """
    # An empty value means "not given" where a default is empty. missing() reports required ones.
    if name in VALIDATORS and value != "":
        VALIDATORS[name](value)


def path_resolver(variables: Mapping[str, Any], basedir: str) -> Callable[[str], str]:
    """Return a function that resolves a path relative to the inventory's directory.

    For a playbook called by FQCN, the playbook's directory is the collection's.
    """
    folder = variables.get("inventory_dir") or basedir
    return lambda path: os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def suite(checks: Mapping[str, Any], find: Callable[[str], str]) -> list[str]:
    """Return the errors in C(rollout_checks.suite), the team's own tests, before any change."""
    option = CHECKS_SPEC[suite_check.NAME]["options"]
    validator = ArgumentSpecValidator(option)
    settings = validator.validate(checks.get(suite_check.NAME) or {}).validated_parameters
    if not settings["enabled"]:
        return []
    try:
        named = suite_check.source(settings)
    except ArgumentError as error:
        return [f"rollout_{error}"]
    if named in ("path", "junit") and not os.path.exists(find(settings[named])):
        return [
            f"rollout_checks.suite.{named}: {find(settings[named])} is not there; name one on the controller."
        ]
    return []


def drain(settings: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the errors in C(rollout_drain) beyond the types of its settings.

    @param groups: the hosts of each group of the inventory
    """
    if not settings:
        return []
    kinds = [kind for kind in BALANCERS if settings.get(kind) is not None]
    if len(kinds) != 1:
        return [
            f"rollout_drain: wanted one of {', '.join(BALANCERS)}, got {' and '.join(kinds) or 'none'}."
        ]
    if not settings.get("hosts") and kinds != ["target_group"] and not groups.get("lb"):
        return [
            "rollout_drain.hosts: not there, and the inventory has no host in the group lb; name the "
            "hosts that the balancers run on."
        ]
    return [
        f"rollout_drain.hosts: {host} is no host of the inventory."
        for host in settings.get("hosts") or []
        if host not in groups.get("all", []) and host != "localhost"
    ]


def limit(
    values: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[str]]:
    """Check whether the rate limit can count, and whether it would merge clients.

    @returns: errors and warnings
    """
    if not values.get("flask_app_rate_limit"):
        return [], []
    if values.get("flask_app_rate_limit_scope") == "fleet":
        if not values.get("redis_client_url"):
            return [
                "flask_app_rate_limit_scope: fleet counts in Redis; set redis_client_url, or take host."
            ], []
    elif not values.get("nginx_enabled", True):
        return [], [
            "flask_app_rate_limit: nobody counts, since nginx is switched off; take the scope fleet, or set 0."
        ]
    if groups.get("lb") and not values.get("nginx_trusted_proxies"):
        return [], [
            "flask_app_rate_limit: behind a balancer all users have the limit of one client; name the "
            "balancers in nginx_trusted_proxies."
        ]
    return [], []


def names(
    values: Mapping[str, Any], groups: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[str]]:
    """Check the front's ports and names.

    @returns: errors and warnings
    """
    if not values.get("nginx_enabled", True):
        return [], []
    problems, doubts = [], []
    port = values.get("flask_app_port")
    if port is not None and port == values.get("nginx_candidate_port"):
        problems.append(f"nginx_candidate_port: {port} is flask_app_port; choose another.")
    size, buffers = (
        str(values.get(f"nginx_proxy_{name}", "")) for name in ("buffer_size", "buffers")
    )
    if NGINX_SIZE.fullmatch(size) and NGINX_BUFFERS.fullmatch(buffers):
        number, _sep, each = buffers.partition(" ")
        # ngx_http_proxy_merge_loc_conf(): the busy size is twice the larger one, and leaves one buffer free.
        if 2 * max(_bytes(size), _bytes(each)) > (int(number) - 1) * _bytes(each):
            problems.append(
                f"nginx_proxy_buffer_size: {size} does not fit nginx_proxy_buffers {buffers}, which nginx refuses; all "
                f"buffers but one must hold twice the larger size, e.g. nginx_proxy_buffers: 8 {size}."
            )
    known = [str(name) for name in values.get("nginx_server_names") or []]
    asks_by_name = any(str(name).lower() == "host" for name in values.get("rollout_headers") or {})
    if known and not asks_by_name and all("*" in name or name[0] in "~." for name in known):
        problems.append(
            "nginx_server_names: has patterns only, and gate and bake need one name; add one, or name it in "
            "rollout_headers, e.g. Host: www.shop.example."
        )
    if known and groups.get("lb") and not values.get("nginx_trusted_proxies"):
        doubts.append(
            "nginx_server_names: a balancer that asks for the health endpoint by an address is refused unless it is "
            "in nginx_trusted_proxies; name the balancers there."
        )
    return problems, doubts


def inputs(
    values: Mapping[str, Any], find: Callable[[str], str]
) -> tuple[dict[str, str], list[str]]:
    """Find the inputs of a release: absolute paths by variable, and the errors in them.

    @param find: returns the absolute path of a file on the controller
    """
    source, requirements = (
        values.get("flask_app_source") or "",
        values.get("flask_app_requirements") or [],
    )
    paths: dict[str, str] = {}
    problems: list[str] = []
    if not source and not requirements:
        problems.append(
            "flask_app_source: neither it nor flask_app_requirements is given; name a directory or a "
            "wheel on the controller, or list what is to be installed, e.g. "
            "flask_app_requirements: [httpbin]"
        )
    if source:
        paths["flask_app_source"] = find(source)
        problems += _wrong_source(paths["flask_app_source"], bool(requirements))
        problems += _wrong_shared(
            paths["flask_app_source"], values.get("flask_app_shared_paths") or []
        )
    if isinstance(requirements, str):
        beside = os.path.join(paths.get("flask_app_source", ""), requirements)
        paths["flask_app_requirements"] = beside if os.path.isfile(beside) else find(requirements)
        if not os.path.isfile(paths["flask_app_requirements"]):
            problems.append(
                f"flask_app_requirements: {paths['flask_app_requirements']} is not there; name a "
                f"requirements file on the controller, or write a list: [{requirements}]"
            )
    elif not isinstance(requirements, list) or not all(
        isinstance(entry, str) for entry in requirements
    ):
        problems.append(
            "flask_app_requirements: wanted a list of requirements as pip writes them, or the path of "
            "a requirements file."
        )
    return paths, problems


def _wrong_source(path: str, has_requirements: bool) -> list[str]:
    if not os.path.exists(path):
        return [
            f"flask_app_source: {path} is not there; name a directory or a wheel on the controller."
        ]
    if os.path.isfile(path):
        if path.endswith(".whl"):
            return []
        return [
            f"flask_app_source: {path} is a file and no wheel; name a directory or a .whl file."
        ]
    if has_requirements or any(os.path.exists(os.path.join(path, name)) for name in PROJECT_FILES):
        return []
    return [
        f"flask_app_source: {path} has none of {', '.join(PROJECT_FILES)}; add one that says what the "
        "app needs, or list it in flask_app_requirements."
    ]


def _wrong_shared(source: str, shared: Sequence[str]) -> list[str]:
    """Return the shared paths whose name implies a directory but that are files, or the reverse."""
    problems = []
    for path in shared:
        place, is_file = os.path.join(source, path.strip("/")), app_directories.is_file(path)
        if os.path.isfile(place) and not is_file:
            problems.append(
                f"flask_app_shared_paths: {path} is a file in the source, and a name without an extension is made a "
                "directory on the hosts; give the file an extension, or share the directory that it is in."
            )
        elif os.path.isdir(place) and is_file:
            problems.append(
                f"flask_app_shared_paths: {path} is a directory in the source, and a name with an extension is taken "
                f"for a file; write {path}/"
            )
    return problems


def claimed_twice(addresses: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the hosts of the inventory that have the same SSH address as another host."""
    owners: dict[tuple[str, str], str] = {}
    return [
        f"ansible_host: {host} and {owners[address]} claim one address, {address[0]}:{address[1]}; give "
        "each host of the inventory its own."
        for host, address in addresses.items()
        if owners.setdefault(address, host) != host
    ]
