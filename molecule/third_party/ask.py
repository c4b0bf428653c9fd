# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send requests from the host: each line of input is a request as JSON, each line of output its response."""

from __future__ import annotations

import base64
import http.client
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    connection = http.client.HTTPConnection("127.0.0.1", request.pop("port"), timeout=60)
    connection.request(**request)
    answer = connection.getresponse()
    response = {
        "status": answer.status,
        "headers": answer.getheaders(),
        "body": base64.b64encode(answer.read()).decode(),
    }
    connection.close()
    print(json.dumps(response), flush=True)
