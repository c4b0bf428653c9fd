# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables are judged with names, reasons and remedies, and secrets stay secret."""

from __future__ import annotations

import re

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _variables

CHECKS = {
    "upload": {"type": "dict", "options": {"max_bytes": {"type": "int"}, "path": {"type": "str"}}},
    "errors": {"type": "dict", "options": {"status": {"type": "list", "elements": "int"}}},
}
RULES = {"path": {"type": "str", "required": True}, "timeout": {"type": "int", "required": True}}

SPECS = {
    "gunicorn": {"gunicorn_workers": {"type": "int"}, "gunicorn_worker_class": {"type": "str"}},
    "flask_app": {"flask_app_name": {"type": "str", "required": True}},
    "logging": {"logging_level": {"type": "str"}, "logging_directory": {"type": "path"}},
    "nginx": {"nginx_enabled": {"type": "bool"}},
}

# Of roles that share a prefix with ours; all of fedora.linux_system_roles.logging's are asked about
# in the tests of the role logging.
OTHER_PEOPLES = [
    "logging_outputs",
    "logging_enabled",
    "nginx_worker_processes",
    "nginx_vhosts",
    "nginx_upstreams",
    "nginx_conf_template",
    "profile_name",
    "profile_tasks",
]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gunicorn_worker", "gunicorn_worker: no such variable; did you mean gunicorn_workers?"),
        (
            "gunicorn_colour",
            "gunicorn_colour: no such variable; the README of the role gunicorn names those there are.",
        ),
        ("flask_app_nmae", "flask_app_nmae: no such variable; did you mean flask_app_name?"),
        ("logging_levels", "logging_levels: no such variable; did you mean logging_level?"),
        ("nginx_enable", "nginx_enable: no such variable; did you mean nginx_enabled?"),
    ],
)
def test_a_mistyped_name_is_named_with_the_right_one(name, said):
    assert _variables.unknown([name], SPECS) == [said]


@pytest.mark.parametrize(
    "name",
    ["gunicorn_workers", "_gunicorn_worker", "__flask_app_x", "gunicorn", "my_logging_levels"],
)
def test_known_private_and_foreign_names_pass(name):
    assert _variables.unknown([name], SPECS) == []


def test_other_peoples_names_with_a_shared_prefix_pass(collection_specs):
    assert _variables.unknown(OTHER_PEOPLES, collection_specs) == []


@pytest.fixture(name="collection_specs")
def _collection_specs():
    from ansible_collections.evenkeel.flask.plugins.action import check_variables

    return _variables.load_specs(check_variables.ROLES_FOLDER, check_variables.public_roles())


def test_specs_hold_the_options_of_all_entry_points(tmp_path):
    meta = tmp_path / "shop" / "meta"
    meta.mkdir(parents=True)
    (meta / "argument_specs.yml").write_text(
        "argument_specs: {main: {options: {a: {type: int}}}, build: {options: {b: {}}}, other: {}}"
    )
    assert _variables.load_specs(str(tmp_path), ["shop"]) == {
        "shop": {"a": {"type": "int"}, "b": {}}
    }


