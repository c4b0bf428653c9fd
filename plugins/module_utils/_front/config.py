# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse nginx's configuration, and decide to which of its files a port belongs.

The listening program does not show whose a port is: every app behind one nginx has the same
program. Only the configuration shows it. Parsing and decisions are pure; C(Disk) reads the host.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import ipaddress
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable

from .._system import untrusted

DEFAULT_CONFIG = "/etc/nginx/nginx.conf"
DEFAULT_ERROR_LOG = "/var/log/nginx/error.log"
DEFAULT_PID = "/run/nginx.pid"
DEFAULT_PREFIX = "/usr/local/nginx"
# Debian's link, and the target of the link in the package.
DEFAULT_SITE = "/etc/nginx/sites-enabled/default"
DEFAULT_SITE_FILE = "/etc/nginx/sites-available/default"
SBIN = "/usr/sbin:/usr/local/sbin"
# A test of the configuration looks up the names in it.
COMMAND_SECONDS = 120.0
# nginx's own limit is about the same; it ends a cycle of includes.
MAX_INCLUDE_DEPTH = 20
# As in ngx_conf_read_token: a comment begins a token, "${" belongs to a word and "{" ends it.
TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<mark>[;{}])
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | '(?P<single>(?:[^'\\]|\\.)*)'
      | (?P<word>(?:\\.|\$\{|[^\s;{\\])+)""",
    re.VERBOSE | re.DOTALL,
)
LUA_TOKEN = re.compile(r"""--[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}]""", re.DOTALL)
ESCAPED = re.compile(r"\\([\"'\\ ])")
LISTENERS = ("http", "stream", "mail")


@dataclass(frozen=True)
class Listen:
    """One TCP address with its ports, C(first) to C(last)."""

    address: str
    first: int
    last: int
    is_dual: bool = False

    @property
    def text(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.first}" + (f"-{self.last}" if self.last != self.first else "")

    @property
    def is_wildcard(self) -> bool:
        return self.address in ("0.0.0.0", "::")

    def overlaps(self, other: Listen) -> bool:
        """Return whether a connection could reach both, or the kernel would refuse to bind both."""
        if self.last < other.first or other.last < self.first:
            return False
        if self.address == other.address:
            return True
        if (":" in self.address) != (":" in other.address):
            return any(one.is_dual and one.address == "::" for one in (self, other))
        return self.is_wildcard or other.is_wildcard


@dataclass(frozen=True)
class Server:
    """A server block, and its file."""

    file: str
    listens: tuple[Listen, ...]


@dataclass
class Directive:
    """C(name words;) or C(name words { block })."""

    name: str
    words: list[str]
    file: str
    block: list[Directive] | None = None


@dataclass
class Config:
    """The relevant part of a configuration; a path that it does not have is empty."""

    servers: list[Server] = field(default_factory=list)
    error_log: str = ""
    pid: str = ""


Token = tuple[str, str]
Read = Callable[[str], str]
Expand = Callable[[str], Sequence[str]]
Resolve = Callable[[str], Sequence[str]]


def tokens(text: str) -> Iterator[Token]:
    """Yield words as ("word", text), and marks as themselves. Text that nginx rejects is skipped."""
    place = 0
    words: list[str] = []
    while place < len(text):
        found = TOKEN.match(text, place)
        if not found:
            place += 1
            continue
        place = found.end()
        if found["space"] is not None:
            continue
        if found["mark"]:
            yield found["mark"], ""
            if found["mark"] == "{" and words and words[0].endswith("_by_lua_block"):
                place = _end_of_lua(text, place)
            words = []
            continue
        quoted = found["double"] if found["double"] is not None else found["single"]
        word = ESCAPED.sub(r"\1", quoted if quoted is not None else found["word"])
        words.append(word)
        yield "word", word


def _end_of_lua(text: str, place: int) -> int:
    """Return the position of the brace that closes a block of Lua."""
    depth = 1
    for found in LUA_TOKEN.finditer(text, place):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    return len(text)


def directives(stream: Iterator[Token], file: str) -> list[Directive]:
    """Parse directives until the block ends."""
    found: list[Directive] = []
    words: list[str] = []
    for kind, text in stream:
        if kind == "word":
            words.append(text)
        elif kind == "}":
            break
        else:
            block = directives(stream, file) if kind == "{" else None
            if words:
                found.append(Directive(words[0], words[1:], file, block))
            words = []
    return found


def parse(root: str, read: Read, expand: Expand, resolve: Resolve) -> Config:
    """Parse a configuration and all its includes.

    @param root: path of nginx.conf
    @param expand: returns the files that match a pattern, as glob(3) does
    @param resolve: returns the addresses of a name
    """
    config = Config()
    folder = os.path.dirname(root)

    def loaded(file: str, depth: int) -> list[Directive]:
        try:
            text = read(file)
        except OSError:
            return []
        return list(included(directives(tokens(text), file), depth))

    def included(found: Iterable[Directive], depth: int) -> Iterator[Directive]:
        for one in found:
            if one.name == "include" and one.block is None and depth < MAX_INCLUDE_DEPTH:
                for pattern in one.words:
                    for file in expand(os.path.join(folder, pattern)):
                        yield from loaded(file, depth + 1)
                continue
            if one.block is not None:
                one.block = list(included(one.block, depth))
            yield one

    for one in loaded(root, 0):
        if one.name == "error_log" and one.words and one.block is None:
            config.error_log = one.words[0]
        elif one.name == "pid" and one.words:
            config.pid = one.words[0]
        elif one.name in LISTENERS and one.block is not None:
            config.servers += _servers(one, resolve)
    return config


def _servers(context: Directive, resolve: Resolve) -> Iterator[Server]:
    for server in context.block or ():
        if server.name != "server" or server.block is None:
            continue
        stated = [one.words for one in server.block if one.name == "listen" and one.words]
        # Without one, http listens on port 80; stream and mail reject such a block.
        if not stated and context.name == "http":
            stated = [["80"]]
        listens = [found for words in stated for found in listens_of(words, resolve)]
        yield Server(server.file, tuple(listens))


def listens_of(words: Sequence[str], resolve: Resolve) -> list[Listen]:
    """Return the TCP addresses of one C(listen) directive; [] for UNIX sockets and UDP."""
    address, options = words[0], words[1:]
    if address.startswith("unix:") or "udp" in options or "quic" in options:
        return []
    host, first, last = _split(address)
    if not first:
        return []
    is_dual = "ipv6only=off" in options
    if host in ("", "*"):
        return [Listen("0.0.0.0", first, last)]
    try:
        return [Listen(_canonical(host), first, last, is_dual)]
    except ValueError:
        return [Listen(_canonical(found), first, last) for found in resolve(host)]


def _split(address: str) -> tuple[str, int, int]:
    """Split the first word of C(listen) into host, first and last port."""
    if address.startswith("["):
        host, _bracket, tail = address[1:].partition("]")
        ports = tail.lstrip(":") or "80"
    elif ":" in address:
        host, _colon, ports = address.rpartition(":")
    elif re.fullmatch(r"\d+(-\d+)?", address):
        host, ports = "", address
    else:
        host, ports = address, "80"
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", ports)
    if not found:
        return host, 0, 0
    return host, int(found[1]), int(found[2] or found[1])


def _canonical(host: str) -> str:
    parsed: ipaddress.IPv4Address | ipaddress.IPv6Address
    parsed = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def app_listens(addresses: Iterable[str], port: int, resolve: Resolve) -> list[Listen]:
    """Return the addresses of an app; one that a wildcard covers needs no socket of its own."""
    found = [one for text in addresses for one in listens_of([f"{text}:{port}"], resolve)]
    return [
        one
        for one in dict.fromkeys(found)
        if one.is_wildcard or not any(other.is_wildcard and other.overlaps(one) for other in found)
    ]


def owner(
    servers: Iterable[Server], listens: Iterable[Listen], own: str, ignored: Iterable[str] = ()
) -> str | None:
    """Return another file that has one of the addresses already.

    @param own: the app's own file
    @param ignored: files that are going to be removed
    """
    skipped = {own, *ignored}
    listens = list(listens)
    for server in servers:
        if server.file in skipped:
            continue
        if any(theirs.overlaps(ours) for theirs in server.listens for ours in listens):
            return server.file
    return None


def clash(running: Iterable[Listen], listens: Iterable[Listen]) -> tuple[Listen, Listen] | None:
    """Find a socket of nginx that prevents it from binding another at a reload.

    A reload binds the new sockets before the old ones are closed. The kernel refuses an address and
    a wildcard on one port, so nginx can keep a socket but not widen or narrow it.

    @returns: the existing socket, and the new one
    """
    running = list(running)
    for ours in listens:
        for theirs in running:
            if theirs.overlaps(ours) and theirs.address != ours.address and ours not in running:
                return theirs, ours
    return None


@dataclass(frozen=True)
class Verdict:
    """The decision whether an app can have its addresses.

    @param links: links of other sites that must be removed first
    """

    problem: str = ""
    links: tuple[str, ...] = ()


def evaluate(
    servers: Sequence[Server],
    listens: Sequence[Listen],
    own: str,
    default_site: str = "auto",
    state: Callable[[], str] | None = None,
) -> Verdict:
    """Decide whether addresses belong to the app, or could.

    @param own: the app's own file
    @param default_site: V(auto), to remove Debian's default site if it is unmodified
    @param state: the function C(debian_default_site)
    """
    ports = ", ".join(dict.fromkeys(str(one.first) for one in listens))
    other = owner(servers, listens, own, [DEFAULT_SITE])
    if other:
        return Verdict(f"port {ports} belongs to {other}; choose another.")
    if not owner(servers, listens, own):
        return Verdict()
    if default_site == "auto" and (state or debian_default_site)() == "unmodified":
        return Verdict(links=(DEFAULT_SITE,))
    why = " (nginx_default_site: keep)" if default_site == "keep" else ", which was changed here"
    return Verdict(
        f"port {ports} belongs to {DEFAULT_SITE}{why}; remove it or choose another port."
    )


class Disk:
    """The host's own nginx. A build can have its files at other places than Debian's."""

    def __init__(self, root: str | None = None) -> None:
        self.built = _compiled_in()
        self.root = root or self.built.get("conf-path", DEFAULT_CONFIG)

    @property
    def exists(self) -> bool:
        return os.path.isfile(self.root)

    def config(self) -> Config:
        config = parse(self.root, _read, lambda pattern: sorted(glob.glob(pattern)), resolve)
        prefix = self.built.get("prefix", DEFAULT_PREFIX)
        pid = config.pid or self.built.get("pid-path", DEFAULT_PID)
        error_log = config.error_log or self.built.get("error-log-path", DEFAULT_ERROR_LOG)
        config.pid, config.error_log = os.path.join(prefix, pid), os.path.join(prefix, error_log)
        return config


def _read(path: str) -> str:
    # Byte by byte: a comment in another encoding must not cause an error.
    with open(path, encoding="latin-1") as stream:
        return stream.read()


def resolve(host: str) -> list[str]:
    try:
        return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None)})
    except (OSError, UnicodeError):
        return []


def nginx(*args: str) -> subprocess.CompletedProcess[str]:
    """Run nginx, which can be outside of the user's PATH.

    @raises OSError: if it does not exist, or does not end
    """
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C"}
    try:
        return untrusted.run(["nginx", *args], environment, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired as error:
        reason = (
            f"it did not end within {COMMAND_SECONDS:g} s; see whether a name in its configuration "
            "cannot be looked up"
        )
        raise TimeoutError(errno.ETIMEDOUT, reason) from error


def _compiled_in() -> dict[str, str]:
    """Return the compiled-in paths of nginx, by option; {} without nginx."""
    with contextlib.suppress(OSError):
        return dict(re.findall(r"--(prefix|[a-z-]+-path)=(\S+)", nginx("-V").stdout))
    return {}


def debian_default_site(read_conffiles: Callable[[], Mapping[str, str]] | None = None) -> str:
    """Return the state of Debian's default site: V(absent), V(unmodified), or V(modified).

    @param read_conffiles: returns dpkg's MD5 sums of nginx's files, by path
    """
    if not os.path.lexists(DEFAULT_SITE):
        return "absent"
    if os.path.realpath(DEFAULT_SITE) != os.path.realpath(DEFAULT_SITE_FILE):
        return "modified"
    known = (read_conffiles or _conffiles)().get(DEFAULT_SITE_FILE)
    try:
        with open(DEFAULT_SITE_FILE, "rb") as stream:
            # dpkg's own digest, without a security purpose.
            digest = hashlib.new("md5", stream.read(), usedforsecurity=False).hexdigest()
    except OSError:
        return "modified"
    return "unmodified" if digest == known else "modified"


def _conffiles() -> dict[str, str]:
    command = ["dpkg-query", "-W", "-f", "${Conffiles}\n", "nginx-common"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError:
        return {}
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1}
