"""A finding's numbers follow from what was measured, and a finding that they don't carry is refused."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from lab_utils.study.findings import loss_finding, recipe_finding, strays_finding
from lab_utils.study.results import Results
from lab_utils.study.sweeps import BASE, BETTER

SHORT = {**BETTER, "epochs": 500}


def results(*, floor=0.35, late_loss=0.36, late_blur=2.0, better_blur=1.25):
    """Five trainings by the original's recipe, measured after 200 and 2000 epochs, and five by a better one."""
    rows = []
    for seed in range(5):
        chance = 1.001 ** (seed - 2)  # its geometric mean is 1
        rows += [
            {**BASE, "epoch": 200, "seed": seed, "loss": 0.365, "floor": floor, "blur": 2.5 * chance},
            {**BASE, "epoch": 2000, "seed": seed, "loss": late_loss, "floor": floor, "blur": late_blur},
            {**BASE, **SHORT, "epoch": 500, "seed": seed, "blur": better_blur * chance},
        ]
    return Results(pd.DataFrame(rows).assign(data="cities"))


def sample(blur, strays, width=2.0):
    """What one sample reads; its strays with an interval that is so many times as wide on both sides."""
    interval = (strays / width, strays * width)
    return {"blur": SimpleNamespace(multiple=blur), "strays": SimpleNamespace(multiple=strays, interval=interval)}


FINDINGS = {
    "loss": lambda: loss_finding(results()),
    "recipe": lambda: recipe_finding(results(), SHORT),
    "strays": lambda: strays_finding(sample(1.01, 8.8), sample(1, 2.3), sample(1, 1.2)),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_one_sentence_that_begins_with_its_number(name):
    sentence = FINDINGS[name]()
    assert re.fullmatch(r"\*\*\d[^*]*\*\*[^*]+\.", sentence)
    assert len(re.findall(r"\.(\s|$)", sentence)) == 1


def test_the_numbers_are_those_of_the_table_and_change_with_it():
    assert loss_finding(results()).startswith("**97.2 %** of the loss is a floor")
    assert "falls by only 1.4 %" in loss_finding(results())
    assert "from 2.50 to 2.00 × real" in loss_finding(results())
    assert loss_finding(results(floor=0.342)).startswith("**95.0 %**")
    assert "from 2.50 to 1.80 × real" in loss_finding(results(late_blur=1.8))
    assert recipe_finding(results(), SHORT).startswith("**1.25 × real**")
    assert "after 500 epochs" in recipe_finding(results(), SHORT)
    assert recipe_finding(results(better_blur=1.5), SHORT).startswith("**1.50 × real**")
    assert "reads 2.10 × real after 2000" in recipe_finding(results(late_blur=2.1), SHORT)
    strays = strays_finding(sample(0.98, 7), sample(1, 2.5), sample(1, 0.9))
    assert re.findall(r"\d\.\d+", strays) == ["7.0", "0.98", "2.5", "0.9"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: loss_finding(results(floor=0.2)), "the floor is 55.6%"),
        (lambda: loss_finding(results(late_loss=0.3, floor=0.29)), "the loss falls by 17.8%"),
        (lambda: loss_finding(results(late_loss=0.37)), "the loss falls by -1.4%"),
        (lambda: loss_finding(results(late_blur=2.5)), "more epochs and the blur: no difference seen"),
        (lambda: recipe_finding(results(better_blur=2.2), SHORT), "the better recipe and the blur: harms"),
        (lambda: strays_finding(sample(1.2, 8), sample(1, 2), sample(1, 1)), "the blur reads 1.20"),
        (lambda: strays_finding(sample(1, 8), sample(1, 5), sample(1, 1)), "strays: 8.0, 5.0 and 1.0"),
        (lambda: strays_finding(sample(1, 8, width=9), sample(1, 2), sample(1, 1)), "strays: 8.0, 2.0 and 1.0"),
        (lambda: strays_finding(sample(1, 1.4), sample(1, 0.5), sample(1, 0.5)), "strays: 1.4"),
    ],
)
def test_a_finding_that_its_numbers_do_not_carry_is_refused(wrong, said):
    with pytest.raises(AssertionError, match=said):
        wrong()
