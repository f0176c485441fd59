"""What pytest needs to know in every call, be it for `tests`, for one notebook, or for all (why it stands up here)."""

import os

import pytest
from hypothesis import settings
from nbval.plugin import IPyNbFile

settings.register_profile("lab", deadline=None)  # a busy machine is slow, not wrong
settings.register_profile("ci", deadline=None, derandomize=True)  # the same examples in every run
settings.register_profile("soak", deadline=None, max_examples=10_000)
settings.load_profile("soak" if os.environ.get("DDPM_LAB_SOAK") else "ci" if os.environ.get("CI") else "lab")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Tell nbval what differs between two good runs: progress bars, warnings, and the pixels of players."""
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += ("stderr",)
        # nbval compares no picture, but an animation's player is HTML with the pictures inside, and named by them.
        collector.sanitize_patterns[r"data:image/png;base64,[\w+/=\\\s]+"] = "PICTURE"
        collector.sanitize_patterns[r"(?<=object) at 0x[0-9a-f]+(?=>)"] = ""  # a widget's plain text
        collector.sanitize_patterns[r"(anim\w*?)[0-9a-f]{16}\b"] = r"\1"
