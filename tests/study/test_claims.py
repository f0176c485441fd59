"""A verdict follows from the numbers, and turns when they turn."""

import json
import math

import pandas as pd
import pytest

from lab_utils import METADATA_KEY
from lab_utils.base.files import PROJECT
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.measure.model_checks import CHECKS, Finding
from lab_utils.study import claims
from lab_utils.study.claims import claims_table
from lab_utils.study.results import Results
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


def verdict_of(results, name):
    return claims_table(results)["verdict"][name]


def verdicts(**factors):
    return claims_table(table(**factors))["verdict"]


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("sigmoid schedule", "schedule__sigmoid"),
        ("too few ways", "noises__16"),
        ("different each time", "fixed_noises__1"),
        ("larger capacity", "width__128"),
        ("rate falls", "width__128"),
        ("wrong way", "timesteps__log_SNR"),
        ("better recipe", "width__128"),
    ],
)
def test_a_verdict_turns_with_the_numbers(claim, change):
    for factor, word in ((0.7, "true"), (1.4, "false"), (1.0, "no difference seen, where")):
        found = verdicts(**{change: factor})
        (name,) = [name for name in found.index if claim in name]
        assert found[name].startswith(word)


def test_smooth_is_where_a_step_has_more_aim():
    name = "That makes the learning less smooth."
    for aim, word in ((0.5, "true"), (1.5, "false"), (1.0, "no difference seen, where")):
        assert claims_table(table(aim=aim))["verdict"][name].startswith(word)


def test_data_sets_that_do_not_agree_have_a_verdict_each():
    results = table(width__128=0.7)
    wide = results.table["width"].eq(128) & results.table["data"].eq("spiral")
    results.table.loc[wide, "blur"] *= 2
    assert claims_table(results)["verdict"]["A network of larger capacity might help."] == "towns: true; spiral: false"


def test_where_no_difference_is_seen_the_verdict_says_which_would_have_been():
    """The blur of both is the same but for ± 1 % by seed: half an interval of four such seeds is 1.8 %."""
    name = "(Not in the report of 2023:) the timesteps were drawn in the wrong way."
    assert verdicts()[name] == "no difference seen, where 1.8\N{NO-BREAK SPACE}% would have been"


def test_nothing_is_gained_below_what_real_points_read_and_nothing_lost_up_to_there():
    name = "(Not in the report of 2023:) the timesteps were drawn in the wrong way."
    for start, factor, word in ((0.5, 0.7, "real already before"), (0.45, 1.1, "real still after")):
        results = table(timesteps__log_SNR=factor)
        results.table["blur"] *= start
        assert verdict_of(results, name) == word


def test_a_training_that_failed_leaves_no_verdict():
    results = table(timesteps__log_SNR=0.7)
    failed = results.table["timesteps"].eq("log-SNR") & results.table["seed"].eq(2)
    results.table.loc[failed, "blur"] = math.nan
    found = claims_table(results).loc["(Not in the report of 2023:) the timesteps were drawn in the wrong way."]
    assert found["verdict"] == "not known: 3 of 4 seeds"
    assert "blur ×\N{NO-BREAK SPACE}3 of 4 seeds: 0.693" in found["decides"]


def test_the_doctor_says_whether_a_schedule_reaches_0_too_early(monkeypatch):
    name = "The linear ᾱ reaches 0 too early."
    assert verdicts()[name] == "true"
    monkeypatch.setattr(claims, "linear", sigmoid)
    assert verdicts()[name] == "false"
    monkeypatch.setattr(claims, "linear", linear)
    monkeypatch.setattr(claims, "sigmoid", linear)
    assert verdicts()[name] == "true of the sigmoid, too"


def test_the_check_of_the_shape_is_tried(monkeypatch):
    monkeypatch.setitem(CHECKS, "shape", lambda model: Finding(0.0, type(model) is DiffusionGenerator))
    assert verdicts()["That the output has the input's shape shows that the model is right."] == "not refuted"


@pytest.mark.parametrize(
    ("early", "floor", "said"),
    [
        (0.37, 0.36, "true, and it could hardly fall more"),
        (0.37, 0.18, "true"),
        (0.74, 0.36, "false"),
    ],
)
def test_whether_the_loss_fell_a_little_is_read_off(early, floor, said):
    results = table()
    results.table.loc[results.table["epoch"].eq(200), "loss"] = early
    results.table["floor"] = floor
    assert verdict_of(results, "The loss fell only a little.") == said


@pytest.mark.parametrize(
    ("late", "said"), [(0.8, "true"), (0.97, "a little"), (1.3, "false"), (1.0, "no difference seen, where")]
)
def test_whether_the_samples_improved_markedly_is_read_off(late, said):
    """The blur after 2000 epochs is that many times the one after 200, with ± 0.5 % by seed."""
    results = table()
    there = results.table["epoch"].eq(2000)
    results.table.loc[there, "blur"] *= late / 0.8 * 1.005 ** ((-1.0) ** results.table.loc[there, "seed"])
    assert verdict_of(results, "The quality of the samples improved markedly all the same.").startswith(said)


def test_claims_about_training_are_read_off_the_table():
    found = claims_table(table())
    assert found["verdict"]["The loss fell only a little."] == "true, and it could hardly fall more"
    assert found["verdict"]["The quality of the samples improved markedly all the same."] == "true"
    assert found["verdict"]["That makes the learning less smooth."] == "true"
    assert "32.7%" in found["decides"]["The linear ᾱ reaches 0 too early."]
    assert "2 → 1.6 × real: × 0.8 [" in found["more"]["The quality of the samples improved markedly all the same."]
    assert len(found) == 12


def test_the_number_that_decides_is_short_and_has_its_interval_and_its_control():
    """It follows from the table: here the change makes the blur 0.7 times as large, with ± 1 % by seed."""
    found = claims_table(table(timesteps__log_SNR=0.7))
    decides = found["decides"]["(Not in the report of 2023:) the timesteps were drawn in the wrong way."]
    number = "×\N{NO-BREAK SPACE}0.7 [0.687,\N{NO-BREAK SPACE}0.713]"
    assert decides == f"blur {number} on the towns; {number} on the spiral, the control"
    for claim, row in found.iterrows():
        assert len(row["decides"]) < 160, claim
        assert "the control" in row["decides"], claim
        assert row["more"], claim


def test_where_one_sees_it_is_a_figure_or_a_table_of_the_notebooks():
    notebooks = [json.loads(path.read_text(encoding="utf-8")) for path in (PROJECT / "notebooks").glob("*.ipynb")]
    outputs = (output for notebook in notebooks for cell in notebook["cells"] for output in cell.get("outputs", []))
    names = {output.get("metadata", {}).get(METADATA_KEY, {}).get("name") for output in outputs}
    assert {*claims_table(table())["see"]} <= names
