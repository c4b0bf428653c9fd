# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CloudWatch agent gets a configuration that it accepts.

No package contains the agent's JSON schema. Its repository does, and the rendered configuration
passed the schema of commit ab55b8daa, 2026-08-07. This file describes the rules for log files.
"""

from __future__ import annotations

import json
import logging
import re

import evenkeel_logging
import jsonschema
import pytest
import yaml
from ansible_collections.evenkeel.flask.tests.unit.roles.logging.rendered import ROLE, render

RETENTIONS = [-1, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]  # fmt: skip
NAME = {"type": "string", "minLength": 1, "maxLength": 512}


def exactly(required, optional=()):
    return {
        "type": "object",
        "properties": {**required, **dict(optional)},
        "required": list(required),
        "additionalProperties": False,
    }


LOG = exactly(
    {
        "file_path": {"type": "string", "pattern": "^/", "maxLength": 4096},
        "log_group_name": NAME,
        "log_stream_name": NAME,
        "retention_in_days": {"enum": RETENTIONS},
        "timestamp_format": {"type": "string", "minLength": 1},
        "timezone": {"enum": ["UTC", "Local"]},
    }
)
LOGS = exactly(
    {
        "logs_collected": exactly(
            {
                "files": exactly(
                    {
                        "collect_list": {
                            "type": "array",
                            "items": LOG,
                            "minItems": 1,
                            "uniqueItems": True,
                        }
                    }
                )
            }
        )
    }
)
AGENT = exactly({"region": {"type": "string", "minLength": 1, "maxLength": 64}})
CONFIGURATION = exactly({"logs": LOGS}, {"agent": AGENT})

# How the agent reads the directives of a timestamp_format.
DIRECTIVES = {
    "%Y": r"\d{4}", "%m": r"\s?\d{1,2}", "%d": r"\s?\d{1,2}",
    "%H": r"\d{2}", "%M": r"\d{2}", "%S": r"\d{2}", "%f": r"\d{1,9}",
}  # fmt: skip


def rendered(**variables):
    return json.loads(render("cloudwatch.json.j2", **variables))


def collected(**variables):
    return rendered(**variables)["logs"]["logs_collected"]["files"]["collect_list"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"logging_cloudwatch_region": "eu-central-1"},
        {"logging_directory": '/srv/"odd" name', "logging_cloudwatch_log_stream": "{hostname}"},
        *({"logging_cloudwatch_retention_days": days} for days in RETENTIONS),
    ],
)
def test_the_agent_takes_it(variables):
    jsonschema.validate(rendered(**variables), CONFIGURATION)


def test_each_log_has_a_group_of_its_own_and_each_host_a_stream():
    assert [
        (log["file_path"], log["log_group_name"], log["log_stream_name"]) for log in collected()
    ] == [
        ("/var/log/shop/app.log", "/shop/app", "{instance_id}"),
        ("/var/log/shop/access.log", "/shop/access", "{instance_id}"),
    ]


def test_the_region_is_the_agent_s_own_business_unless_it_is_named():
    assert "agent" not in rendered()
    assert rendered(logging_cloudwatch_region="eu-central-1")["agent"] == {"region": "eu-central-1"}


def test_a_retention_that_cloudwatch_does_not_know_is_refused_before_it_gets_there():
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
    option = spec["argument_specs"]["main"]["options"]["logging_cloudwatch_retention_days"]
    assert option["choices"] == RETENTIONS


def test_the_agent_finds_the_time_of_a_line_and_no_other_time_in_it(settings):
    record = logging.makeLogRecord({"msg": "since 2001-01-01T00:00:00.000Z"})
    line = evenkeel_logging.JsonFormatter(settings).format(record)
    pattern = re.escape(collected()[0]["timestamp_format"])
    for directive, meaning in DIRECTIVES.items():
        pattern = pattern.replace(re.escape(directive), meaning)
    assert re.search(pattern, line).group() == json.loads(line)["time"]
