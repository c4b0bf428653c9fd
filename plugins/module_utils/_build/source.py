# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which files of a source directory are shipped, and copy them.

The rule, in this order:

1. C(flask_app_exclude) leaves out, and C(flask_app_include) takes in.
2. Version control data, environments and caches are left out. An environment is recognized by its content.
3. In a git work tree, the files that git tracks are shipped, and no others.
4. In a directory without tracked files, the files that git does not ignore are shipped. If git ignores the directory
   itself, or if there is no work tree, all files are shipped. Names of secrets and local data are left out.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .._errors import ArchiveError

# Parts of a work tree that do not belong to the app: history, environments, caches.
EXCLUDED = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    ".env",
    ".tox",
    ".nox",
    "node_modules",
    "__pycache__",
    "*.pyc",
    "*.egg-info",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".DS_Store",
)
# Below the top these can be packages of the app.
EXCLUDED_AT_TOP = ("instance", "venv")

# Names of secrets and of local data, after the public lists of gitleaks, gitrob, shhgit and GitHub (gitignore). They
# apply only where git does not decide, and each name that is left out is reported.
SECRET_FILES = (
    # Environments and credentials of tools.
    ".env.*", ".env-*", ".env_*", "*.env", ".envrc", ".secret", ".secrets", ".secrets.*", "secret.json", "secret.y*ml",
    "secret.toml", "secret.txt", "secrets.json", "secrets.y*ml", "secrets.toml", "secrets.txt", "secrets.env",
    ".vault_pass*", ".vault-pass*", ".vault-token", "vault_pass", "vault_pass.txt", "vault_password",
    "vault_password.txt", "vault-password*", ".netrc", "_netrc", ".pypirc", ".npmrc", ".yarnrc", ".yarnrc.yml",
    ".git-credentials", ".gitcredentials", ".gitrobrc", ".pgpass", "pgpass.conf", ".pg_service.conf", ".my.cnf",
    ".mylogin.cnf", ".s3cfg", ".boto", ".dockercfg", ".dockerconfigjson", "kubeconfig", "*.kubeconfig", "*.tfstate",
    "*.tfstate.*", "*.tfvars", "*.tfvars.json", ".terraformrc", "terraform.rc", "knife.rb", ".credentials",
    "credentials", "credentials.json", "credentials.csv", "credentials.xml", "credentials.y*ml", "credentials.toml",
    "credentials.ini", "client_secret*.json", "service[-_]account*.json", "serviceaccount*.json",
    "application_default_credentials.json", "google-services.json", "adminsdk*.json", "*-adminsdk-*.json",
    ".htpasswd", ".htdigest", "htpasswd", "passwd", "shadow", "proftpdpasswd", "auth.json", ".ftpconfig",
    "sftp-config.json", "sftp.json", ".remote-sync.json", "filezilla.xml", "recentservers.xml", ".esmtprc", ".msmtprc",
    ".muttrc", ".fetchmailrc", ".hgrc", ".trc", ".tugboat", ".exports", ".extra", ".bashrc", ".zshrc", ".bash_profile",
    ".bash_aliases", ".profile", "gradle.properties", "secret_token.rb", "database.yml", "wp-config.php",
    "localsettings.php", "config.inc.php", "heroku.json", "jenkins.plugins.publish_over_ssh.*.xml",
    ".dbeaver-data-sources.xml", "robomongo.json", "logins.json", "accounts.xml", "servlist_.conf", "*.cscfg",
    "configuration.user.xpl", "otr.private_key", "token.json", "token.txt", "*.token", ".token", "password.txt",
    "passwords.txt", "passwords.csv", "password", ".password", "secret_key", ".secret_key", "secret_key.txt", "api_key",
    ".api_key", "api_key.txt", "*_token", ".*_token", "*_token.txt", "*credentials*.json", "*_credentials", "*.agekey",
    "private_key", "private_key.txt", "privatekey", "privatekey.txt", "deploy_key", "*vault_pass", ".vault", "wallet.dat",
    "rclone.conf", ".rclone.conf", ".sentryclirc", ".databrickscfg", ".clasprc.json", ".dev.vars", "local.settings.json",
    "appsettings.local.json",
    # Keys and certificates.
    "id_rsa", "id_rsa.*", "id_rsa_*", "id_dsa", "id_dsa.*", "id_ecdsa", "id_ecdsa.*", "id_ecdsa_*", "id_ed25519",
    "id_ed25519.*", "id_ed25519_*", "*_rsa", "*_dsa", "*_ecdsa", "*_ed25519", "*.pem", "*.key", "*.ppk", "*.p12",
    "*.pfx", "*.pkcs12", "*.p8", "*.pk8", "*.jks", "*.jceks", "*.bks", "*.keystore", "*.keytab", "*.keypair", "*.kdb",
    "*.kdbx", "*.kwallet", "*.psafe3", "*.bek", "*.tpm", "*.fve", "*.asc", "*.gpg", "*.pgp", "secring.*", "*.ovpn",
    "*.tblk", "*.rdp", "*.der", "*.csr", "*.age", "*.sops", "*.keychain", "*.keychain-db", "*.gnucash",
    # Histories.
    ".*_history", ".history", ".histfile", ".lesshst", ".viminfo",
    # Local data.
    "*.db", "*.db-journal", "*.db-wal", "*.db-shm", "*.sqlite", "*.sqlite3", "*.sqlite-*", "*.sqlite3-*", "*.mdb",
    "*.mdf", "*.sdf", "*.rdb", "*.dump", "*dump.json", "*dump*.sql", "*backup*.sql", "*.sql.gz", "*.sql.bz2",
    "*.sql.xz", "*.sql.zst", "*.sqldump", "*.bak", "*.pcap", "*.pcapng", "*.log",
    "*.pid", "celerybeat-schedule", "celerybeat-schedule[-.]*", ".coverage",
)  # fmt: skip
SECRET_FOLDERS = (
    ".aws", ".azure", ".cargo", ".chef", ".config", ".dayone", ".direnv", ".docker", ".gcloud", ".gem", ".gnupg",
    ".gradle", ".idea", ".irssi", ".kube", ".m2", ".mozilla", ".netlify", ".oci", ".pip", ".pulumi", ".purple",
    ".secrets", ".serverless", ".snowsql", ".ssh", ".terraform", ".vagrant", ".vercel", ".xchat2", "*.agilekeychain", "*.keychain",
)  # fmt: skip
# They have no values.
NO_SECRETS = (".env.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults")
# Often a part of the app, and sometimes a copy of its data: shipped, and reported.
DOUBTFUL = ("*.sql",)
NO_DOUBT = ("schema*.sql",)

