# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target group of an AWS load balancer, by boto3, which only the controller needs."""

from __future__ import annotations

import re
from typing import Any, Callable

from .._errors import BalancerError
from .plan import DOWN, DRAINED, SERVING, Server

ARN_FORM = "arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
ARN = re.compile(
    r"arn:[a-z-]+:elasticloadbalancing:(?P<region>[a-z0-9-]+):\d+:targetgroup/[^/]+/[^/]+"
)
STATES = {"healthy": Server(SERVING), "draining": Server(DRAINED, busy=1)}


def connect(arn: str) -> Any:
    """Return a client for the group's own region, with the credentials that boto3 finds.

    @raises ImportError: without boto3
    """
    import boto3

    named = ARN.fullmatch(arn)
    if not named:
        raise BalancerError(f"{arn} is no ARN of a target group; wanted {ARN_FORM}.")
    return boto3.client("elbv2", region_name=named["region"])


class TargetGroup:
    """A target of the group; an unregistered one counts as drained."""

    # A limit because of the API's rate limit, which the whole account shares.
    poll_seconds = 3.0

    def __init__(self, server: str, arn: str, port: int, client: Any) -> None:
        self.server = server
        self.arn = arn
        self.port = port
        self.client = client
        self.pool = f"the target group {arn.split('/')[1]}"

    def servers(self) -> dict[str, Server]:
        response = self._call(self.client.describe_target_health)
        found = {
            (health["Target"]["Id"], health["Target"]["Port"]): STATES.get(
                health["TargetHealth"]["State"], Server(DOWN)
            )
            for health in response["TargetHealthDescriptions"]
        }
        own = found.pop((self.server, self.port), None)
        for target, port in found:
            if target == self.server and not own:
                raise BalancerError(
                    f"{self.server} is in {self.pool} with port {port}, and not with {self.port}. Say its port."
                )
        others = {f"{target}:{port}": server for (target, port), server in found.items()}
        return {**others, self.server: own or Server(DRAINED)}

    def take_out(self) -> None:
        self._call(self.client.deregister_targets, Targets=[self._target])

    def put_back(self) -> None:
        self._call(self.client.register_targets, Targets=[self._target])

    @property
    def _target(self) -> dict[str, Any]:
        return {"Id": self.server, "Port": self.port}

    def _call(self, verb: Callable[..., Any], **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return verb(TargetGroupArn=self.arn, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise BalancerError(f"AWS, asked about {self.pool}: {error}") from error
