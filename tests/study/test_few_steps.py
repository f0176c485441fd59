"""A made-up table, in which one way is worse than a thousand steps, one is better and one differs by chance only."""

import pandas as pd
import pytest

from lab_utils.study import few_steps

SEEDS, DATA = range(5), ("moons", "spiral")
OFFSET = {
    ("DDPM", 1000): lambda seed: 0.0,
    ("worse", 10): lambda seed: 1.0 + seed / 100,
    ("same", 20): lambda seed: (-1) ** seed / 10,
}
WAYS = {"ten": ("worse", 10), "twenty": ("same", 20)}


def table():
    """The networks of a seed differ by far more than the ways do."""
    return pd.DataFrame(
        [
            {"data": data, "denoiser": "better", "sampler": sampler, "steps": steps, "seed": seed,
             "strays": 100 * seed + offset(seed), "coverage": 0.9 + offset(seed) / 10}
            for data in DATA for seed in SEEDS for (sampler, steps), offset in OFFSET.items()
        ]
    )  # fmt: skip


def test_each_pair_is_of_one_network_so_what_networks_differ_by_does_not_count():
    more = few_steps.difference(table(), ("worse", 10), "strays", denoiser="better", data=DATA)
    assert more.mean == pytest.approx(1.02)
    assert more.seeds == len(DATA) * len(SEEDS)
    assert more.high - more.low < 0.03


def test_a_mark_stands_where_the_difference_is_more_than_chance_and_says_which_way_is_bad():
    found = few_steps.beside_a_thousand(table(), WAYS, ("strays", "coverage"), denoiser="better", data=DATA)
    assert found.loc["ten", "strays"] == "201.02" + few_steps.WORSE
    assert found.loc["ten", "coverage"] == "1.00" + few_steps.BETTER
    assert found.loc["twenty", "strays"] == "200.02"
    assert found.loc["twenty", "coverage"] == "0.90"


def test_rows_in_another_order_are_the_same_pairs():
    shuffled = table().sample(frac=1, random_state=0)
    more = few_steps.difference(shuffled, ("worse", 10), "strays", denoiser="better", data=DATA)
    assert more.mean == pytest.approx(1.02)
    assert more.high - more.low < 0.03


def test_data_that_the_table_does_not_have_are_named():
    with pytest.raises(ValueError, match="no better by worse in 10 steps on checkerboard"):
        few_steps.multiples(table(), ("worse", 10), "strays", denoiser="better", data=("moons", "checkerboard"))
