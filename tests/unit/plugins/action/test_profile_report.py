# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action saves a measured profile and compares it with an earlier one."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.evenkeel.flask.plugins.action import profile_report
from ansible_collections.evenkeel.flask.plugins.modules import profile_report as documentation

MEASURED = {
    "release": "2-b", "slot": "blue", "settings": {"seconds": 3.0}, "slowest": [], "workers": [], "main_pss_mb": 10.0,
    "pool": {"most": None, "size": None, "use": None}, "began": 1.0, "elapsed": 2.0, "msg": "",
    "endpoints": [{"name": "/", "status": 404, "body_bytes": None, "error": "it answers 404", "loops": []}],
    "invocation": {"module_args": {"headers": {"Cookie": "s3cret"}}},
}  # fmt: skip


@pytest.fixture(name="report")
def _report(tmp_path):
    def run(check_mode=False, **args):
        action = profile_report.ActionModule(
            task=SimpleNamespace(
                action="evenkeel.flask.profile_report", async_val=0, check_mode=check_mode, collections=[],
                args={"app": "shop", "profiles": {"app1": MEASURED, "app2": {"failed": True}}, **args},
                diff=False, delegate_to=None, environment=None,
            ),
            connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)),
            play_context=SimpleNamespace(check_mode=check_mode),
            loader=DataLoader(), templar=None, shared_loader_obj=None,
        )  # fmt: skip
        return action.run(task_vars={"inventory_dir": str(tmp_path)})

    return run


def test_what_was_measured_is_saved_and_can_be_compared_with(report, tmp_path):
    first = report(dest="before")
    assert first["changed"] is True
    assert first["files"] == [
        str(tmp_path / "before" / name) for name in ("profile.json", "profile.html")
    ]
    saved = (tmp_path / "before" / "profile.json").read_text()
    assert list(json.loads(saved)["hosts"]) == ["app1"]
    assert "s3cret" not in saved + (tmp_path / "before" / "profile.html").read_text() + str(first)
    again = report(compare="before/profile.json")
    assert again["before"] == first["hosts"]
    assert (again["changed"], again["files"]) == (False, [])


def test_check_mode_writes_nothing(report, tmp_path):
    assert report(check_mode=True, dest="before")["files"]
    assert list(tmp_path.iterdir()) == []


def test_hosts_that_measured_nothing_leave_no_file(report, tmp_path):
    result = report(dest="before", profiles={"app1": {"measured": False}})
    assert (result["changed"], result["files"], result["hosts"]) == (False, [], {})
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_with_what_is_no_profile_is_refused(report, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(AnsibleError, match=r"profile_compare: .*other\.json is no profile\.json"):
        report(compare="other.json")
    with pytest.raises(AnsibleError, match=r"profile_compare: .*none\.json cannot be read"):
        report(compare="none.json")


def test_the_documentation_names_the_arguments():
    docs = yaml.safe_load(documentation.DOCUMENTATION)
    assert set(docs["options"]) == profile_report.ActionModule._VALID_ARGS
    assert yaml.safe_load(documentation.EXAMPLES)
    assert set(yaml.safe_load(documentation.RETURN)) == {"files", "hosts", "before"}
