# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the gate's checks, and what each of them leaves behind."""

from __future__ import annotations


class ModuleDocFragment:
    """The option C(checks) of C(rollout_gate)."""

    DOCUMENTATION = r"""
options:
  checks:
    description:
      - Settings of the checks. What is left out has its default; a name that is not known is an error.
    type: dict
    suboptions:
      health:
        description: The health endpoint says yes, several times in a row. Leaves nothing behind.
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
            description: Dotted path to wanted value, as in O(checks.api.endpoints[].json).
            type: dict
          successes:
            description: How often in a row it must say yes.
            type: int
            default: 3
      main_page:
        description:
          - The main page comes with its status, is not empty, shows no error text, and its own stylesheets, scripts
            and images load and call themselves what they are. It is compressed if the live release's is. Leaves
            nothing behind.
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
            description: Wanted statuses.
            type: list
            elements: int
            default: [200]
          contains:
            description: Text that the page must contain.
            type: str
      api:
        description:
          - JSON endpoints answer in their shapes, and what has a wanted shape calls itself JSON. Leaves behind what the
            named endpoints write.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          endpoints:
            description: What is asked. The check is skipped if none is named.
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
                description: Wanted statuses.
                type: list
                elements: int
                default: [200]
              body_json:
                description: Request body that is sent as JSON.
                type: raw
              json:
                description:
                  - Dotted path to wanted value. V(<list>), V(<object>), V(<string>), V(<number>) and V(<bool>) want any
                    value of that kind.
                type: dict
              headers:
                description: Request headers.
                type: dict
      upload:
        description:
          - A file goes up, is read back where the app says where it is, and one above the limit is answered by 413.
            Leaves a small text file behind that names the gate, unless O(checks.upload.delete) is set.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: Where files are uploaded to. The check is skipped if left out.
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
            description: Wanted statuses.
            type: list
            elements: int
            default: [200, 201]
          read_back:
            description: Dotted path to the file's URL in the JSON answer. Without it the file is not read back.
            type: str
          delete:
            description: Whether the file is deleted with C(DELETE) on its URL afterwards. Needs O(checks.upload.read_back).
            type: bool
            default: false
          max_bytes:
            description:
              - The app's limit. A file of one more byte must be answered by 413, not by a broken connection, and a
                request of 99 % of it be taken; the latter is tried only where O(checks.upload.delete) is set.
            type: int
      response_times:
        description:
          - The candidate is as fast as the live release at the same moment, and within its budget. Both are asked in
            turn, one request at a time, until ranks (Mann-Whitney) make clear whether the candidate is slower than
            O(max_slowdown). Leaves nothing behind.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          paths:
            description: What is timed; the main page and the health endpoint if left out.
            type: list
            elements: str
          max_ms:
            description: Milliseconds that 95 of 100 answers may take at most.
            type: float
            default: 2000
          samples:
            description: How many answers are timed when there is no live release to compare with.
            type: int
            default: 30
          seconds:
            description:
              - After these many seconds for a path, warming up included, a comparison that is not clear is
                V(inconclusive). At least twenty answers of each side are compared before that, however long they take.
            type: float
            default: 2.5
          tolerance_ms:
            description:
              - A slowdown by fewer milliseconds than this is always allowed. An idle slot answers a trifle later than
                one that is kept warm by users, and of a page of 2 ms nobody notices a third more.
            type: float
            default: 2.0
      concurrency:
        description:
          - Many visitors at once are all served, and no answer is mixed up with another. Leaves nothing behind.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: What is asked, in turn with the health endpoint; the main page if left out.
            type: str
          connections:
            description: How many at once, 200 at most.
            type: int
            default: 10
      session:
        description:
          - A session is read on new connections, which other workers answer; a forged cookie is no session; a session
            of the live release is read by the candidate; the page that tells a session may not be kept by shared
            caches. Leaves the sessions behind until they expire.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          login:
            description: How to log in. The check is skipped if this or O(checks.session.check) is left out.
            type: dict
            suboptions:
              path:
                description: Where the form is posted to. If it shows a form, its hidden fields are sent along.
                type: str
                required: true
              form:
                description:
                  - The fields of the form. Their values are masked wherever they appear in the output, so the name of
                    the test user should be no everyday word.
                type: dict
                required: true
              status:
                description: Statuses of a successful login.
                type: list
                elements: int
                default: [200, 302, 303]
          check:
            description: The page that tells a session from none.
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
            description: How often the session is read.
            type: int
            default: 10
          survives_switch:
            description: Whether a session made at the live release must be read by the candidate.
            type: bool
            default: true
          secure:
            description: Whether the cookies must or must not be C(Secure). If left out, those that were must be.
            type: bool
          httponly:
            description: Whether the cookies must or must not be C(HttpOnly). If left out, those that were must be.
            type: bool
          samesite:
            description: The wanted C(SameSite). If left out, cookies that had one must have one.
            type: str
            choices: [Strict, Lax, None]
      errors:
        description:
          - Mistakes are answered as mistakes, without a traceback, a debugger or a version. Leaves nothing behind
            where the app refuses as it should.
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
            description: Wanted statuses of a path that does not exist.
            type: list
            elements: int
            default: [404]
          bad_body:
            description: A request whose body is broken. Not asked if left out.
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
                description: The broken body.
                type: str
                default: "{"
              content_type:
                description: What the body pretends to be.
                type: str
                default: application/json
              status:
                description: Wanted statuses.
                type: list
                elements: int
                default: [400, 415, 422]
          wrong_method:
            description: A request with a method that the path does not know. Not asked if left out.
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
                description: Wanted statuses.
                type: list
                elements: int
                default: [405]
      suite:
        description:
          - The team's own tests pass. They are on the controller and are run there, against each candidate, after the
            other checks, and only if nothing speaks against the candidate by then. Leaves behind what the tests leave.
          - The check is skipped if none of O(checks.suite.path), O(checks.suite.command) and O(checks.suite.junit) is
            named. Naming more than one is an error. Relative paths start at the directory of the inventory.
          - The tests find the candidate at the URL in the environment variable E(BASE_URL), and so do those that use
            pytest-base-url or pytest-playwright, by E(PYTEST_BASE_URL). With O(checks.suite.path) there is also a
            fixture C(base_url), unless the tests have one of their own. E(EVENKEEL_HOST) is the host's name in the
            inventory.
          - Over C(ssh) the URL leads through the connection that Ansible has, by a port of the controller that is
            forwarded as long as the tests run; sshd must have C(AllowTcpForwarding), for a UNIX socket
            C(AllowStreamLocalForwarding) and a login user who may connect to it. Over C(local) it is O(base_url).
            No other connection can be forwarded. What O(headers) says is not sent by the tests.
          - The check is V(failed) where a test was run and failed. It is V(inconclusive), which lets no release through
            either, where nothing was learned of the candidate, because the tests are missing, empty, unreadable, all
            skipped, too slow or lack what they need.
          - In check mode tests that may write are not run; a report is read all the same.
          - C(-vv) shows all that the tests say.
        type: dict
        suboptions:
          enabled:
            description: Whether the check runs.
            type: bool
            default: true
          path:
            description: >-
              A folder or a file of tests for pytest, which runs in the folder above. Nothing is written there, neither
              caches nor bytecode.
            type: path
          command:
            description:
              - Any command, as text or a list of words. It runs in the inventory's directory, without a shell. The
                exit status 0 is a pass, any other is none.
              - Where the connection cannot be forwarded it is run without E(BASE_URL), and must find its own way.
            type: raw
          junit:
            description:
              - A JUnit report that was made before and elsewhere. The gate cannot know of which release it tells, so
                make it anew for each.
            type: path
          requirements:
            description:
              - What pip installs for pytest, into a venv of its own on the controller. Names that end in C(.txt) are
                requirements files.
              - The venv is kept and made anew when these lines, the files or Ansible's Python change. So what is
                not pinned stays as it was on that day.
            type: list
            elements: str
            default: [pytest]
          cache:
            description: The directory on the controller that keeps the venvs, in folders that begin with C(suite-).
            type: path
            default: ~/.cache/evenkeel.flask
          min_pass_rate:
            description: >-
              Percent of the tests that must pass. Skipped ones don't count at all, nor failed ones that are allowed.
            type: float
            default: 100
          allowed_failures:
            description: >-
              Tests that may fail, by their names in the JUnit report, C(name) or C(classname::name); patterns with
              C(*) and C(?) too. When they fail, it is a warning.
            type: list
            elements: str
            default: []
          timeout:
            description: >-
              Seconds for all tests. They are ended after that, and the check is V(inconclusive). O(deadline) does not
              count for them.
            type: float
            default: 600
"""
