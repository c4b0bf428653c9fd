# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action as a task sees it, on specs and an inventory made for the test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.evenkeel.flask.plugins.action import check_variables
from ansible_collections.evenkeel.flask.plugins.modules import check_variables as documentation

try:  # Since ansible-core 2.19 only what is trusted is a template.
    from ansible.template import trust_as_template
except ImportError:

    def trust_as_template(value):
        return value


SPECS = {
    "gunicorn": {"gunicorn_workers": {"type": "int", "default": 5}},
    "flask_app": {
        "flask_app_name": {"type": "str", "required": True},
        "flask_app_source": {"type": "path", "default": ""},
        "flask_app_port": {"type": "int", "default": 8000},
        "flask_app_requirements": {"type": "raw", "default": []},
        "flask_app_database_url": {"type": "str", "default": "", "no_log": True},
        "flask_app_user": {"type": "str", "default": "{{ flask_app_name }}"},
    },
    "rollout": {
        "rollout_checks": {"type": "dict", "default": {}},
        "rollout_drain": {"type": "dict", "default": {}},
    },
}
GOOD = {
    "flask_app_name": "shop",
    "flask_app_requirements": ["httpbin"],
    "flask_app_user": "{{ flask_app_name }}",
    "inventory_hostname": "app1",
}


@pytest.fixture(autouse=True)
def _roles(tmp_path, monkeypatch):
    for role, options in SPECS.items():
        meta = tmp_path / "roles" / role / "meta"
        meta.mkdir(parents=True)
        spec = {"argument_specs": {"main": {"options": options}}}
        (meta / "argument_specs.yml").write_text(yaml.safe_dump(spec))
    (tmp_path / "roles" / "_private").mkdir()
    monkeypatch.setattr(check_variables, "ROLES_FOLDER", str(tmp_path / "roles"))


def check(args=None, check_mode=False, **variables):
    task_vars = {
        name: trust_as_template(value) if isinstance(value, str) else value
        for name, value in {**GOOD, **variables}.items()
        if value is not ...
    }
    loader = DataLoader()
    action = check_variables.ActionModule(
        task=SimpleNamespace(
            action="evenkeel.flask.check_variables", args=args or {}, async_val=0, check_mode=check_mode,
            collections=[], diff=False, delegate_to=None, environment=None,
        ),
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)),
        play_context=SimpleNamespace(connection="ssh", check_mode=check_mode),
        loader=loader,
        templar=Templar(loader, variables=task_vars),
        shared_loader_obj=None,
    )  # fmt: skip
    return action.run(task_vars=task_vars)


@pytest.mark.parametrize("check_mode", [False, True])
def test_good_variables_pass_and_nothing_changes(check_mode):
    result = check(check_mode=check_mode, gunicorn_workers="{{ 2 + 3 }}", rollout_checks={})
    assert not result.get("failed")
    assert (result["changed"], result["problems"], result["paths"]) == (False, [], {})


def test_all_problems_are_told_at_once():
    result = check(
        {"required": ["shop_token", "flask_app_name"]},
        flask_app_name=...,
        flask_app_port="eight",
        gunicorn_worker=3,
        gunicorn_workers="{{ cpus }}",
        rollout_checks={"healt": {}},
    )
    assert result["failed"] is True
    assert result["problems"] == [
        "gunicorn_worker: no such variable; did you mean gunicorn_workers?",
        "flask_app_name: required; set it in group_vars/app.yml, e.g. flask_app_name: shop",
        "shop_token: required; set it in group_vars/app.yml, e.g. shop_token: <value>",
        "flask_app_port: wanted a whole number, got 'eight'.",
        "gunicorn_workers: cannot be evaluated: 'cpus' is undefined.",
        "rollout_checks.healt: no such setting; did you mean health?",
    ]
    assert result["msg"].splitlines() == result["problems"]