def test_what_is_missing_is_told_with_an_example():
    values = {"flask_app_entry": "", "given": 1, "null": None}
    assert _variables.missing(["flask_app_name", "flask_app_entry", "given", "null"], values) == [
        "flask_app_name: required; set it in group_vars/app.yml, e.g. flask_app_name: shop",
        "flask_app_entry: required; set it in group_vars/app.yml, e.g. flask_app_entry: shop:create_app()",
        "null: required; set it in group_vars/app.yml, e.g. null: <value>",
    ]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ({"type": "int"}, "five", ["v: wanted a whole number, got 'five'."]),
        ({"type": "int"}, 5.5, ["v: wanted a whole number, got 5.5."]),
        ({"type": "int"}, True, ["v: wanted a whole number, got True."]),
        ({"type": "bool"}, "maybe", ["v: wanted true or false, got 'maybe'."]),
        ({"type": "dict"}, "text", ["v: wanted a dictionary, got 'text'."]),
        ({"type": "list"}, {"a": 1}, ["v: wanted a list, got a dictionary."]),
        ({"type": "str"}, ["a"], ["v: wanted text, got a list."]),
        ({"type": "str"}, 1.10, ["v: wanted text, got 1.1; put it in quotes."]),
        (
            {"type": "str"},
            None,
            ["v: has no value; give it one, or remove the line for the default."],
        ),
        ({"type": "str", "choices": ["a", "b"]}, "c", ["v: wanted one of a, b, got 'c'."]),
        (
            {"type": "list", "elements": "str"},
            ["a", {}, 2.5],
            [
                "v[1]: wanted text, got a dictionary.",
                "v[2]: wanted text, got 2.5; put it in quotes.",
            ],
        ),
        (
            {"type": "list", "elements": "dict", "options": RULES},
            [{"path": "/", "timeout": 1}, {"pth": "/", "timeout": "x"}],
            [
                "v[1].path: required, and not there.",
                "v[1].timeout: wanted a whole number, got 'x'.",
                "v[1].pth: no such setting; did you mean path?",
            ],
        ),
        (
            {"type": "dict", "options": CHECKS},
            {"upload": {"max_bytes": "many"}, "errors": {"status": ["x"]}, "colour": 1},
            [
                "v.upload.max_bytes: wanted a whole number, got 'many'.",
                "v.errors.status[0]: wanted a whole number, got 'x'.",
                "v.colour: no such setting; there are errors, upload.",
            ],
        ),
    ],
)
def test_every_wrong_value_is_told_by_its_path(option, value, said):
    assert list(_variables.mistyped("v", option, value)) == said


@pytest.mark.parametrize(
    ("option", "value", "converted"),
    [
        ({"type": "int"}, "5", 5),
        ({"type": "str"}, 5, "5"),
        ({"type": "bool"}, "yes", True),
        ({"type": "list", "elements": "str"}, "a,b", ["a", "b"]),
        ({"type": "raw"}, [1, "25%"], [1, "25%"]),
        ({"type": "dict", "options": CHECKS}, {"upload": None}, {"upload": None}),
    ],
)
def test_what_ansible_converts_passes(option, value, converted):
    assert list(_variables.mistyped("v", option, value)) == []
    assert _variables.converted(option, value) == converted


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ({"type": "int", "no_log": True}, "hunter2"),
        ({"type": "str", "no_log": True, "choices": ["a"]}, "hunter2"),
        ({"type": "dict", "no_log": True}, ["hunter2"]),
        ({"type": "dict", "no_log": True, "options": {"n": {"type": "int"}}}, {"n": "hunter2"}),
        ({"type": "list", "elements": "int", "no_log": True}, ["hunter2"]),
    ],
)
def test_a_secret_value_is_never_shown(option, value):
    said = list(_variables.mistyped("v", option, value))
    assert said
    assert "hunter2" not in str(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flask_app_name", "shop-2_b"),
        ("flask_app_entry", "shop:app"),
        ("flask_app_entry", "shop.web:create_app()"),
        ("flask_app_entry", "shop:create_app('prod')"),
        ("flask_app_database_url", "postgresql+psycopg://u:p%2F@h:5432/d"),
        ("flask_app_database_url", "sqlite:////srv/x.db"),
        ("flask_app_database_url", ""),
        ("flask_app_port", 65535),
        ("gunicorn_umask", "0027"),
        ("profile_endpoints", ["/", {"path": "/a", "headers": {"Cookie": "b"}}]),
        ("profile_concurrency", 200),
        ("redis_client_url", "rediss://:p@h/0"),
        ("redis_client_url", "unix:///run/redis.sock"),
        ("rollout_batches", [1, "25%", "100%"]),
        ("rollout_batches", ["2"]),
        ("rollout_max_failures", 0),
        ("rollout_max_failures", "2"),
        ("rollout_max_failures", "10%"),
        ("gunicorn_timeout", 0),
    ],
)
def test_what_can_be_meant_passes(name, value):
    _variables.validate(name, value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("flask_app_name", "Shop", "'Shop' is no name for an app"),
        ("flask_app_name", "a" * 32, "at most 31"),
        ("flask_app_name", "../etc", "is no name for an app"),
        ("flask_app_entry", "shop", "wanted package.module:app or package.module:create_app()"),
        ("flask_app_entry", "shop:", "is no WSGI entry"),
        ("flask_app_entry", "shop/wsgi.py:app", "is no WSGI entry"),
        ("flask_app_entry", "shop:web.app", "is no WSGI entry"),
        ("flask_app_database_url", "shop.db", "is not of the form postgresql+psycopg://"),
        ("flask_app_port", 0, "0 is no port"),
        ("flask_app_port", 65536, "65536 is no port"),
        ("gunicorn_umask", "23", 'e.g. "0027"'),
        ("gunicorn_workers", 0, "0 is too few"),
        ("profile_endpoints", ["products"], "wanted paths that begin with /"),
        ("profile_endpoints", [{"name": "/"}], "has an entry that is no path"),
        ("profile_concurrency", 201, "201 is not from 1 to 200"),
        ("profile_seconds", 0, "0 is too short"),
        ("profile_rate", 0, "0 is too low"),
        ("profile_max_requests", 0, "0 is too few"),
        ("redis_client_url", "http://h", "is not of the form redis://"),
        ("rollout_batches", [], "is empty"),
        ("rollout_batches", [0], "0 is no size of a batch"),
        ("rollout_batches", [1, "0%"], "'0%' is no size of a batch"),
        ("rollout_batches", ["101%"], "'101%' is no size of a batch"),
        ("rollout_batches", [-1], "-1 is no size of a batch"),
        ("rollout_max_failures", -1, "-1 is no number of hosts"),
        ("rollout_max_failures", "101%", "'101%' is no number of hosts"),
        ("rollout_max_failures", "few", "'few' is no number of hosts"),
        ("rollout_lock_seconds", 0, "0 is no time to hold a lock for"),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_can(name, value, said):
    with pytest.raises(_variables.ValueProblem) as problem:
        _variables.validate(name, value)
    assert said in str(problem.value)


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2/x@h", "redis://u:hunter2#@h", "http://hunter2@h"]
)
def test_a_broken_url_shows_nothing_of_its_password(url):
    with pytest.raises(_variables.ValueProblem) as problem:
        _variables.validate("redis_client_url", url)
    assert "hunter2" not in str(problem.value)


