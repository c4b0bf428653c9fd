# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a task writes it."""

from __future__ import annotations

import json
from types import SimpleNamespace

from ansible.parsing.dataloader import DataLoader
from ansible_collections.evenkeel.flask.plugins.action import rollout_report

VERDICT = {"verdict": "passed", "msg": "", "results": [], "summary": []}


def test_the_timeline_is_read_from_what_each_host_registered(tmp_path):
    args = {
        "dest": str(tmp_path),
        "app": "shop",
        "release": "2-b",
        "verdicts": {"app1": VERDICT, "app2": None},
        "registered": {"gate": "verdict", "bake": "baked"},
    }
    action = rollout_report.ActionModule(
        task=SimpleNamespace(
            action="evenkeel.flask.rollout_report", args=args, async_val=0,
            check_mode=False, collections=[], diff=False, delegate_to=None, environment=None,
        ),
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)),
        play_context=SimpleNamespace(check_mode=False),
        loader=DataLoader(), templar=None, shared_loader_obj=None,
    )  # fmt: skip
    hosts = {
        "app1": {"verdict": {"began": 10.0, "elapsed": 2.0}, "secret": "s3cret"},
        "app2": {"baked": {"began": 20.0, "elapsed": 5.0}},
    }
    action.run(task_vars={"hostvars": hosts})
    text = (tmp_path / "report.json").read_text()
    steps = {
        row["host"]: [one["step"] for one in row["spans"]] for row in json.loads(text)["timeline"]
    }
    assert steps == {"app1": ["gate"], "app2": ["bake"]}
    assert "s3cret" not in text
