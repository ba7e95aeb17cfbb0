"""What the dependencies bring along: known vulnerabilities of the locked versions, and licences of the installed ones.

`make audit` runs it. Exit 1 on a finding. Where the service of vulnerabilities (osv.dev, asked by `uv audit`) cannot be reached, that half says so
and is skipped. Allowed licences, and packages that are allowed for a reason, stand in pyproject.toml under `tool.audit`.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Mapping
from email.message import Message
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOUND_NOTHING, FOUND_SOMETHING = 0, 1


def licence_of(metadata: Message) -> str:
    """The licence that a package states: as an SPDX expression, else as classifiers (joined by OR), else in words."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [name.rpartition("::")[2].strip() for name in metadata.get_all("Classifier", []) if name.startswith("License ::")]
    return " OR ".join(classifiers) or (str(metadata.get("License") or "").strip().splitlines() or ["none stated"])[0]


def is_allowed(licence: str, allowed: Collection[str]) -> bool:
    """Whether every part joined by AND offers, joined by OR, one that is allowed."""
    parts = (re.sub(r"^\((.*)\)$", r"\1", part) for part in re.split(r"\s+AND\s+(?![^(]*\))", licence))
    return all(any(choice in allowed for choice in re.split(r"\s+OR\s+", part)) for part in parts)


def licence_problems(settings: Mapping[str, object]) -> list[str]:
    """The installed packages whose licence is neither allowed nor excepted, and exceptions that are not needed."""
    allowed, excepted = settings["allowed_licences"], settings["excepted_packages"]
    assert isinstance(allowed, list)
    assert isinstance(excepted, dict)
    licences = {distribution.metadata["Name"].lower(): licence_of(distribution.metadata) for distribution in importlib.metadata.distributions()}
    refused = {name: licence for name, licence in licences.items() if not is_allowed(licence, allowed)}
    problems = [f"{name}: {licence} is not allowed" for name, licence in sorted(refused.items()) if name not in excepted]
    return problems + [f"{name} is excepted and need not be" for name in excepted if name in licences and name not in refused]


def vulnerabilities(uv: str, *options: str) -> int:
    """Ask for the known vulnerabilities of what is locked, and print them."""
    done = subprocess.run(
        [uv, "audit", "--frozen", "--preview-features", "audit-command", *options], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode not in (FOUND_NOTHING, FOUND_SOMETHING):
        print(f"vulnerabilities: SKIPPED, the service did not answer ({done.stderr.strip().splitlines()[-1].strip()})")
        return FOUND_NOTHING
    print(f"vulnerabilities: {(done.stdout + done.stderr).strip()}")
    return done.returncode


def main(uv: str, *options: str) -> int:
    """Both halves; 1 where either found something."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["audit"]
    problems = licence_problems(settings)
    print("licences: " + ("\n  ".join(["", *problems]) if problems else "all allowed"))
    return max(vulnerabilities(uv, *options), FOUND_SOMETHING if problems else FOUND_NOTHING)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