@pytest.fixture(name="find")
def _find(tmp_path):
    return lambda path: str(tmp_path / path)


def test_a_release_needs_something_to_be_made_of(find):
    paths, problems = _variables.inputs(
        {"flask_app_source": "", "flask_app_requirements": []}, find
    )
    assert paths == {}
    assert "neither it nor flask_app_requirements is given" in problems[0]


@pytest.mark.parametrize("file", ["pyproject.toml", "setup.py", "requirements.txt"])
def test_a_project_is_a_source(tmp_path, find, file):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / file).touch()
    assert _variables.inputs({"flask_app_source": "shop"}, find) == (
        {"flask_app_source": str(tmp_path / "shop")},
        [],
    )


def test_a_wheel_is_a_source(tmp_path, find):
    (tmp_path / "shop-1-py3-none-any.whl").touch()
    assert _variables.inputs({"flask_app_source": "shop-1-py3-none-any.whl"}, find)[1] == []


def test_a_bare_folder_is_a_source_when_requirements_are_listed(tmp_path, find):
    (tmp_path / "shop").mkdir()
    values = {"flask_app_source": "shop", "flask_app_requirements": ["flask"]}
    assert _variables.inputs(values, find)[1] == []


def test_a_source_that_is_not_there_is_told_by_its_absolute_path(tmp_path, find):
    assert _variables.inputs({"flask_app_source": "shop"}, find)[1] == [
        f"flask_app_source: {tmp_path}/shop is not there; name a directory or a wheel on the controller."
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("mkdir", "has none of pyproject.toml, setup.py, requirements.txt"),
        ("touch", "is a file and no wheel"),
    ],
)
def test_a_source_that_is_no_project_is_refused(tmp_path, find, make, said):
    getattr(tmp_path / "shop", make)()
    (problem,) = _variables.inputs({"flask_app_source": "shop"}, find)[1]
    assert f"{tmp_path}/shop {said}" in problem


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("app.db", None),
        ("uploads.d/", None),
        (
            "uploads.d",
            "is a directory in the source, and a name with an extension is taken for a file",
        ),
        (
            "database",
            "is a file in the source, and a name without an extension is made a directory",
        ),
        ("app.db/", "is a file in the source"),
        ("instance", None),
        ("not/there.yet", None),
        ("instance/deep/", None),
    ],
)
def test_a_shared_path_is_in_the_source_what_it_will_be_on_the_hosts(tmp_path, find, path, word):
    source = tmp_path / "shop"
    for name in ("uploads.d", "instance/deep"):
        (source / name).mkdir(parents=True)
    for name in ("requirements.txt", "app.db", "database"):
        (source / name).touch()
    values = {"flask_app_source": "shop", "flask_app_shared_paths": [path]}
    problems = _variables.inputs(values, find)[1]
    assert problems == [] if word is None else word in problems[0]


