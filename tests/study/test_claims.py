"""A verdict follows from the numbers, and turns when they turn."""

import pandas as pd
import pytest

from lab_utils.study.claims import claims_table, effect
from lab_utils.study.results import Interval, Results
from lab_utils.study.sweeps import BASE, SWEEPS

EPOCHS = (200, 2000)


def table(aim=0.5, **factors):
    """A study in which each change multiplies the blur by its factor, the same for all seeds but for a little."""
    rows = []
    for sweep in SWEEPS.values():
        for change in sweep:
            configuration = BASE | change
            factor = 1.0
            for name, value in factors.items():
                setting, _, wanted = name.partition("__")
                if setting in configuration and str(configuration[setting]) == wanted.replace("_", "-"):
                    factor *= value
            epochs = sorted({configuration["epochs"] // 10, configuration["epochs"]})
            for data in ("cities", "spiral"):
                for seed in range(4):
                    for epoch in epochs:
                        chance = 1.01 ** ((-1) ** seed) if change else 1.0  # its mean is that of no chance at all
                        late = 0.8 if epoch == epochs[-1] else 1.0
                        rows.append(
                            {
                                **configuration,
                                "data": data,
                                "seed": seed,
                                "epoch": epoch,
                                "blur": 2 * factor * chance * late,
                                "energy distance": chance,
                                "loss": 0.37 - 0.005 * (epoch == epochs[-1]),
                                "floor": 0.36,
                                "excess": 0.01 * late,
                                "gradient signal": 0.01
                                * chance
                                * (aim if configuration["schedule"] == "linear" else 1),
                            }
                        )
    return Results(pd.DataFrame(rows).drop_duplicates([*BASE, "data", "seed", "epoch"]))


def verdicts(**factors):
    return claims_table(table(**factors))["verdict"]


def test_effects_are_what_the_interval_says():
    assert effect(Interval(0.8, 0.7, 0.9, 5)) == "helps"
    assert effect(Interval(1.3, 1.1, 1.5, 5)) == "harms"
    assert effect(Interval(0.9, 0.7, 1.1, 5)) == "no difference seen"


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("sigmoid schedule", "schedule__sigmoid"),
        ("too few ways", "noises__16"),
        ("different each time", "fixed_noises__1"),
        ("larger capacity", "width__128"),
        ("wrong way", "timesteps__log_SNR"),
        ("better recipe", "width__128"),
    ],
)
def test_a_verdict_turns_with_the_numbers(claim, change):
    for factor, word in ((0.7, "true"), (1.4, "false"), (1.0, "not seen")):
        found = verdicts(**{change: factor})
        (name,) = [name for name in found.index if claim in name]
        assert found[name] == word


def test_smooth_is_where_a_step_has_more_aim():
    name = "That makes the learning less smooth."
    for aim, word in ((0.5, "true"), (1.5, "false"), (1.0, "not seen")):
        assert claims_table(table(aim=aim))["verdict"][name] == word


def test_data_sets_that_do_not_agree_have_a_verdict_each():
    results = table(width__128=0.7)
    wide = results.table["width"].eq(128) & results.table["data"].eq("spiral")
    results.table.loc[wide, "blur"] *= 2
    assert claims_table(results)["verdict"]["A network of larger capacity might help."] == "towns: true; spiral: false"


def test_claims_about_training_are_read_off_the_table():
    found = claims_table(table())
    assert found["verdict"]["The loss fell only a little."] == "true, and it could not fall more"
    assert found["verdict"]["The quality of the samples improved markedly all the same."] == "true"
    assert found["verdict"]["That makes the learning less smooth."] == "true"
    assert "32.7%" in found["measured"]["The linear ᾱ reaches 0 too early."]
    assert "blur × 0.8 [" in found["measured"]["The quality of the samples improved markedly all the same."]
    assert (found["see"].str.len() > 0).all()
    assert len(found) == 11
