# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send requests on the app host: input is orders as a JSON list, output a line of JSON for each.

An order sends one request, or runs wrk between two requests if it has C(seconds).
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

HOST = "127.0.0.1"
# Until what 200 connections left in a slow app's queue is through.
PATIENCE = 60


def ask(order: dict[str, Any]) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(HOST, order["port"], timeout=PATIENCE)
    headers, form = dict(order["headers"]), order.get("form")
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        method, body = ("GET", None) if form is None else ("POST", urlencode(form))
        connection.request(method, order["path"], body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def wrk(order: dict[str, Any]) -> dict[str, Any]:
    command = ["wrk", "--threads=1", f"--connections={order['connections']}"]
    command += [f"--duration={order['seconds']}s", f"--timeout={PATIENCE}s"]
    command += [f"--script={Path(__file__).with_name('latency.lua')}"]
    command += [f"--header={name}: {value}" for name, value in order["headers"].items()]
    command += [f"http://{HOST}:{order['port']}{order['path']}"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    answer, body = ask(order)
    if "seconds" not in order:
        headers = [[name.lower(), value] for name, value in answer.getheaders()]
        return {"status": answer.status, "headers": headers, "body": body.decode("latin-1")}
    seen = wrk(order)
    # It waits in the same queue as what wrk has given up, so the next contender has the machine for itself.
    after, _body = ask(order)
    statuses = [answer.status, after.status]
    known = {name: order[name] for name in ("contender", "route", "connections")}
    return {**known, "wrk": seen, "statuses": statuses, "size": len(body)}


if __name__ == "__main__":
    for one in json.load(sys.stdin):
        print(json.dumps(carry_out(one)), flush=True)