@pytest.mark.parametrize("path", ["/etc", "../x", "", ".", "a/../../b", "a\n"])
def test_a_shared_path_that_leaves_the_source_is_refused(path):
    with pytest.raises(_variables.ValueProblem, match=r"leaves the source|is the source itself"):
        _variables.validate("flask_app_shared_paths", ["instance", path])


def test_requirements_are_found_beside_the_source_first(tmp_path, find):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "prod.txt").touch()
    (tmp_path / "prod.txt").touch()
    values = {"flask_app_source": "shop", "flask_app_requirements": "prod.txt"}
    paths, problems = _variables.inputs(values, find)
    assert paths["flask_app_requirements"] == str(tmp_path / "shop" / "prod.txt")
    assert problems == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            "httpbin",
            "is not there; name a requirements file on the controller, or write a list: [httpbin]",
        ),
        ([1], "wanted a list of requirements as pip writes them"),
        ({"flask": "3"}, "wanted a list of requirements as pip writes them"),
        (3, "wanted a list of requirements as pip writes them"),
    ],
)
def test_requirements_that_are_none_are_refused(find, wanted, said):
    (problem,) = _variables.inputs({"flask_app_requirements": wanted}, find)[1]
    assert said in problem


def test_hosts_at_one_address_are_named():
    addresses = {
        "app1": ("10.0.0.5", "22"),
        "app2": ("10.0.0.5", "2222"),
        "app3": ("10.0.0.5", "22"),
        "app4": ("10.0.0.6", "22"),
        "app5": ("10.0.0.5", "22"),
    }
    assert [said.partition(",")[0] for said in _variables.claimed_twice(addresses)] == [
        "ansible_host: app3 and app1 claim one address",
        "ansible_host: app5 and app1 claim one address",
    ]


GROUPS = {"all": ["app1", "lb1"], "lb": ["lb1"]}
HAPROXY = {"haproxy": {"backend": "shop"}}
TARGET_GROUP = {"target_group": {"arn": "arn"}}


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({}, {}),
        (HAPROXY, GROUPS),
        ({**HAPROXY, "hosts": ["lb1", "localhost"]}, {"all": ["lb1"]}),
        (TARGET_GROUP, {"all": ["app1"]}),
    ],
)
def test_a_balancer_that_can_be_asked_passes(settings, groups):
    assert _variables.drain(settings, groups) == []


