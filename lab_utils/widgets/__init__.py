"""What moves: sliders, pictures to click on, a training to watch, and networks that run in the reader's browser.

What the sliders show comes from plain functions, which are tested as such.
"""

from lab_utils.widgets.drawing import DrawingField
from lab_utils.widgets.guidance import GuidanceExplorer
from lab_utils.widgets.live import LiveExplorer
from lab_utils.widgets.paths import PathExplorer
from lab_utils.widgets.payload import Choice, Live, Reading
from lab_utils.widgets.posterior import posterior_explorer
from lab_utils.widgets.schedule import make_schedule, schedule_explorer, schedule_view
from lab_utils.widgets.training import LiveTraining, Watch

__all__ = [
    "Choice",
    "DrawingField",
    "GuidanceExplorer",
    "Live",
    "LiveExplorer",
    "LiveTraining",
    "PathExplorer",
    "Reading",
    "Watch",
    "make_schedule",
    "posterior_explorer",
    "schedule_explorer",
    "schedule_view",
]
