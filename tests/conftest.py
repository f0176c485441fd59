"""What several test files share: a real browser, and Ctrl-C as it usually is."""

import os
import signal

import pretended  # noqa: F401 - before the first gradient of any test: after it PyTorch takes no new device
import pytest

from lab_utils.report import printing


@pytest.fixture(autouse=True)
def usual_ctrl_c():
    """Ctrl-C does what it does in a terminal. A shell script starts what runs in its background with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium; without one the test is skipped, but not where everything is tested."""
    try:
        return printing.browser()
    except printing.ReportError as error:
        assert "CI" not in os.environ, "where everything is tested there must be a browser"
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def browser(chromium):
    """That Chromium, started, for Playwright."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()