@pytest.mark.parametrize(
    ("settings", "groups", "said"),
    [
        ({"server": "a"}, GROUPS, "wanted one of haproxy, nginx, target_group, got none."),
        ({**HAPROXY, **TARGET_GROUP}, GROUPS, "got haproxy and target_group."),
        (HAPROXY, {"all": ["app1"]}, "rollout_drain.hosts: not there, and the inventory has no"),
        ({**HAPROXY, "hosts": ["lb2"]}, GROUPS, "rollout_drain.hosts: lb2 is no host of the"),
    ],
)
def test_a_balancer_that_cannot_be_asked_is_told(settings, groups, said):
    (problem,) = _variables.drain(settings, groups)
    assert said in problem


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("flask_app_cache_rules", [{"path": "products", "timeout": 5}], "'products' is no path"),
        ("flask_app_cache_rules", [{"path": "/", "timeout": -1}], "-1 is no time"),
        ("redis_client_cache_timeouts", {"text/html": "soon"}, "'soon' is no time"),
        ("redis_client_cache_timeouts", {"text/html": True}, "True is no time"),
        ("flask_app_rate_limit", -1, "-1 is no limit"),
        ("flask_app_rate_limit_exempt", ["10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
        ("flask_app_rate_limit_exempt", ["office"], "'office' does not appear to be"),
    ],
)
def test_a_measure_that_cannot_be_meant_is_told(name, value, said):
    with pytest.raises(_variables.ValueProblem, match=re.escape(said)):
        _variables.validate(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "flask_app_cache_rules",
            [{"path": "/a/<int:id>", "timeout": 0}, {"path": "*", "timeout": 1}],
        ),
        ("redis_client_cache_timeouts", {"text/html": "60"}),
        ("flask_app_rate_limit_exempt", ["10.0.0.0/8", "2001:db8::1"]),
    ],
)
def test_a_measure_that_can_be_meant_passes(name, value):
    _variables.validate(name, value)


LIMITED = {"flask_app_rate_limit": 200, "flask_app_rate_limit_scope": "host"}
FLEET = {**LIMITED, "flask_app_rate_limit_scope": "fleet"}
BALANCED = {"lb": ["lb1"]}


@pytest.mark.parametrize(
    ("values", "groups", "problem", "doubt"),
    [
        (LIMITED, {}, "", ""),
        (LIMITED, BALANCED, "", "behind a balancer all users have the limit of one client"),
        ({**LIMITED, "nginx_trusted_proxies": ["10.0.0.1"]}, BALANCED, "", ""),
        ({**LIMITED, "flask_app_rate_limit": 0}, BALANCED, "", ""),
        ({**LIMITED, "nginx_enabled": False}, {}, "", "nobody counts"),
        (FLEET, {}, "fleet counts in Redis; set redis_client_url", ""),
        ({**FLEET, "redis_client_url": "redis://data"}, {}, "", ""),
    ],
)
def test_a_limit_that_nobody_counts_or_all_share_is_told(values, groups, problem, doubt):
    for found, said in zip(_variables.limit(values, groups), (problem, doubt), strict=True):
        assert len(found) == bool(said)
        assert said in "".join(found)


@pytest.mark.parametrize(
    "name",
    ["shop.example", "www.shop.example", "*.shop.example", ".shop.example", "www.example.*", "shop", "10.0.0.7",
     "xn--bcher-kva.example", "shop.example:8443", "~^www[0-9]+\\.shop\\.example$", "my_shop.example"],
)  # fmt: skip
def test_names_of_hosts_are_taken(name):
    _variables.validate("nginx_server_names", [name])


