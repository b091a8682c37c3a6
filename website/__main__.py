"""``python -m website``: build the documentation site into ``site/``, and check it. Any warning is an error."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from website.check import problems
from website.sources import write_sources

ROOT = Path(__file__).resolve().parents[1]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def build(root: Path = ROOT) -> list[str]:
    """Build ``site/`` of the repository at ``root``; returns the warnings, none when all is well."""
    site = root / "site"
    shutil.rmtree(site, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    said = ESCAPES.sub("", done.stdout)
    # What griffe and mkdocstrings say of a docstring is only printed: --strict lets it pass.
    warnings = [line for line in said.splitlines() if line.startswith(("griffe:", "mkdocstrings:", "mkdocs_autorefs:"))]
    if done.returncode:
        return [said.split("Traceback (most recent call last)")[0].strip(), *warnings]
    write_sources(root, site)
    return [*warnings, *problems(site)]


def main() -> int:
    """Exit status 0 for a site without a warning."""
    warnings = build()
    for warning in warnings:
        print(warning, file=sys.stderr)
    if not warnings:
        print(ROOT / "site" / "index.html")
    return int(bool(warnings))


if __name__ == "__main__":
    sys.exit(main())