# Files that are often built, ignored by git, and required by the app; and the places of their copies.
BUILT = re.compile(
    r"(^|/)(static|templates|translations|locales?|public|assets)/|\.mo$|(^|/)(dist|build|out)/.*\.(html|m?js|css)$"
)
NOT_BUILT = re.compile(r"(^|/)build/(lib|bdist)[^/]*/")
# The beginning of a file whose content Git LFS did not fetch. Such a file is never larger (git-lfs, docs/spec.md).
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
MAX_POINTER_BYTES = 1024
# The maximum number of names in a warning.
NAMED = 5
# Variables that lead git to another repository than that of its directory (git rev-parse --local-env-vars).
ELSEWHERE = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_DIR", "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)  # fmt: skip
# The repository can belong to another user, for example in a CI container. Its code is built and imported next, so it
# is trusted already. But the listing must not run programs that the repository configures.
TRUSTING = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")


@dataclass(frozen=True)
class Rules:
    """The user's rules, with priority over the default rule.

    A pattern has the form of C(.gitignore). Without a slash it is a name at any depth. With one it is a path from the
    top. A slash at its end matches only directories. C(*) and C(?) match no slash, C(**) matches any path.
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def excludes(self, path: str, is_folder: bool) -> bool:
        return _any_matches(self.exclude, path, is_folder)

    def includes(self, path: str, is_folder: bool) -> bool:
        return _any_matches(self.include, path, is_folder)


def _any_matches(patterns: Sequence[str], path: str, is_folder: bool) -> bool:
    """Return whether a pattern matches the path itself."""
    return any(_matches(pattern, path, is_folder) for pattern in patterns)


def _matches(pattern: str, path: str, is_folder: bool) -> bool:
    bare = pattern.rstrip("/")
    if pattern.endswith("/") and not is_folder:
        return False
    if "/" not in bare:
        return fnmatch.fnmatchcase(os.path.basename(path), bare)
    return re.fullmatch(_regex(bare.lstrip("/")), path) is not None


def _regex(pattern: str) -> str:
    pieces = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|/\*\*$|\*\*|\*|\?|\[!?[^\]]+\]|.", pattern, re.DOTALL)
    return "".join(
        pieces.get(token)
        or (f"[{token[1:].replace('!', '^', 1)}" if len(token) > 2 else re.escape(token))
        for token in tokens
    )


def problem(pattern: str) -> str | None:
    """Return why a pattern is invalid, or V(None)."""
    if not pattern.strip("/ ") or pattern != pattern.strip():
        return "it is empty or has a space at its end"
    if pattern.startswith(("!", "#")):
        return "negation and comments are not known here; flask_app_include takes files in"
    if ".." in pattern.split("/"):
        return "it leaves the source"
    return None


def is_environment(folder: str) -> bool:
    """Return whether a directory is a Python environment of venv, virtualenv or conda, with any name."""
    return (
        os.path.lexists(os.path.join(folder, "pyvenv.cfg"))
        or os.path.isdir(os.path.join(folder, "conda-meta"))
        or all(
            os.path.lexists(os.path.join(folder, "bin", name)) for name in ("activate", "python")
        )
    )


def _is_part_of_environment(top: str, name: str) -> bool:
    """Return whether an entry of a source that is itself an environment belongs to the environment."""
    if not is_environment(top):
        return False
    full = os.path.join(top, name)
    return (
        name in ("pyvenv.cfg", "conda-meta", "lib64", "pip-selfcheck.json")
        or (name == "bin" and os.path.lexists(os.path.join(full, "python")))
        or (name == "include" and not os.path.exists(os.path.join(full, "__init__.py")))
        or (name == "lib" and any(it.startswith("python") for it in _names(full)))
    )


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except NotADirectoryError:
        return []


@dataclass
class Found:
    """The shipped files of a source, and facts on the others for warnings."""

    paths: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    not_checked_out: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    pointers: list[str] = field(default_factory=list)
    is_tracked: bool = False
    is_never_added: bool = False


def copy(
    source: str, folder: str, rules: Rules | None = None, about: str = "flask_app_source"
) -> list[str]:
    """Copy the shipped files of C(source) to C(folder), and return warnings.

    @param about: the name of the source in messages
    @raises ArchiveError: for files that no release can contain, and if git is needed and cannot be queried
    """
    found = find(source, rules or Rules(), about)
    os.makedirs(folder)
    for path in found.paths:
        full, target = os.path.join(source, path), os.path.join(folder, path)
        if os.path.isdir(full) and not os.path.islink(full):
            os.makedirs(target, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.islink(full) and not os.path.isfile(full):
            raise ArchiveError(
                f"{about}: {path} is neither file, directory nor symbolic link, so no release can hold it. "
                "Remove it, or name it in flask_app_exclude."
            )
        shutil.copy2(full, target, follow_symlinks=False)
    return [
        f"{about}: {warning}" for warning in (*_warnings(found), *_dangling(source, folder, found))
    ]


def find(source: str, rules: Rules, about: str = "flask_app_source") -> Found:
    """Decide which files are shipped, without a change."""
    found = Found()
    listed = _listed(source, found, about)
    if found.is_tracked:
        found.untracked = [
            path for path in _others(source, about) if not _is_settled(source, path, rules)
        ]
        found.built = [
            path
            for path in _ignored(source, about)
            if BUILT.search(path)
            and not NOT_BUILT.search(path)
            and not _is_settled(source, path, rules)
        ]
        found.absent = [
            path
            for path in found.absent
            if not any(rules.excludes(place, path != place) for place in _with_parents(path))
        ]
    _visit(source, "", False, rules, listed, found)
    found.pointers = [path for path in found.paths if _is_pointer(os.path.join(source, path))]
    return found


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _is_pointer(path: str) -> bool:
    """Return whether a file is only a pointer to content of Git LFS."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_POINTER_BYTES:
        return False
    with open(path, "rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def _visit(
    source: str,
    folder: str,
    inside: bool,
    rules: Rules,
    listed: frozenset[str] | None,
    found: Found,
) -> None:
    """Decide on each entry of one directory.

    @param inside: whether C(flask_app_include) includes the directory
    @param listed: the files and directories that git would ship; V(None) if git does not decide
    """
    for name in sorted(os.listdir(os.path.join(source, folder))):
        path = os.path.join(folder, name)
        is_folder = _is_folder(source, path)
        if rules.excludes(path, is_folder):
            continue
        taken_in = rules.includes(path, is_folder)
        if not taken_in and is_usual(source, path):
            continue
        if not (inside or taken_in):
            is_listed = listed is None or path in listed
            if not is_listed and not (is_folder and rules.include):
                continue
            if is_listed and not found.is_tracked and _is_secret(name, is_folder):
                found.secrets.append(path + "/" * is_folder)
                continue
            if not found.is_tracked and _fits(name, DOUBTFUL) and not _fits(name, NO_DOUBT):
                found.doubtful.append(path)
        if not is_folder or listed is None or inside or taken_in:
            found.paths.append(path)
        if is_folder:
            _visit(source, path, inside or taken_in, rules, listed, found)


