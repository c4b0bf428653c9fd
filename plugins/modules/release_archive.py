#!/usr/bin/python
# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the archives of a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_archive
short_description: Build an app and its locked dependencies once, for all hosts
version_added: "0.1.0"
author:
  - The evenkeel.flask authors (@evenkeel)
description:
  - Resolves the requirements of a Flask app once, and locks them to wheels with hashes. Packs the app into one archive
    and the wheels into another, from which M(evenkeel.flask.release) creates releases. Hosts need no access to a
    package index.
  - Runs on the controller (C(delegate_to=localhost)), with the pip of the controller's Python and its configuration.
  - The requirements of the app are resolved alone, as C(pip install -r) does. Hashes in them are verified.
    O(runtime_requirements) are resolved afterwards, and change no version of theirs.
  - In a git work tree, the files of O(source) that git tracks are shipped. Otherwise, files with names of secrets are
    left out, and a warning names them. Environments and caches are always left out.
  - Unchanged input builds nothing, and a change of code alone does not resolve the requirements again. The content of
    the archive does not depend on the time or the place of the build. So the same content is the same release.
  - The input is the source, the requirements, their local files and projects, the commits of their branches, pip's
    settings, and the other options. The content of package indexes is not. A requirement that cannot be pinned, such as
    a URL without a hash, is resolved again in each run, and a warning names it.
  - If the hosts run another Python or an older C library than the controller, only prebuilt wheels can be used.
extends_documentation_fragment:
  - evenkeel.flask.attributes
attributes:
  check_mode:
    support: partial
    details:
      - The archive is built in check mode also. It is in a cache on the controller, and later steps could not be
        predicted without it.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: The app's name.
    type: str
    required: true
  source:
    description:
      - A directory with C(pyproject.toml) or C(requirements.txt), or a wheel.
      - The C(build-system.requires) of a C(pyproject.toml) is installed once and stored in O(cache) until it or
        O(pip_args) change. If that does not build the project, pip builds it in its own environment.
    type: path
  requirements:
    description:
      - Requirements as pip accepts them, or a single path of a requirements file.
      - Defaults to the C(requirements.txt) of O(source), if it has one.
    type: list
    elements: str
    default: []
  runtime_requirements:
    description: The requirements of the collection in the app's venv, in addition to the app's own.
    type: list
    elements: str
    default: []
  entry:
    description:
      - The WSGI entry as gunicorn accepts it.
      - It is imported once after a build, so that a wrong entry is reported before any change of a host. A factory is
        not called. There is no import if the controller's Python is not the hosts'.
    type: str
    required: true
  environment:
    description: The environment of the import.
    type: dict
    default: {}
  version:
    description: The app's version, derived from the built wheel by default.
    type: str
    default: ""
  pip_args:
    description: Additional arguments of pip.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - The files of O(source) that are not shipped, and not built into its wheel. Patterns have the form of
        C(.gitignore). Without a slash a pattern is a name at any depth. With one it is a path from the top. A slash at
        its end matches only directories.
      - It has priority over O(include).
    type: list
    elements: str
    default: []
    version_added: "0.1.0"
  include:
    description:
      - The files of O(source) that are shipped although they would be left out, such as built files that git ignores.
        Patterns have the form of O(exclude).
    type: list
    elements: str
    default: []
    version_added: "0.1.0"
  target:
    description:
      - The hosts' Python, as M(evenkeel.flask.preflight) returns it.
    type: dict
    required: true
    suboptions:
      python_version:
        description: For example V(3.11.2).
        type: str
        required: true
      python_tag:
        description: For example V(cp311).
        type: str
        required: true
      machine:
        description: For example V(x86_64).
        type: str
        required: true
      libc:
        description: For example V(glibc-2.36).
        type: str
        required: true
  cache:
    description: The directory for the archives, and for the venvs that build and check them.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Build the release once
  evenkeel.flask.release_archive:
    name: shop
    source: /home/me/shop
    entry: shop:create_app()
    runtime_requirements: [gunicorn]
    target:
      python_version: 3.11.2
      python_tag: cp311
      machine: x86_64
      libc: glibc-2.36
    cache: ~/.cache/evenkeel.flask
  delegate_to: localhost
  run_once: true
  become: false
  register: archive
"""

RETURN = r"""
path:
  description: The path of the archive on the controller.
  returned: success
  type: str
  sample: /home/me/.cache/evenkeel.flask/shop-1a2b3c4d5e6f7a8b.tar
wheels:
  description: The path of the archive of the locked wheels on the controller.
  returned: success
  type: str
  sample: /home/me/.cache/evenkeel.flask/shop-0f1e2d3c4b5a6978.wheels.tar
digest:
  description: The digest of source and locked wheels.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
archive_sha256:
  description: The SHA-256 of the file at RV(path), for M(evenkeel.flask.release) to compare.
  returned: success
  type: str
  sample: 6ae8a75555209fd6c44157c0aed8016e763ff435a19cf186f76863140143ff72
wheels_sha256:
  description: The SHA-256 of the file at RV(wheels), for M(evenkeel.flask.release) to compare.
  returned: success
  type: str
  sample: c147efcfc2d7ea666a9e4f5187b115c90903f0fc896a56df9a6ef5d8f3fc9f31
commit:
  description: The commit of the source, with a C(+) if there are later changes; empty without git.
  returned: success
  type: str
  sample: 3f2a1b0c9d8e
version:
  description: The app's version, empty when it has none.
  returned: success
  type: str
  sample: 2.0.0
"""

import os

from ..module_utils._artifact import archive
from ..module_utils._build import pipeline
from ..module_utils._errors import ArchiveError
from ..module_utils._module import AnsibleModule
from ..module_utils._release import environment as release_environment

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "source": {"type": "path"},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "runtime_requirements": {"type": "list", "elements": "str", "default": []},
    "entry": {"type": "str", "required": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "version": {"type": "str", "default": ""},
    "pip_args": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "include": {"type": "list", "elements": "str", "default": []},
    "target": {
        "type": "dict",
        "required": True,
        "options": {
            name: {"type": "str", "required": True}
            for name in ("python_version", "python_tag", "machine", "libc")
        },
    },
    "cache": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    environment, secrets = release_environment.take(module)
    try:
        recipe = pipeline.recipe(params)
        path, manifest, built = pipeline.build(recipe, params["cache"], environment, module.warn)
        wheels = os.path.join(os.path.dirname(path), manifest.wheels)
        digests = {
            "archive_sha256": archive.file_digest(path),
            "wheels_sha256": archive.file_digest(wheels),
        }
    except (ArchiveError, OSError) as exc:
        module.no_log_values = secrets
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=built,
        path=path,
        wheels=wheels,
        **digests,
        digest=manifest.digest,
        version=manifest.version,
        commit=pipeline.commit(recipe.source),
    )


if __name__ == "__main__":
    main()
