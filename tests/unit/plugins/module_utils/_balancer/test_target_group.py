# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target group, at moto's server, which answers as AWS does; the states that it knows nothing of at a stub."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer import plan
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer.plan import Server
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer.target_group import (
    TargetGroup,
    connect,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import BalancerError

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", name="aws")
def _aws():
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        environment.setenv("AWS_ACCESS_KEY_ID", "nobody")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        yield
    server.stop()


@pytest.fixture(name="arn")
def _arn(aws, request):
    """A target group with two targets, apart from all others."""
    region = {"region_name": "eu-central-1"}
    vpc = boto3.client("ec2", **region).create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    client = boto3.client("elbv2", **region)
    name = f"shop-{abs(hash(request.node.name)) % 10**8}"
    made = client.create_target_group(
        Name=name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip"
    )
    arn = made["TargetGroups"][0]["TargetGroupArn"]
    targets = [{"Id": f"10.0.0.{number}", "Port": 8000} for number in (1, 2)]
    client.register_targets(TargetGroupArn=arn, Targets=targets)
    return arn


def move(arn, wanted, server="10.0.0.1", port=8000):
    group = TargetGroup(server, arn, port, connect(arn))
    return plan.move(group, wanted, drain_timeout=5, healthy_timeout=5), group


def test_a_target_is_deregistered_and_registered_with_its_port(arn):
    outcome, group = move(arn, "drained")
    assert (outcome.plan.verb, outcome.after) == ("take_out", Server("drained"))
    assert set(group.servers()) == {"10.0.0.1", "10.0.0.2:8000"}
    assert move(arn, "drained")[0].plan.verb is None
    outcome, group = move(arn, "serving")
    assert (outcome.plan.verb, outcome.after) == ("put_back", Server("serving"))
    registered = group.client.describe_target_health(TargetGroupArn=arn)
    assert {"Id": "10.0.0.1", "Port": 8000} in [
        health["Target"] for health in registered["TargetHealthDescriptions"]
    ]
    assert move(arn, "serving")[0].plan.verb is None


def test_the_last_target_stays_in(arn):
    move(arn, "drained", "10.0.0.2")
    outcome, _group = move(arn, "drained")
    assert "10.0.0.1 is the last server of the target group shop-" in outcome.plan.warning
    assert outcome.after == Server("serving")


def test_a_target_with_another_port_is_not_taken_for_one_that_is_gone(arn):
    with pytest.raises(BalancerError, match=r"with port 8000, and not with 80\. Say its port"):
        move(arn, "serving", port=80)


def test_what_aws_refuses_is_told_in_its_words(arn):
    with pytest.raises(BalancerError, match="TargetGroupNotFound"):
        move(f"{arn}0", "drained")


@pytest.mark.parametrize("arn", ["shop", "arn:aws:elasticloadbalancing:eu-central-1", ""])
def test_an_arn_that_is_none_is_told_with_the_form_of_one(arn):
    with pytest.raises(BalancerError, match=r"is no ARN of a target group; wanted arn:aws:"):
        connect(arn)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("healthy", Server("serving")),
        ("draining", Server("drained", busy=1)),
        ("initial", Server("down")),
        ("unhealthy", Server("down")),
        ("unused", Server("down")),
        ("unavailable", Server("down")),
    ],
)
def test_each_state_of_aws_is_understood(state, found):
    class Client:
        def describe_target_health(self, **_arguments):
            health = {"Target": {"Id": "i-1", "Port": 80}, "TargetHealth": {"State": state}}
            return {"TargetHealthDescriptions": [health]}

    group = TargetGroup("i-1", "arn:aws:e:r:1:targetgroup/shop/1", 80, Client())
    assert group.servers() == {"i-1": found}
