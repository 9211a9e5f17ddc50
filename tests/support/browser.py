"""Finds a browser of the Chromium family on this machine; nothing is asked for over the network."""

import os
import shutil
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
)
HOW_TO_GET_ONE = (
    "NO BROWSER: the page is not tested. Install chromium or google-chrome, or run `playwright install chromium`, "
    "or set EMS_BROWSER to an executable."
)


def find_browser() -> str | None:
    """Path of the executable: `EMS_BROWSER`, one on the PATH, or playwright's own."""
    chosen = os.environ.get("EMS_BROWSER")
    if chosen:
        return shutil.which(chosen)
    on_path = (shutil.which(name) for name in NAMES)
    return next((path for path in on_path if path), None) or _from_playwright()


def _from_playwright() -> str | None:
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    patterns = ("chromium-*/chrome-linux*/chrome", "chromium_headless_shell-*/chrome-*/*headless*shell*")
    found = [path for pattern in patterns for path in sorted(root.glob(pattern)) if os.access(path, os.X_OK)]
    return str(found[-1]) if found else None