def _is_folder(source: str, path: str) -> bool:
    full = os.path.join(source, path)
    return os.path.isdir(full) and not os.path.islink(full)


def is_usual(source: str, path: str) -> bool:
    """Return whether a path is version control data, a cache or an environment, which no release needs."""
    name = os.path.basename(path)
    at_top = name == path
    return (
        _fits(name, EXCLUDED)
        or (at_top and _fits(name, EXCLUDED_AT_TOP))
        or (at_top and _is_part_of_environment(source, name))
        or (_is_folder(source, path) and is_environment(os.path.join(source, path)))
    )


@functools.cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Combine patterns into one expression: each file of a source is compared with hundreds."""
    return re.compile("|".join(map(fnmatch.translate, patterns)))


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return _pattern(patterns).match(name) is not None


def _is_secret(name: str, is_folder: bool) -> bool:
    name = name.lower()
    if is_folder:
        return _fits(name, SECRET_FOLDERS)
    return _fits(name, SECRET_FILES) and name not in NO_SECRETS


def _is_settled(source: str, path: str, rules: Rules) -> bool:
    """Return whether a file outside of git needs no warning: a rule names it, or it is never shipped."""
    is_folder, bare = path.endswith("/"), path.rstrip("/")
    parts = bare.split("/")
    parents = ["/".join(parts[:count]) for count in range(1, len(parts))]
    return any(
        rules.excludes(place, folder) or rules.includes(place, folder) or is_usual(source, place)
        for place, folder in [*((parent, True) for parent in parents), (bare, is_folder)]
    )


def _ignored(source: str, about: str) -> Iterator[str]:
    """Yield the files that git ignores, without those in environments and caches, which can be many."""
    for top in _others(source, about, "--ignored", "--directory"):
        if not top.endswith("/"):
            yield top
            continue
        for place, folders, names in os.walk(os.path.join(source, top)):
            below = os.path.relpath(place, source)
            folders[:] = [it for it in folders if not is_usual(source, os.path.join(below, it))]
            yield from (os.path.join(below, name) for name in names)


def _listed(source: str, found: Found, about: str) -> frozenset[str] | None:
    """Return the paths that git would ship, with their directories; V(None) if git does not decide."""
    paths = _tracked(source, found, about)
    if paths is None:
        return None
    found.is_tracked = bool(paths or found.absent)
    if not paths:
        paths = _others(source, about)
        found.is_never_added = bool(paths)
    if not paths:
        return None
    parents = {path[:at] for path in paths for at, char in enumerate(path) if char == "/"}
    return frozenset(parents.union(path.rstrip("/") for path in paths))


def _tracked(source: str, found: Found, about: str) -> list[str] | None:
    """Return the files that git tracks, also in submodules and nested repositories; V(None) outside of a work tree."""
    listed = _git(source, about, "ls-files", "-z")
    if listed is None:
        return None
    paths, is_whole = [], True
    for path in listed:
        full = os.path.join(source, path)
        if not os.path.lexists(full):
            is_whole = False
        elif not os.path.isdir(full) or os.path.islink(full):
            paths.append(path)
        elif os.path.lexists(os.path.join(full, ".git")):
            inside = Found()
            below = _tracked(full, inside, about) or []
            paths += [os.path.join(path, name) for name in below]
            found.absent += [os.path.join(path, name) for name in inside.absent]
            found.not_checked_out += [os.path.join(path, name) for name in inside.not_checked_out]
        else:
            found.not_checked_out.append(path)
    if not is_whole:
        # A removed file that is still tracked is not meant. One of a sparse checkout has the tag S.
        tagged = _git(source, about, "ls-files", "-z", "-t") or []
        found.absent += [line[2:] for line in tagged if line.startswith("S ")]
        found.absent = [it for it in found.absent if not os.path.lexists(os.path.join(source, it))]
    return paths


def _others(source: str, about: str, *options: str) -> list[str]:
    """Return the files that git does not track; without options, without those that it ignores."""
    return _git(source, about, "ls-files", "-z", "--others", "--exclude-standard", *options) or []


def _git(source: str, about: str, *words: str) -> list[str] | None:
    """Return the paths that git lists; V(None) outside of a work tree.

    @raises ArchiveError: if there is a work tree, and git cannot be queried
    """
    top = _work_tree(source)
    if top is None:
        return None
    try:
        done = subprocess.run(
            ["git", *TRUSTING, *words],
            cwd=source,
            env=environment(),
            capture_output=True,
            check=False,
        )
    except OSError as exc:
        raise ArchiveError(
            f"{about}: {source} lies in the git work tree {top}, and git cannot be run on the controller "
            f"({exc.strerror}), so what belongs to the app is not known. Install git there."
        ) from exc
    if done.returncode != 0:
        why = os.fsdecode(done.stderr).strip().splitlines() or [f"status {done.returncode}"]
        if "unsafe repository" in why[0] or "dubious ownership" in why[0]:
            raise ArchiveError(
                f"{about}: git refuses the work tree {top}, since it belongs to another user than the one who releases. "
                f"Run: git config --global --add safe.directory {top}"
            )
        if "not a git repository (or any" in why[0]:
            return None
        raise ArchiveError(
            f"{about}: git cannot list {source}: {why[0]}. Repair the work tree {top}, or release from a plain copy."
        )
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


def _work_tree(source: str) -> str | None:
    """Return the directory at or above C(source) that is a work tree of git."""
    place = os.path.realpath(source)
    while not os.path.lexists(os.path.join(place, ".git")):
        above = os.path.dirname(place)
        if above == place:
            return None
        place = above
    return place


def environment() -> dict[str, str]:
    """Return the environment for git, as in a hook, without variables that lead it elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    return {**kept, "LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"}