def test_a_template_is_judged_by_its_value():
    assert check(shop_port=0, flask_app_port="{{ shop_port }}")["problems"] == [
        "flask_app_port: 0 is no port; wanted 1 to 65535."
    ]


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2@{{ nohost }}/d", "x:hunter2{{", "hunter2 {{ 1 / 0 }}"]
)
def test_a_secret_that_cannot_be_evaluated_is_not_shown(url):
    (problem,) = check(flask_app_database_url=url)["problems"]
    assert problem.startswith("flask_app_database_url: cannot be evaluated")
    assert "hunter2" not in problem


def test_only_the_roles_that_are_named_are_checked():
    assert not check({"roles": ["gunicorn"]}, flask_app_nmae="shop", flask_app_requirements=[]).get(
        "failed"
    )


def test_a_role_that_is_not_there_is_named():
    with pytest.raises(
        AnsibleError, match=r"roles: .*nosuch.* is not there; .* flask_app, gunicorn, rollout"
    ):
        check({"roles": ["nosuch"]})


def test_relative_paths_start_at_the_inventory(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "pyproject.toml").touch()
    result = check(flask_app_source="../shop", inventory_dir=str(tmp_path / "inventory"))
    assert result["problems"] == []
    assert result["paths"] == {"flask_app_source": str(tmp_path / "shop")}


@pytest.mark.parametrize(
    ("suite", "problem"),
    [
        ({"path": "tests", "timeout": "60"}, None),
        ({"junit": "nosuch.xml", "enabled": "no"}, None),
        ({"command": "nosuch"}, None),
        ({}, None),
        ({"pth": "tests"}, "rollout_checks.suite.pth: no such setting; did you mean path?"),
        ({"path": "nosuch"}, "rollout_checks.suite.path: {}/nosuch is not there; name one on the controller."),
        ({"junit": "tests/r.xml"}, "rollout_checks.suite.junit: {}/tests/r.xml is not there; name one on the controller."),
        ({"path": "a", "junit": "b"}, "rollout_checks.suite: name one of path, command and junit, not path and junit."),
        ({"timeout": 0}, "rollout_checks.suite.timeout must be greater than 0, not 0."),
        ({"requirements": {}}, "rollout_checks.suite.requirements: wanted a list, got a dictionary."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_teams_own_tests_is_told_before_anything_is_touched(
    tmp_path, suite, problem
):
    (tmp_path / "tests").mkdir()
    result = check(rollout_checks={"suite": suite}, inventory_dir=str(tmp_path))
    assert result["problems"] == ([problem.format(tmp_path)] if problem else [])


def test_a_source_of_the_wrong_type_is_one_problem():
    assert check(flask_app_source=["shop"], flask_app_requirements=[])["problems"] == [
        "flask_app_source: wanted a path, got a list."
    ]


def hosts(**variables):
    named = {name: {"ansible_connection": "ssh", **its} for name, its in variables.items()}
    return {"hostvars": named, "ansible_play_hosts_all": list(named)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ansible_host": "10.0.0.5"}, {"ansible_host": "10.0.0.5", "ansible_port": 22}),
        ({"ansible_host": "app2"}, {}),
        ({"ansible_host": "h", "ansible_connection": "ansible.builtin.ssh"}, {"ansible_host": "h"}),
    ],
)
def test_two_hosts_at_one_address_are_refused(one, other):
    (problem,) = check(**hosts(app1=one, app2=other))["problems"]
    assert "app2 and app1 claim one address" in problem


def test_an_address_claimed_twice_is_told_once_for_the_whole_play():
    fleet = hosts(app1={"ansible_host": "h"}, app2={"ansible_host": "h"})
    assert check(inventory_hostname="app2", **fleet)["problems"] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        (
            {"ansible_host": "127.0.0.1", "ansible_port": 2201},
            {"ansible_host": "127.0.0.1", "ansible_port": 2202},
        ),
        ({"ansible_host": "h", "ansible_connection": "local"}, {"ansible_host": "h"}),
        (
            {"ansible_host": "h", "ansible_connection": "containers.podman.podman"},
            {"ansible_host": "h", "ansible_connection": "containers.podman.podman"},
        ),
    ],
)
def test_hosts_at_different_addresses_pass(one, other):
    assert check(**hosts(app1=one, app2=other))["problems"] == []


def test_the_documentation_names_what_is_taken_and_returned():
    assert (
        set(yaml.safe_load(documentation.DOCUMENTATION)["options"])
        == check_variables.ActionModule._VALID_ARGS
    )
    assert set(yaml.safe_load(documentation.RETURN)) | {"changed"} == set(check()) - {
        "_ansible_verbose_override"
    }
    assert yaml.safe_load(documentation.EXAMPLES)


def test_a_balancer_is_looked_for_in_the_inventory():
    drain = {"haproxy": {"backend": "shop"}}
    assert not check(rollout_drain=drain, groups={"lb": ["lb1"]}).get("failed")
    assert "no host in the group lb" in check(rollout_drain=drain, groups={})["msg"]
