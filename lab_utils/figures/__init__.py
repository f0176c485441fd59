"""Every figure of the lab, in one style. Functions here take results and give a matplotlib `Figure`."""

from lab_utils.figures.arrows import arrows
from lab_utils.figures.display import save_animation, show_animation, show_claims, show_figure, show_finding, show_table
from lab_utils.figures.guidance import along_weights
from lab_utils.figures.laws import over_laws
from lab_utils.figures.losses import excess, losses, losses_along_t, nats, training_view
from lab_utils.figures.maps import differences, maps, reverse_animation, strays, walks
from lab_utils.figures.posterior import posterior, posteriors
from lab_utils.figures.quality import comparison, evaluations, multiples, trade_off
from lab_utils.figures.schedules import alphas_cumprod, schedule_card
from lab_utils.figures.style import BLUE, GREEN, GREY, LINES, ORANGE, Extent, around

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "LINES",
    "ORANGE",
    "Extent",
    "along_weights",
    "alphas_cumprod",
    "around",
    "arrows",
    "comparison",
    "differences",
    "evaluations",
    "excess",
    "losses",
    "losses_along_t",
    "maps",
    "multiples",
    "nats",
    "over_laws",
    "posterior",
    "posteriors",
    "reverse_animation",
    "save_animation",
    "schedule_card",
    "show_animation",
    "show_claims",
    "show_figure",
    "show_finding",
    "show_table",
    "strays",
    "trade_off",
    "training_view",
    "walks",
]
