# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command in a release runs with the properties of the slot's unit, from one description.

The molecule tests check that systemd accepts them (default, test_sandbox.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import jinja2
import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _errors
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._release import layout, stage
from ansible_collections.evenkeel.flask.plugins.module_utils._release import unit as release_unit
from ansible_collections.evenkeel.flask.plugins.module_utils._system import process
from hypothesis import given
from hypothesis import strategies as st

TEMPLATE = Path(__file__).parents[5] / "roles" / "gunicorn" / "templates" / "slot.service.j2"
VARIABLES = {
    "ansible_managed": "managed",
    "flask_app_name": "shop",
    "flask_app_user": "web",
    "gunicorn_umask": "0027",
    "gunicorn_graceful_timeout": 30,
    "logging_directory": "/var/log/shop",
}
LAYOUT = layout.Layout("shop")
FOLDER = "/srv/shop/releases/1.0-a"
# Everything that a unit of this version passes to no command. A new line of the template is passed
# on unless it is added here, where the review sees it.
OF_A_SERVICE = {
    *("Type", "NotifyAccess", "ExecStart", "KillMode", "TimeoutStartSec", "TimeoutStopSec"),
    *("Restart", "RestartSec"),
}


def rendered():
    return jinja2.Template(TEMPLATE.read_text()).render(VARIABLES)


@pytest.fixture(name="command")
def _command(monkeypatch):
    """A function that returns the properties of the command line that systemd-run gets."""
    lines = []

    def run(command, *_args, **_options):
        if "systemctl" not in command or "cat" in command:
            lines.append(command)
        shows = "cat" in command
        return subprocess.CompletedProcess(command, 0, unit["text"] if shows else "")

    unit = {}
    monkeypatch.setattr(process, "run", run)

    def command(text, **options):
        unit["text"] = text
        stage.run_in(FOLDER, "web", LAYOUT, ["flask"], **options)
        arguments = lines[-1]
        arguments = arguments[: arguments.index("--")]
        return [each.partition("=")[2] for each in arguments if each.startswith("--property=")]

    return command


def test_each_property_of_a_slot_is_one_of_staging_migrations_and_release_exec(command):
    slot = [pair for pair in release_unit.assignments(rendered()) if pair[0] not in OF_A_SERVICE]
    own = {"User", "Group", "KillSignal", "TimeoutStopSec", "RuntimeDirectoryPreserve"}
    for options in ({}, {"timeout": 60.0}, {"environment": {"PYTHONPATH": "x"}}):
        properties = command(rendered(), **options)
        assert {name for name, _value in slot} <= {item.partition("=")[0] for item in properties}
        more = {item.partition("=")[0] for item in properties} - {name for name, _value in slot}
        assert more <= own | {"RuntimeMaxSec"}
        # The same values in the same order: a list is added to, and an empty value ends it.
        values = [f"{n}={v}" for n, v in slot if n not in {*own, "Environment"} and "%i" not in v]
        assert [item for item in properties if item in values] == values


def test_the_slot_s_folder_is_the_release_s(command):
    properties = command(rendered())
    assert {
        f"WorkingDirectory={FOLDER}/app",
        f"EnvironmentFile={FOLDER}/env",
        f"Environment=PATH={FOLDER}/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "Environment=EVENKEEL_SLOT=none",
        "Environment=HOME=/srv/shop/shared",
        "UMask=0027",
    } <= set(properties)
    assert not [item for item in properties if "%" in item or "/slots/" in item]


def test_the_sandbox_is_never_among_what_a_command_does_not_get():
    slot = dict(release_unit.assignments(rendered()))
    assert set(slot) & set(release_unit.NOT_PASSED) == OF_A_SERVICE
    assert {name: why for name, why in release_unit.NOT_PASSED.items() if not why} == {}


def test_a_drop_in_of_the_team_counts_for_commands_too(command):
    drop_in = (
        "# /etc/systemd/system/shop@.service.d/jit.conf\n[Service]\nMemoryDenyWriteExecute=no\n"
    )
    properties = command(f"{rendered()}\n{drop_in}")
    found = [item for item in properties if item.startswith("MemoryDenyWriteExecute=")]
    assert found == ["MemoryDenyWriteExecute=yes", "MemoryDenyWriteExecute=no"]


def test_a_unit_of_an_earlier_version_finds_the_programs_of_the_venv(command):
    old = "".join(line for line in rendered().splitlines(True) if "PATH=" not in line)
    paths = [item for item in command(old) if item.startswith("Environment=PATH=")]
    assert paths == [f"Environment=PATH={FOLDER}/venv/bin:/usr/local/bin:/usr/bin:/bin"]


def test_a_host_without_the_unit_is_told_so(monkeypatch):
    def run(command, *_args, **_options):
        return subprocess.CompletedProcess(command, 1, "No files found for shop@none.service.\n")

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(ArchiveError, match=r"^shop@\.service: .*run the playbook evenkeel"):
        stage.run_in(FOLDER, "web", LAYOUT, ["flask"])


def test_a_line_that_systemd_run_does_not_know_is_named(monkeypatch):
    def run(command, *_args, **_options):
        line = "" if "cat" in command else "Unknown assignment: MemoryMx=1G\n"
        return subprocess.CompletedProcess(command, 1 if line else 0, line)

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(ArchiveError, match=r"^shop@\.service: .*MemoryMx=1G.*correct the line"):
        stage.run_in(FOLDER, "web", LAYOUT, ["flask"])


def test_a_specifier_that_only_systemd_knows_is_refused_by_name():
    text = "[Service]\nEnvironment=WHERE=%m\n"
    with pytest.raises(_errors.UnitError, match=r"%m in 'Environment=WHERE=%m'.*write its value"):
        release_unit.properties(text, LAYOUT, FOLDER)


@pytest.mark.parametrize(
    ("value", "resolved"),
    [("100%%", "100%"), ("%p-%i", "shop-none"), ("%t/x", "/run/x"), ("%n", "shop@none.service")],
)
def test_other_specifiers_are_resolved(value, resolved):
    assert release_unit.properties(f"[Service]\nX={value}\n", LAYOUT, FOLDER) == [f"X={resolved}"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("X=a\\\nY=b", [("X", "a Y=b")], id="continued"),
        pytest.param("X=a\\\\\nY=b", [("X", "a\\\\"), ("Y", "b")], id="a backslash that is meant"),
        pytest.param("X=a\\\\\\\nY=b", [("X", "a\\\\ Y=b")], id="that, and continued"),
        pytest.param("X=1\nX=\nX=2", [("X", "1"), ("X", ""), ("X", "2")], id="reset"),
        pytest.param("X='a b' \"c\"", [("X", "'a b' \"c\"")], id="quotes are systemd-run's"),
        pytest.param("X=a # b ; c", [("X", "a # b ; c")], id="no comment behind a value"),
        pytest.param("X=a=b", [("X", "a=b")], id="an equals sign in a value"),
        pytest.param("X = a", [("X", "a")], id="spaces"),
    ],
)
def test_a_line_is_what_systemd_reads(text, values):
    assert list(release_unit.assignments(f"[Service]\n{text}\n")) == values