def _warnings(found: Found) -> Iterator[str]:
    take_in = "If the app needs one, name it in flask_app_include"
    if found.untracked:
        yield (
            f"{_named(found.untracked)} not tracked by git, so not in the release. "
            f"{take_in} or add it to git; name the others in flask_app_exclude."
        )
    if found.built:
        yield (
            f"{_named(sorted(set(found.built)))} ignored by git, so not in the release. "
            f"{take_in}; name the others in flask_app_exclude."
        )
    if found.secrets:
        yield (
            f"{_named(found.secrets)} left out, by the names of secrets and local data. "
            f"{take_in}; name the others in flask_app_exclude."
        )
    if found.doubtful:
        yield (
            f"{_named(found.doubtful)} in the release. If that is a copy of data, name it in flask_app_exclude; "
            "name it in flask_app_include otherwise."
        )
    if found.is_never_added:
        yield "git tracks no file of it, so all that git does not ignore is in the release. Add the app's files to git."
    if found.not_checked_out:
        yield (
            f"{_named(found.not_checked_out)} not checked out, so nothing of it is in the release. "
            "Run: git submodule update --init --recursive"
        )
    if found.absent:
        yield (
            f"{_named(found.absent)} not in the work tree, by git's sparse checkout, so not in the release. "
            "Run: git sparse-checkout disable. Name what the app does not need in flask_app_exclude."
        )
    if found.pointers:
        yield (
            f"{_named(found.pointers)} in the release as a pointer of Git LFS and not as the file itself. "
            "Run: git lfs pull"
        )


def _dangling(source: str, folder: str, found: Found) -> Iterator[str]:
    """Warn of links to files that are not shipped. They lead nowhere on the hosts."""
    links = [
        path
        for path in found.paths
        if os.path.islink(os.path.join(folder, path))
        and not os.path.exists(os.path.join(folder, path))
        and os.path.exists(os.path.join(source, path))
        and not os.path.isabs(os.readlink(os.path.join(source, path)))
    ]
    if links:
        yield f"{_named(links)} a link to what is not in the release. Name its target in flask_app_include."


def _named(paths: Sequence[str]) -> str:
    """Return the first paths, the number of the others, and the verb for them."""
    shown = ", ".join(paths[:NAMED])
    rest = len(paths) - NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return f"{shown}{more} {'is' if len(paths) == 1 else 'are'}"
