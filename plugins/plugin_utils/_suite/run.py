# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the team's own tests on the controller: venv, process, and connection to the candidate."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, cast

from ...module_utils import _errors
from ...module_utils._artifact import archive
from ...module_utils._artifact import venv as artifact_venv
from ...module_utils._build import pipeline
from ...module_utils._build import requirements as build_requirements
from ...module_utils._gate.check import Failed, Inconclusive
from ...module_utils._http import client as http
from ...module_utils._http import params as http_params
from ...module_utils._system import process as system_process
from .evaluate import SuiteRun

# The folder contains only this file, because the folder is on the tests' import path.
PYTEST_PLUGIN = os.path.join(os.path.dirname(__file__), "_pytest", "evenkeel_base_url.py")

# This command runs over SSH while the tunnel is open. It ends with this process, even after a kill.
HOLD = "echo evenkeel-tunnel; exec cat >/dev/null"
OPEN = b"evenkeel-tunnel"
TUNNEL_SECONDS = 60
PORTS_TRIED = 3
GRACE_SECONDS = 5
MOMENT_SECONDS = 1

Command = Callable[..., Sequence["str | bytes"]]


def python_with(requirements: Sequence[str], cache: str, folder: str) -> str:
    """Return the Python of a venv with the requirements; the first call creates it.

    @param folder: the base of relative paths of requirements files
    @raises Inconclusive: if the venv cannot be created
    """
    files = [os.path.join(folder, name) for name in requirements if name.endswith(".txt")]
    try:
        digests = [archive.file_digest(path) for path in build_requirements.with_includes(files)]
    except OSError as error:
        raise Inconclusive(
            f"checks.suite.requirements: {error.filename} cannot be read: {error.strerror}"
        ) from None
    except _errors.ArchiveError as error:
        raise Inconclusive(f"checks.suite.requirements: {error}") from None
    content = [sys.executable, sys.version, [*requirements], digests]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    venv = os.path.join(cache, f"suite-{key}")
    python = os.path.join(venv, "bin", "python")
    os.makedirs(cache, mode=0o700, exist_ok=True)
    # The hosts of a batch run this at the same time.
    with open(f"{venv}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not artifact_venv.is_complete(venv):
            shutil.rmtree(venv, ignore_errors=True)
            _create(venv, python, requirements, folder)
    return python


def _create(venv: str, python: str, requirements: Sequence[str], folder: str) -> None:
    # Debian's Python comes without ensurepip; pip itself can install into another venv.
    done = system_process.run([sys.executable, "-m", "venv", "--without-pip", venv])
    if done.returncode != 0:
        reason = system_process.last_line(done.stdout)
        raise Inconclusive(f"{sys.executable} cannot make a venv for the suite: {reason}")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    targets = [f"--requirement={name}" if name.endswith(".txt") else name for name in requirements]
    done = system_process.run(
        [*pip, "--python", python, "install", "--quiet", *targets], folder=folder
    )
    if done.returncode != 0:
        shutil.rmtree(venv)
        raise Inconclusive(f"checks.suite.requirements: {pipeline.pip_reason(done.stdout)}")
    with open(os.path.join(venv, artifact_venv.DONE), "w", encoding="utf-8"):
        pass


def pytest(
    path: str, folder: str, env: Mapping[str, str], settings: Mapping[str, Any], work: str
) -> SuiteRun:
    """Run pytest in the folder of the tests, and leave no files outside of C(work).

    @param folder: the base of relative paths of requirements files
    """
    if not os.path.exists(path):
        raise Inconclusive(f"{path} is not there; mend checks.suite.path")
    python = python_with(settings["requirements"], os.path.join(folder, settings["cache"]), folder)
    plugin = os.path.splitext(os.path.basename(PYTEST_PLUGIN))[0]
    report = os.path.join(work, "report.xml")
    command = [
        python, "-m", "pytest", "-p", plugin, "-p", "no:cacheprovider",
        f"--basetemp={os.path.join(work, 'tmp')}", f"--junit-xml={report}", path,
    ]  # fmt: skip
    run = execute(command, os.path.dirname(path), env, settings["timeout"], work)
    return replace(run, report=read(report))


def read(path: str) -> bytes | None:
    """Return the content of a file, or V(None) if it does not exist."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Inconclusive(f"{path} cannot be read: {error.strerror}") from None


def environment(outer: Mapping[str, str], host: str, base_url: str | None) -> dict[str, str]:
    """Return the environment of the tests."""
    found = dict(outer)
    found["EVENKEEL_HOST"] = host
    found["PYTHONDONTWRITEBYTECODE"] = "1"
    known = found.get("PYTHONPATH")
    own = os.path.dirname(PYTEST_PLUGIN)
    found["PYTHONPATH"] = f"{own}{os.pathsep}{known}" if known else own
    # A variable of the user's shell would name another candidate.
    for name in ("BASE_URL", "PYTEST_BASE_URL"):
        found.pop(name, None)
        if base_url:
            found[name] = base_url
    for name in ("no_proxy", "NO_PROXY") if base_url else ():
        hosts = [found.get(name, ""), "127.0.0.1", http.Url.parse(base_url or "").host]
        found[name] = ",".join(dict.fromkeys(filter(None, hosts)))
    return found


def execute(
    command: Sequence[str], folder: str, env: Mapping[str, str], timeout: float, work: str
) -> SuiteRun:
    """Run a command until it ends, and end all of its processes."""
    log = os.path.join(work, "output")
    with open(log, "wb") as output:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Inconclusive(f"{command[0]} cannot be run: {error.strerror}") from None
        status = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout)
        finally:
            _end(process)
    with open(log, encoding="utf-8", errors="replace") as stream:
        return SuiteRun(status, stream.read())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those of its group: by SIGTERM, then by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


@contextlib.contextmanager
def ending_cleanly() -> Iterator[None]:
    """Run the C(finally) blocks inside when Ansible ends this worker."""

    def interrupt(number: int, _frame: Any) -> None:
        for again in former:
            signal.signal(again, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in former:
            signal.signal(number, interrupt)
        yield
    except KeyboardInterrupt as error:
        for number, handler in former.items():
            signal.signal(number, handler)
        os.kill(os.getpid(), error.args[0] if error.args else signal.SIGINT)
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def reach(connection: Any, params: Mapping[str, Any], work: str) -> Iterator[str | None]:
    """Provide a URL of the candidate for the controller; V(None) if the command must find its own.

    @raises Inconclusive: if there is no connection
    """
    kind = connection.transport.rpartition(".")[2]
    url, unix_socket = http.Url.parse(params["base_url"]), params["unix_socket"]
    if kind == "ssh":
        with tunnel(ssh_command(connection), url, unix_socket, work) as base_url:
            _check_connection(base_url, params, unix_socket)
            yield base_url
    elif kind == "local" and not unix_socket:
        yield str(url).rstrip("/")
    elif params["checks"]["suite"]["command"]:
        yield None
    else:
        raise Inconclusive(
            f"the connection {connection.transport} gives pytest no URL for {unix_socket or url}; name a "
            "command that finds its own way to EVENKEEL_HOST (checks.suite.command), or the JUnit "
            "report of a run made elsewhere (checks.suite.junit)"
        )


def _check_connection(base_url: str, params: Mapping[str, Any], unix_socket: str | None) -> None:
    """Check the connection: without one all tests would fail, apparently because of the candidate."""
    url = http.Url.parse(http_params.join(base_url, params["health_path"]))
    timeout = params["timeout"]
    try:
        http.fetch(http.Request(url, timeout=timeout, tls=http.Tls(validate=False)))
    except _errors.HttpError as error:
        advice = (
            f"sshd must have AllowStreamLocalForwarding, and the user who logs in must be let to {unix_socket}"
            if unix_socket
            else "sshd must have AllowTcpForwarding"
        )
        raise Inconclusive(f"the candidate does not answer over SSH ({error}); {advice}") from None


def ssh_command(connection: Any) -> Command:
    """Return the command line of Ansible's own SSH connection; a call appends its words."""
    binary = connection.get_option("ssh_executable")

    def command(*words: str, run: Sequence[str] = ()) -> Sequence[str | bytes]:
        whole: list[bytes] = connection._build_command(binary, "ssh", *words, connection.host, *run)
        # The connection is already authenticated, so sshpass has nothing to do.
        return whole[whole.index(os.fsencode(binary)) :]

    return command


@contextlib.contextmanager
def tunnel(command: Command, url: http.Url, unix_socket: str | None, work: str) -> Iterator[str]:
    """Provide a URL of the candidate on this machine over SSH, for the duration of the block.

    @raises Inconclusive: with the output of ssh
    """
    host = f"[{url.host}]" if ":" in url.host else url.host
    target = unix_socket or f"{host}:{url.port}"
    for attempt in range(1, PORTS_TRIED + 1):
        port = _free_port()
        forward = ("-L", f"127.0.0.1:{port}:{target}")
        with open(os.path.join(work, "ssh"), "w+b") as errors:
            client = subprocess.Popen(
                command("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", *forward, run=[HOLD]),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
            try:
                if _is_open(cast("IO[bytes]", client.stdout)):
                    yield str(replace(url, host="127.0.0.1", port=port)).rstrip("/")
                    return
            except Failed:
                # The tests notice a broken connection a moment before its process ends.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    client.wait(MOMENT_SECONDS)
                if client.returncode is None:
                    raise
                raise Inconclusive("the SSH connection broke while the tests ran") from None
            finally:
                _close(client)
                # The forward belongs to Ansible's persistent connection, and would remain with it.
                system_process.run(
                    [os.fsdecode(word) for word in command("-O", "cancel", *forward)]
                )
            errors.seek(0)
            reason = system_process.last_line(errors.read().decode(errors="replace"))
        # Another process may have taken the port first.
        if attempt == PORTS_TRIED:
            raise Inconclusive(f"the candidate cannot be reached over SSH: {reason}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _is_open(stream: IO[bytes]) -> bool:
    until, seen = time.monotonic() + TUNNEL_SECONDS, b""
    while OPEN not in seen:
        ready, _w, _x = select.select([stream], [], [], max(until - time.monotonic(), 0))
        more = os.read(stream.fileno(), 4096) if ready else b""
        if not more:
            return False
        seen += more
    return True


def _close(client: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        cast("IO[bytes]", client.stdin).close()
    try:
        client.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()
    cast("IO[bytes]", client.stdout).close()