@pytest.mark.parametrize(
    "line",
    [
        *(
            "ReadWritePaths=/data",
            "ReadWriteDirectories=/data",
            "BindPaths=/data",
            "StateDirectory=x",
        ),
        *("CacheDirectory=x", "LogsDirectory=x", "RuntimeDirectory=x", "ConfigurationDirectory=x"),
        *("ProtectSystem=no", "PrivateNetwork=no", "NetworkNamespacePath=/run/x"),
        "RestrictAddressFamilies=AF_PACKET",
    ],
)
def test_no_drop_in_opens_a_sealed_command(command, line):
    properties = command(f"{rendered()}\n[Service]\n{line}\n", sealed=True)
    name = line.partition("=")[0]
    values = [item for item in properties if item.startswith(f"{name}=")]
    assert line not in values[-1:]
    assert properties[-3:] == [
        "ProtectSystem=strict",
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=AF_NETLINK",
    ]


NAMES = st.from_regex(r"[A-Z][A-Za-z]{1,20}", fullmatch=True)
VALUES = st.from_regex(r"([a-z0-9~@][a-z0-9 /:=~@._-]*[a-z0-9])?", fullmatch=True)
NOISE = st.sampled_from(["", "# a comment", "; another", "#X=1", "[Service]"])


@given(st.lists(st.tuples(NAMES, VALUES, NOISE, st.booleans()), max_size=12))
def test_no_line_of_a_unit_is_lost_or_changed(lines):
    text = "[Unit]\nAfter=other\n[Service]\n"
    for name, value, noise, continued in lines:
        first, sep, rest = value.partition(" ")
        # A comment between the parts of a continued line is left out (systemd.syntax(7)).
        split = f"{first} \\\n# here\n  {rest}" if continued and sep and rest.strip() else value
        text += f"{noise}\n{name}={split}\n"
    expected = [
        f"{n}={' '.join(v.split())}" for n, v, *_rest in lines if n not in release_unit.NOT_PASSED
    ]
    found = release_unit.properties(text + "\n[Install]\nWantedBy=x\n", LAYOUT, FOLDER)
    assert [" ".join(item.split()) for item in found] == [" ".join(i.split()) for i in expected]
