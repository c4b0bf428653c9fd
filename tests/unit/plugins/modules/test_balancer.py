# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The balancer as a task sees it."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.modules import balancer
from ansible_collections.evenkeel.flask.tests.unit.plugins.haproxy import serving
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module


@pytest.fixture(name="haproxy")
def _haproxy(tmp_path):
    servers = dict.fromkeys(("app1", "app2"), (0, "UP", 0))
    with serving(servers, str(tmp_path / "admin.sock")) as running:
        yield running


@pytest.fixture(name="ask")
def _ask(haproxy):
    def ask(state, server="app1", check_mode=False, **more):
        parameters = {"backend": "app", "socket": haproxy.address}
        return run_module(
            balancer, check_mode, server=server, state=state, haproxy=parameters, **more
        )

    return ask


def test_a_server_is_taken_out_and_put_back_and_each_only_once(ask):
    results = [ask(state) for state in ("drained", "drained", "serving", "serving")]
    assert [result["changed"] for result in results] == [True, False, True, False]
    assert (results[0]["before"], results[0]["after"], results[0]["busy"]) == (
        "serving",
        "drained",
        0,
    )
    assert results[2]["diff"] == {"before": "drained\n", "after": "serving\n"}


@pytest.fixture(name="warnings")
def _warnings(capsys):
    """The warnings of the module: in its result, or on this process' stderr since ansible-core 2.19."""
    return lambda result: f"{result.get('warnings')} {capsys.readouterr().err}"


def test_the_last_server_stays_in_with_a_warning(ask, warnings):
    ask("drained", "app2")
    result = ask("drained")
    assert (result["changed"], result["after"]) == (False, "serving")
    assert "app1 is the last server" in warnings(result)


def test_what_a_person_took_out_stays_out_with_a_warning(ask, haproxy, warnings):
    haproxy.servers["app1"] = (1, "MAINT", 0)
    result = ask("serving")
    assert (result["changed"], result["after"]) == (False, "maintenance")
    assert "by hand" in warnings(result)


def test_requests_that_are_under_way_are_told(ask, haproxy):
    haproxy.servers["app1"] = (0, "UP", 2)
    result = ask("drained", drain_timeout=0)
    assert (result["after"], result["busy"]) == ("drained", 2)


def test_check_mode_foresees_and_touches_nothing(ask, haproxy):
    result = ask("drained", check_mode=True)
    assert (result["changed"], result["after"]) == (True, "drained")
    assert haproxy.servers["app1"] == (0, "UP", 0)


def test_a_failure_is_one_message(ask):
    result = ask("drained", "app9")
    assert result["failed"] is True
    assert result["msg"].startswith("HAProxy's backend app has no server app9; it has app1, app2.")


def test_a_file_keeps_its_mode_and_a_link_to_it_stays_one(tmp_path, monkeypatch):
    path, link = tmp_path / "available.conf", tmp_path / "enabled.conf"
    path.write_text("upstream shop {\n  server app1:8000;\n  server app2:8000;\n}\n")
    path.chmod(0o640)
    link.symlink_to(path)
    nginx = balancer.balancer_nginx
    monkeypatch.setattr(nginx, "_nginx", lambda *_args: None)
    monkeypatch.setattr(nginx, "answers", lambda _address: True)
    monkeypatch.setattr(nginx.processes, "is_reloaded", lambda _before, _after: True)
    result = run_module(balancer, server="app1", state="drained", nginx={"file": str(link)})
    assert (result["changed"], result["after"]) == (True, "drained")
    assert "server app1:8000 down;" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()


def test_boto3_that_is_missing_is_named(monkeypatch):
    def missing(_arn):
        raise ImportError

    monkeypatch.setattr(balancer.target_group, "connect", missing)
    group = {"arn": "arn", "port": 80}
    result = run_module(balancer, server="i-1", state="drained", target_group=group)
    assert "boto3" in result["msg"]


def test_one_balancer_is_asked_for():
    assert "one of the following" in run_module(balancer, server="a", state="drained")["msg"]
