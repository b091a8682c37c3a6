"""``repflow doctor``: versions, the machine, and whether the installation works, to paste into a bug report."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from repflow.cli.errors import CHECK_FAILED
from repflow.cli.options import Json
from repflow.cli.output import say

EXAMPLES = (
    "repflow doctor",
    "repflow doctor --verbose",
    "repflow doctor --json > doctor.json",
)


def doctor(
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Also the places of files and how torch was built.", metavar=""),
    ] = False,
    json: Json = False,
) -> None:
    """Versions, machine, devices and extras, and a self-check of seconds, to paste into a bug report."""
    from repflow.cli.environment import environment
    from repflow.cli.self_check import self_check

    found = environment(verbose)
    found["checks"] = self_check()
    found["works"] = all(check["passed"] for check in found["checks"]) and all(
        package["fits"] for package in found["packages"]
    )
    if json:
        # Not by print_json: it needs torch, which may be what is wrong.
        say(json_format.dumps(found, indent=2, allow_nan=False))
    else:
        for line in _lines(found):
            say(line)
    if not found["works"]:
        raise typer.Exit(CHECK_FAILED)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """The same in lines of two columns, without marks that a bug tracker would take for its own."""
    python, cores, memory, terminal = (found[name] for name in ("python", "cores", "memory", "terminal"))
    rows = [
        ("repflow", found["repflow"]),
        ("Python", f"{python['version']} ({python['implementation']}), {python['executable']}"),
        ("platform", found["platform"]),
        ("cores", f"{cores['logical']}, usable {cores['usable']}; torch computes with {found['threads']} threads"),
        ("memory", f"{memory['total_gib']} GiB, free {memory['free_gib']} GiB"),
        *(("device", ", ".join(_words(device))) for device in found["devices"]),
        *(("linear algebra", text) for text in found["blas"]),
        *(("variable", f"{name}={value}") for name, value in found["variables"].items()),
        ("terminal", f"{terminal['stdout']}, {terminal['encoding']}, {terminal['columns']} columns"),
    ]
    if "torch_error" in found:
        rows.append(("torch", f"cannot be imported: {found['torch_error']}"))
    rows += [("package", _package(package)) for package in found["packages"]] or [
        ("package", "repflow is not installed, so what it asks for is unknown: pip install -e .")
    ]
    rows += [("extra", _extra(extra)) for extra in found["extras"]]
    rows += [("path", f"{name}: {place}") for name, place in found.get("paths", {}).items()]
    rows += [("torch build", line) for line in found.get("torch_build", [])]
    rows += [
        ("check", f"{check['check']} {'passed' if check['passed'] else 'FAILED'}: {check['detail']}")
        for check in found["checks"]
    ]
    for name, text in rows:
        yield f"{name:<15} {text}"
    yield ""
    yield "repflow works." if found["works"] else "Something is wrong: see the lines with FAILED."


def _words(device: dict[str, Any]) -> Iterator[str]:
    yield f"{device['device']}: {device['name']}"
    if "memory_gib" in device:
        yield f"{device['memory_gib']} GiB"
        yield f"CUDA {device['cuda']}"


def _package(package: dict[str, Any]) -> str:
    if package["installed"] is None:
        return f"{package['name']} missing, {package['asked']} is asked for: FAILED"
    wrong = "" if package["fits"] else f", but {package['asked']} is asked for: FAILED"
    return f"{package['name']} {package['installed']}{wrong}"


def _extra(extra: dict[str, Any]) -> str:
    missing = ", ".join(extra["missing"])
    state = "installed" if extra["installed"] else f"not installed ({missing}): pip install 'repflow[{extra['name']}]'"
    return f"{extra['name']}, for {extra['purpose']}: {state}" if extra["purpose"] else f"{extra['name']}: {state}"
