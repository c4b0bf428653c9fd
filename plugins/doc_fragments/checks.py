# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the gate's checks, and the effects of each."""

from __future__ import annotations


class ModuleDocFragment:
    """The option C(checks) of C(rollout_gate)."""

    DOCUMENTATION = r"""
options:
  checks:
    description:
      - Settings of the checks. A setting that is left out has its default. An unknown name is an error.
    type: dict
    suboptions:
      health:
        description: The health endpoint is healthy several times in a row. Leaves no effects.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: The health endpoint; O(health_path) if left out.
            type: str
          status:
            description: Statuses that are healthy.
            type: list
            elements: int
            default: [200]
          json:
            description: Dotted path to expected value, as in O(checks.api.endpoints[].json).
            type: dict
          successes:
            description: The required number of healthy responses in a row.
            type: int
            default: 3
      main_page:
        description:
          - The main page has an expected status, is not empty, and shows no error text. Its own stylesheets, scripts
            and images load with the right content types. It is compressed if the live release's page is. Leaves no
            effects.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: The page.
            type: str
            default: /
          status:
            description: Expected statuses.
            type: list
            elements: int
            default: [200]
          contains:
            description: Text that the page must contain.
            type: str
      api:
        description:
          - JSON endpoints respond with the expected shapes. A response with an expected shape has a JSON content type.
            Leaves the writes of the named endpoints.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          endpoints:
            description: The requests. The check is skipped if the list is empty.
            type: list
            elements: dict
            suboptions:
              path:
                description: Path of the endpoint.
                type: str
                required: true
              method:
                description: HTTP method.
                type: str
                default: GET
              status:
                description: Expected statuses.
                type: list
                elements: int
                default: [200]
              body_json:
                description: Request body that is sent as JSON.
                type: raw
              json:
                description:
                  - Dotted path to expected value. V(<list>), V(<object>), V(<string>), V(<number>) and V(<bool>) match
                    any value of that kind.
                type: dict
              headers:
                description: Request headers.
                type: dict
      upload:
        description:
          - A file is uploaded and read back at the URL that the app returns. A file above the limit gets status 413.
            Leaves a small text file that names the gate, unless O(checks.upload.delete) is set.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: The path of the upload form. The check is skipped if it is left out.
            type: str
          field:
            description: The form's field.
            type: str
            default: file
          filename:
            description: Name of the uploaded file.
            type: str
            default: evenkeel-gate.txt
          status:
            description: Expected statuses.
            type: list
            elements: int
            default: [200, 201]
          read_back:
            description: Dotted path to the file's URL in the JSON response. Without it the file is not read back.
            type: str
          delete:
            description: >-
              Whether the gate deletes the file with C(DELETE) on its URL. Requires O(checks.upload.read_back).
            type: bool
            default: false
          max_bytes:
            description:
              - The app's limit in bytes. A file of one more byte must get status 413, not a broken connection. If
                O(checks.upload.delete) is set, a request of 99 % of the limit must be accepted.
            type: int
      response_times:
        description:
          - The candidate is as fast as the live release at the same moment, and within its budget. Requests alternate
            between both, one at a time. They end when a rank test (Mann-Whitney) shows whether the candidate is slower
            than O(max_slowdown) allows. Leaves no effects.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          paths:
            description: The measured paths; the main page and the health endpoint if left out.
            type: list
            elements: str
          max_ms:
            description: The maximum 95th percentile of response times in milliseconds.
            type: float
            default: 2000
          samples:
            description: The number of measured responses if there is no live release to compare with.
            type: int
            default: 30
          seconds:
            description:
              - The limit in seconds per path, including warm-up. An unclear comparison is then V(inconclusive). At
                least 20 responses of each side are compared first, even if that takes longer.
            type: float
            default: 2.5
          tolerance_ms:
            description:
              - A slowdown by fewer milliseconds is always allowed. An idle slot responds slightly later than one that
                users keep warm, and a third more of 2 ms is not noticeable.
            type: float
            default: 2.0
      concurrency:
        description:
          - Concurrent requests all succeed, and no response belongs to another request. Leaves no effects.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: The requested path, alternating with the health endpoint; the main page if left out.
            type: str
          connections:
            description: The number of concurrent connections, at most 200.
            type: int
            default: 10
      session:
        description:
          - A session is valid on new connections, which other workers handle, and a forged cookie is not. The candidate
            accepts a session of the live release. Shared caches must not store the page that requires a session. Leaves
            the sessions until they expire.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          login:
            description: The login request. The check is skipped if this or O(checks.session.check) is left out.
            type: dict
            suboptions:
              path:
                description: The path of the login form. If it has a form, its hidden fields are sent also.
                type: str
                required: true
              form:
                description:
                  - The fields of the form. Their values are masked in all output, so the name of the test user should
                    not be a common word.
                type: dict
                required: true
              status:
                description: Statuses of a successful login.
                type: list
                elements: int
                default: [200, 302, 303]
          check:
            description: The page that differs with and without a session.
            type: dict
            suboptions:
              path:
                description: The page.
                type: str
                required: true
              contains:
                description: Text that the page contains only in a session.
                type: str
              status:
                description: Statuses that the page has only in a session, or together with the text.
                type: list
                elements: int
                default: [200]
          reads:
            description: The number of requests that read the session.
            type: int
            default: 10
          survives_switch:
            description: Whether the candidate must accept a session of the live release.
            type: bool
            default: true
          secure:
            description: Whether the cookies must or must not be C(Secure). If left out, cookies that were must stay so.
            type: bool
          httponly:
            description: >-
              Whether the cookies must or must not be C(HttpOnly). If left out, cookies that were must stay so.
            type: bool
          samesite:
            description: The expected C(SameSite). If left out, cookies that had one must have one.
            type: str
            choices: [Strict, Lax, None]
      errors:
        description:
          - Invalid requests get the right error status, without a traceback, a debugger or a version. Leaves no effects
            if the app rejects them as expected.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          not_found_path:
            description: A path that does not exist.
            type: str
            default: /evenkeel-no-such-page
          status:
            description: Expected statuses of a path that does not exist.
            type: list
            elements: int
            default: [404]
          bad_body:
            description: A request with an invalid body. Not sent if left out.
            type: dict
            suboptions:
              path:
                description: Path of the endpoint.
                type: str
                required: true
              method:
                description: HTTP method.
                type: str
                default: POST
              body:
                description: The invalid body.
                type: str
                default: "{"
              content_type:
                description: The content type of the request.
                type: str
                default: application/json
              status:
                description: Expected statuses.
                type: list
                elements: int
                default: [400, 415, 422]
          wrong_method:
            description: A request with a method that the path does not support. Not sent if left out.
            type: dict
            suboptions:
              path:
                description: Path of the endpoint.
                type: str
                required: true
              method:
                description: The method.
                type: str
                default: DELETE
              status:
                description: Expected statuses.
                type: list
                elements: int
                default: [405]
      suite:
        description:
          - The team's own tests pass. They run on the controller against each candidate, after the other checks, and
            only if all of these let the candidate through. Leaves the effects of the tests.
          - The check is skipped if none of O(checks.suite.path), O(checks.suite.command) and O(checks.suite.junit) is
            set. More than one is an error. Relative paths start at the directory of the inventory.
          - The environment variable E(BASE_URL) has the URL of the candidate. E(PYTEST_BASE_URL) has it also, for
            pytest-base-url and pytest-playwright. With O(checks.suite.path) there is also a fixture C(base_url), unless
            the tests define their own. E(EVENKEEL_HOST) is the host's name in the inventory.
          - Over C(ssh) the URL leads through Ansible's connection, by a port of the controller that is forwarded during
            the tests. sshd must have C(AllowTcpForwarding). For a UNIX socket it must have
            C(AllowStreamLocalForwarding), and the login user must have access to the socket. Over C(local) the URL is
            O(base_url). No other connection can be forwarded. The tests do not send the headers of O(headers).
          - The check is V(failed) if a test ran and failed. It is V(inconclusive), which also lets no release through,
            if it has no information on the candidate. Examples are tests that are missing, empty, unreadable, all
            skipped, too slow, or without their dependencies.
          - In check mode, tests that can write do not run. A report is read anyway.
          - C(-vv) shows all output of the tests.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: >-
              A folder or a file of tests for pytest, which runs in the parent folder. Nothing is written there, neither
              caches nor bytecode.
            type: path
          command:
            description:
              - Any command, as text or a list of words. It runs in the inventory's directory, without a shell. Exit
                status 0 passes, any other fails.
              - If the connection cannot be forwarded, it runs without E(BASE_URL), and must find the candidate itself.
            type: raw
          junit:
            description:
              - A JUnit report of an earlier test run. The gate cannot detect which release it describes, so make a new
                one for each.
            type: path
          requirements:
            description:
              - The requirements that pip installs for pytest, into a separate venv on the controller. Names that end in
                C(.txt) are requirements files.
              - The venv is stored, and created again if these lines, the files or Ansible's Python change. So packages
                without a pinned version keep the version of that day.
            type: list
            elements: str
            default: [pytest]
          cache:
            description: The directory on the controller for the venvs, in folders that begin with C(suite-).
            type: path
            default: ~/.cache/evenkeel.flask
          min_pass_rate:
            description: >-
              Percent of the tests that must pass. Skipped tests and allowed failures do not count.
            type: float
            default: 100
          allowed_failures:
            description: >-
              Tests that may fail, by their names in the JUnit report, C(name) or C(classname::name), also as patterns
              with C(*) and C(?). Their failure is a warning.
            type: list
            elements: str
            default: []
          timeout:
            description: >-
              The timeout of all tests in seconds. After it they are ended, and the check is V(inconclusive).
              O(deadline) does not include them.
            type: float
            default: 600
"""
