"""The sentences about targets follow from the table: tables that are made up so that the answer is known."""

import math

import pandas as pd
import pytest

from lab_utils.study.results import Results
from lab_utils.study.target_claims import heard, needed, outside_by_way, truth_reads
from lab_utils.study.target_study import ASKED, BASE, FLOW_MATCHING, OPTIMAL_TRANSPORT

WAYS = [(name, count) for name in ("Euler", "DPM-Solver++(2M)") for count in (5, 10, 20, 100)]
SENTENCES = {
    "steps": "Flow matching needs fewer steps.",
    "faster": "Velocity trains faster than ε.",
    "transport": "Optimal transport makes better samples.",
    "weighting": "It is only a weighting.",
}


def results(nats=lambda c, epoch: 1.0, outside=lambda c, sampler, count: 1.5, data=("cities", "checkerboard")):
    """Five seeds of all recipes; the seeds differ by far more than the recipes do, but alike for all."""
    rows = []
    for name in data:
        for seed in range(5):
            for i, c in enumerate(ASKED):
                chance = 1 + 0.001 * math.sin(i + 10 * seed)
                for epoch, sampler, count in [(250, "Euler", 5), *((1000, *way) for way in WAYS)]:
                    rows.append(
                        {
                            **{"data": name, **c, "seed": seed, "epoch": epoch, "sampler": sampler},
                            "evaluations": count,
                            "nats": nats(c, epoch) * 2**seed * chance,
                            "outside": outside(c, sampler, count) * 1.1**seed * chance,
                            "straightness": chance,
                        }
                    )
    return Results(pd.DataFrame(rows), BASE)


def verdict(which, found):
    return heard(found).loc[SENTENCES[which], "verdict"]


@pytest.mark.parametrize(("times", "said"), [(0.5, "true"), (2.0, "false"), (1.0, "no difference seen")])
def test_each_sentence_is_true_false_or_not_told_as_its_numbers_are(times, said):
    def steps(c, sampler, count):
        return times if c == FLOW_MATCHING and (sampler, count) == ("Euler", 10) else 1.0

    def transport(c, sampler, count):
        return times if c == OPTIMAL_TRANSPORT else 1.0

    def faster(c, epoch):
        return times if c["target"] == "velocity" and epoch == 250 else 1.0

    assert verdict("steps", results(outside=steps)).startswith(said)
    assert verdict("transport", results(outside=transport)).startswith(said)
    assert verdict("faster", results(nats=faster)).startswith(said)


def test_data_sets_that_do_not_agree_have_a_verdict_each():
    towns = results(nats=lambda c, epoch: 0.5 if c["target"] == "velocity" else 1.0, data=("cities",))
    both = pd.concat([towns.table, results(data=("checkerboard",)).table])
    said = verdict("faster", Results(both, BASE))
    assert "towns: true; checkerboard: no difference seen, where " in said


def test_cases_that_do_not_agree_have_a_verdict_each():
    by_loss = results(nats=lambda c, epoch: 0.5 if c == FLOW_MATCHING else 1.0)
    said = verdict("faster", by_loss)
    assert said.startswith("With the loss of u: true. With the loss of ε: ")
    assert said.partition("With the loss of ε: ")[2].startswith("no difference seen")
    by_steps = results(outside=lambda c, s, count: (0.5 if count < 50 else 2.0) if c == OPTIMAL_TRANSPORT else 1.0)
    assert verdict("transport", by_steps) == "With 5 Euler steps: true. With 100 Euler steps: false"


def test_it_is_a_weighting_only_if_the_loss_changes_more_than_any_schedule_does():
    by_loss = results(nats=lambda c, epoch: {"uniform": 1.0, "logit-normal": 2.0}.get(c["timesteps"], 3.0))
    assert verdict("weighting", by_loss).startswith("Its schedule: true. Its target: no difference seen")
    by_schedule = results(nats=lambda c, epoch: {"sigmoid": 1.0, "flow": 2.0}.get(c["schedule"], 3.0))
    assert verdict("weighting", by_schedule).startswith("Its schedule: false. ")
    by_target = results(nats=lambda c, epoch: 1.1 if c["target"] == "velocity" else 1.0)
    assert verdict("weighting", by_target).endswith(" Its target: false")


def test_what_is_not_known_is_not_called_true():
    unknown = results(nats=lambda c, epoch: math.nan)
    assert verdict("weighting", unknown) == "Its schedule: not known. Its target: not known: 0 of 5 seeds"
    assert verdict("faster", unknown).startswith("not known")


def test_the_fewest_evaluations_are_those_with_which_the_median_is_inside():
    found = results(outside=lambda c, sampler, count: 20 / count if sampler == "Euler" else 40 / count)
    # 1.1² is the seeds' median
    assert needed(found, FLOW_MATCHING, "cities") == (100, "Euler")
    assert needed(found, FLOW_MATCHING, "cities", ["DPM-Solver++(2M)"]) == (100, "DPM-Solver++(2M)")
    by_way = outside_by_way(found, FLOW_MATCHING, "cities")
    assert by_way[10, "Euler"] == pytest.approx(2 * 1.1**2, rel=0.01)
    assert by_way[10, "DPM-Solver++(2M)"] == pytest.approx(4 * 1.1**2, rel=0.01)
    assert needed(found, FLOW_MATCHING, "cities", limit=2.5) == (10, "Euler")
    far = results(outside=lambda c, sampler, count: 2.0 + (sampler == "Euler"))
    assert needed(far, FLOW_MATCHING, "cities") == (math.inf, "DPM-Solver++(2M)")


def test_trainings_that_the_table_lacks_are_named():
    whole = results()
    some = Results(whole.table[whole.table["coupling"] == "independent"], BASE)
    with pytest.raises(ValueError, match=r"no runs on cities with .*optimal transport"):
        heard(some)
    with pytest.raises(ValueError, match="no samples by Heun on cities"):
        needed(whole, FLOW_MATCHING, "cities", ["Heun"])


def test_real_points_are_what_outside_is_held_against():
    found = truth_reads("gaussian", 0)
    assert 0.9 < found["a usual real set"] < found["the worst real set"] < 3
    assert 0.9 < found["the training points"] < 1.5