@pytest.mark.parametrize(
    "name",
    ["", "_", "*", "shop example", "shop.example.", "shop..example", "https://shop.example", "shop.example/", "büch.er",
     "a*.shop.example", "shop.example:", "shop.example:port", '~^"', "~^a b$", "shop;", "shop{", "a" * 99 + "!"],
)  # fmt: skip
def test_what_is_no_name_of_a_host_is_refused(name):
    with pytest.raises(_variables.ValueProblem, match=r"is not a host name|has a space or a quote"):
        _variables.validate("nginx_server_names", [name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nginx_access_log", "/var/log/nginx/shop.log"), ("nginx_access_log", ""),
        ("nginx_proxy_buffer_size", "16k"), ("nginx_proxy_buffer_size", "4096"), ("nginx_proxy_buffers", "8 16k"),
        ("nginx_client_max_body_size", "0"), ("nginx_client_max_body_size", "1g"),
        ("nginx_trusted_proxies", ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]), ("nginx_server_names", [8443]),
    ],
)  # fmt: skip
def test_values_that_nginx_takes_are_taken(name, value):
    _variables.validate(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nginx_access_log", "log of shop; evil"), ("nginx_access_log", "off"), ("nginx_access_log", "shop.log"),
        ("nginx_access_log", "/var/log/$host.log"), ("nginx_access_log", "/var/log/a\nb"),
        ("nginx_proxy_buffer_size", "16kb"), ("nginx_proxy_buffer_size", "0"), ("nginx_proxy_buffers", "16k"),
        ("nginx_proxy_buffers", "1 16k"), ("nginx_proxy_buffers", "8 16k;"), ("nginx_client_max_body_size", "16MB"),
        ("nginx_trusted_proxies", ["balancer.example"]), ("nginx_trusted_proxies", ["10.0.0.300"]),
        ("nginx_server_names", ["*.shop.*"]), ("nginx_server_names", ["shop.example:99999"]),
        ("flask_app_cache_rules", [{"path": 5, "timeout": 5}]),
    ],
)  # fmt: skip
def test_values_that_nginx_refuses_are_refused_before_any_host_is_changed(name, value):
    with pytest.raises(_variables.ValueProblem):
        _variables.validate(name, value)


@pytest.mark.parametrize(
    ("values", "groups", "problem", "doubt"),
    [
        ({}, {}, "", ""),
        ({"nginx_server_names": ["a.example", "*.a.example"]}, {}, "", ""),
        ({"nginx_server_names": ["*.a.example"]}, {}, "nginx_server_names: has patterns only", ""),
        ({"nginx_server_names": ["~^a$"], "rollout_headers": {"host": "a"}}, {}, "", ""),
        ({"nginx_server_names": ["a"]}, {"lb": ["lb1"]}, "", "nginx_server_names: a balancer"),
        ({"nginx_server_names": ["a"], "nginx_trusted_proxies": ["10.0.0.0/8"]}, {"lb": ["lb1"]}, "", ""),
        ({"flask_app_port": 80, "nginx_candidate_port": 80}, {}, "nginx_candidate_port: 80 is flask_app_port", ""),
        ({"flask_app_port": 80, "nginx_candidate_port": 80, "nginx_enabled": False}, {}, "", ""),
        ({"nginx_proxy_buffer_size": "16k", "nginx_proxy_buffers": "8 16k"}, {}, "", ""),
        ({"nginx_proxy_buffer_size": "56k", "nginx_proxy_buffers": "8 16k"}, {}, "", ""),
        ({"nginx_proxy_buffer_size": "57k", "nginx_proxy_buffers": "8 16k"}, {}, "nginx_proxy_buffer_size: 57k does", ""),
        ({"nginx_proxy_buffer_size": "4k", "nginx_proxy_buffers": "2 4k"}, {}, "nginx_proxy_buffer_size: 4k does", ""),
        ({"nginx_proxy_buffer_size": "16kb", "nginx_proxy_buffers": "8"}, {}, "", ""),
    ],
)  # fmt: skip
def test_the_fronts_names_and_ports_fit_together(values, groups, problem, doubt):
    for found, said in zip(_variables.names(values, groups), (problem, doubt), strict=True):
        assert len(found) == bool(said)
        assert said in "".join(found)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"indx": "warn"}, "'indx' is not a rule; did you mean index?"),
        ({"xyzzy": "warn"}, "'xyzzy' is not a rule; use one of access, "),
        ({"index": "allow"}, "index is 'allow'; use refuse, warn or ignore."),
        ({"index": True}, "index is True; use refuse, warn or ignore."),
    ],
)
def test_a_rule_of_migrations_that_there_is_not_is_told(value, said):
    with pytest.raises(_variables.ValueProblem, match=re.escape(said)):
        _variables.validate("rollout_migration_rules", value)


def test_the_rules_of_migrations_are_known():
    _variables.validate(
        "rollout_migration_rules", {"index": "warn", "drop": "ignore", "unknown": "refuse"}
    )
