"""Print a page of the report as a PDF."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab_utils.base.files import write_whole


class ReportError(ValueError):
    """What was asked for can't be done; the message says why, and what could be done instead."""


PATIENCE = 300  # seconds for the browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def browser() -> str:
    """The program that prints pages: Chromium or one of its kin, or what $CHROMIUM names.

    Raises:
        ReportError: there is none.
    """
    for name in (os.environ.get("CHROMIUM", ""), *BROWSERS):
        if name and (found := shutil.which(name)):
            return found
    raise ReportError(
        "a PDF is printed by Chromium or Chrome, and none was found; install one, or let CHROMIUM name it"
    )


def print_pdf(page: Path, pdf: Path) -> None:
    """Print the page as a PDF.

    Raises:
        ReportError: there is no browser, or it did not print, or not in time.
        OSError: there is no room on the disk.
    """
    with write_whole(pdf) as part, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # no sandbox, for root has none (in a container, say); the page is our own, and fetches nothing
        flags = ["--headless", "--disable-gpu", "--no-sandbox", "--no-first-run", "--disable-background-networking"]
        flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={profile}"]
        flags += ["--no-pdf-header-footer"]
        command = [browser(), *flags, f"--print-to-pdf={part}", page.resolve().as_uri()]
        said = Path(profile) / "said"  # no pipe: the browser's children would hold it open after a time-out
        try:
            with said.open("w") as file:
                done = subprocess.run(command, stdout=file, stderr=file, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ReportError(f"{command[0]} did not print {page.name} in {PATIENCE} s") from error
        if done.returncode or not part.exists():
            raise ReportError(
                f"{command[0]} did not print {page.name}: {said.read_text(errors='replace').strip()[-500:]}"
            )
