"""Settings and fixtures shared by all tests."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Derandomised, so that a test either passes always or fails always; no deadline, since CI machines differ in speed.
settings.register_profile("repflow", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repflow")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# What keeps a browser as root in a container from crashing, and from talking to anybody.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=20000",
)


@dataclass(frozen=True)
class Rendered:
    """A page after its scripts ran: the document as text, and what was written to the console."""

    dom: str
    console: list[str]


class Browser:
    """A headless Chromium, started afresh for every page."""

    def __init__(self, executable: str, home: Path) -> None:
        self.executable, self.home = executable, home

    def _run(self, page: Path, width: int, height: int, dark: bool, *action: str) -> subprocess.CompletedProcess:
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        profile = f"--user-data-dir={self.home / 'profile'}"
        command = [self.executable, *_FLAGS, scheme, profile, f"--window-size={width},{height}", *action, page.as_uri()]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=True)

    def render(self, page: Path, width: int = 1400, height: int = 1000, dark: bool = False) -> Rendered:
        """Open a file and return its document."""
        done = self._run(page, width, height, dark, "--dump-dom")
        return Rendered(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])

    def screenshot(self, page: Path, target: Path, width: int = 1400, height: int = 1000, dark: bool = False) -> Path:
        """Open a file and save what it looks like as PNG."""
        self._run(page, width, height, dark, f"--screenshot={target}")
        return target


@pytest.fixture
def browser(tmp_path_factory):
    """A browser, or a skipped test that says why; with REPFLOW_REQUIRE_BROWSER=1, as in CI, a failed one."""
    executable = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    if executable is None:
        reason = f"no browser found: install one of {', '.join(_BROWSERS)}"
        if os.environ.get("REPFLOW_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return Browser(executable, tmp_path_factory.mktemp("browser"))
