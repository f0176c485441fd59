"""A verdict on guidance follows from the numbers, turns when they turn, and says so where they carry none."""

import pytest
from guidance_tables import UNGUIDED, only, table

from lab_utils.study import guidance_claims as claims
from lab_utils.study.guidance_claims import (
    autoguidance_keeps_diversity,
    autoguidance_takes_the_strays_away,
    candidates,
    guidance_claims_table,
    more_quality_and_less_diversity,
    samples_the_sharpened_posterior,
    some_weight_beats_the_unguided_model,
)
from lab_utils.study.guidance_results import Way, rows_of
from lab_utils.study.guidance_study import AUTO, BEYOND, EXACT, FREE, LATE, WITHOUT
from lab_utils.study.guidance_truth import MIXTURE

NO_DIFFERENCE = "no difference seen, where"


# --- guidance samples the sharpened posterior


def far(powered, of_class=0.3, *, when=lambda way: True):
    """How far exact denoisers, guided, are from both laws."""

    def effect(way, measure):
        if way.denoiser != EXACT or way.guidance != FREE or way.weight <= 1 or not when(way):
            return 0
        return {"JS to powered": powered, "JS to class": of_class}.get(measure, 0)

    return table(effect)


def test_points_that_are_farther_from_the_powered_law_than_the_control_are_not_of_it():
    verdict, decides, more = samples_the_sharpened_posterior(far(0.1))
    assert verdict == "false"
    assert decides.startswith("w = 3, with noise: 0.1")
    assert "nearer to the powered law; unguided, the control, " in decides
    assert len(more.splitlines()) == 1 + 2 * len(BEYOND)
    assert "nearer to p(x|c)" in samples_the_sharpened_posterior(far(0.3, 0.1))[1]
    assert "nearer to neither that is seen" in samples_the_sharpened_posterior(far(0.1, 0.1))[1]


def test_points_that_are_no_farther_are_never_called_points_of_the_law():
    verdict, *_ = samples_the_sharpened_posterior(far(0.0))
    assert NO_DIFFERENCE in verdict
    assert "false" not in verdict
    assert "true" not in verdict
    everywhere = table(lambda way, measure: 0.1 if measure.startswith("JS") else 0)  # the sampler errs, guided or not
    assert "false" not in samples_the_sharpened_posterior(everywhere)[0]


def test_the_verdict_says_of_which_weights_and_of_which_sampler_it_is():
    verdict, *_ = samples_the_sharpened_posterior(far(0.1, when=lambda way: way.weight >= 3))
    assert verdict == "false for w = 3, 5; not refuted for the others"
    verdict, *_ = samples_the_sharpened_posterior(far(0.1, when=lambda way: way.sampler == WITHOUT))
    assert verdict.startswith(f"with noise: {NO_DIFFERENCE}")
    assert verdict.endswith("; without noise: false")


# --- more guidance: better quality, less diversity


def rising(**slopes):
    """Classifier-free guidance that changes measures by so much for each unit of w beyond 1."""
    return table(
        lambda way, measure: slopes.get(measure, 0) * (way.weight - 1) if way.guidance == FREE else 0, chance=0.002
    )


def test_more_guidance_is_better_and_less_diverse_if_every_step_is():
    verdict, decides, more = more_quality_and_less_diversity(
        rising(accuracy=0.02, blur=-0.2, strays=-0.4, coverage=-0.1)
    )
    assert verdict == "true"
    assert decides.startswith("from w = 1 to 3, coverage 0.8")
    assert decides.count("helps") == decides.count("harms") == 1
    assert more.splitlines()[1].startswith("Blur, to w = 2: 2 ")


def test_it_is_false_where_neither_is_so_and_in_part_where_one_is():
    assert more_quality_and_less_diversity(rising(blur=0.2, coverage=0.04))[0].startswith("false: accuracy: no diff")
    assert more_quality_and_less_diversity(rising())[0] == "no difference seen"
    found = more_quality_and_less_diversity(rising(accuracy=0.02, blur=0.2, strays=-0.4, coverage=-0.1))[0]
    assert found == "in part: accuracy: better; blur: worse; strays: better; coverage: worse"
    found = more_quality_and_less_diversity(rising(coverage=-0.1))[0]
    assert found.startswith("in part: accuracy: no difference seen; blur: no")


def test_what_falls_and_rises_again_is_told_so():
    def effect(way, measure):
        turn = {1.5: -0.5, 2.0: -1.0, 3.0: -1.0, 5.0: 4.0}
        return turn.get(way.weight, 0) if measure == "strays" and way.guidance == FREE else 0

    assert "strays: better, then worse" in more_quality_and_less_diversity(table(effect))[0]


def test_a_run_that_is_missing_makes_it_not_known():
    made = table(missing=lambda way, seed: way == Way(FREE, 3.0) and seed == 2)
    assert more_quality_and_less_diversity(made)[0].startswith("not known: accuracy: not known; ")


# --- autoguidance keeps diversity


@pytest.mark.parametrize(
    ("more", "verdict"),
    [(0.0, "true: it loses less than 0.05"), (-0.03, "true: it"), (0.1, "true: it"), (-0.1, "false")],
)
def test_diversity_is_kept_if_surely_little_is_lost(more, verdict):
    found, decides, _ = autoguidance_keeps_diversity(table(only(AUTO, coverage=more)))
    assert found.startswith(verdict)
    assert decides.startswith("with w = 2 coverage loses ")


def test_where_it_could_be_little_or_much_it_is_not_known():
    assert autoguidance_keeps_diversity(table(only(AUTO, coverage=-0.05)))[0].startswith("not known: 0.05")
    assert autoguidance_keeps_diversity(table(chance=0.3))[0].startswith("not known: ")
    assert autoguidance_keeps_diversity(table(seeds=1))[0].startswith("not known: ")
    lost = table(missing=lambda way, seed: way == Way(AUTO, 2.0) and seed == 2)
    assert autoguidance_keeps_diversity(lost)[0].startswith("not known: 4 of 5 seeds")


def test_the_control_is_what_classifier_free_guidance_loses():
    _, decides, more = autoguidance_keeps_diversity(table(only(FREE, coverage=-0.2)))
    assert "classifier-free guidance, the control, loses 0.2" in decides
    assert sum("harms" in line for line in more.splitlines()) == len(BEYOND)


# --- autoguidance takes the strays away


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        (-2.1, "true"),
        (-1.0, "they become fewer, and are not away"),
        (-0.2, "they become fewer, and are not away"),
        (0.0, NO_DIFFERENCE),
        (1.0, "false"),
    ],
)
def test_strays_are_away_if_those_left_are_as_few_as_real(more, verdict):
    found, decides, lines = autoguidance_takes_the_strays_away(table(only(AUTO, strays=more, coverage=-0.1)))
    assert found.startswith(verdict)
    assert decides.startswith("with w = 2 strays 3 [")
    assert "coverage 0.8" in decides, "what it costs"
    assert len(lines.splitlines()) == len(BEYOND)


def test_where_hardly_any_are_there_none_can_be_taken_away():
    real = table(lambda way, measure: -2.5 if measure == "strays" else 0)
    assert autoguidance_takes_the_strays_away(real)[0] == "real"


def test_an_end_that_is_not_told_from_real_because_it_is_hardly_known_is_not_away():
    made = table(only(AUTO, strays=-0.9))
    rows = (made["guidance"] == AUTO) & (made["weight"] == 2)
    made.loc[rows, "strays"] += made.loc[rows, "seed"].map({0: 0.9, 1: -0.9, 2: 0, 3: -0.9, 4: 0.7})
    found, decides, _ = autoguidance_takes_the_strays_away(made)
    assert found.startswith(("they become fewer", NO_DIFFERENCE)), decides


# --- some weight beats the unguided model


def test_a_way_beats_the_unguided_model_if_it_is_better_somewhere_and_worse_nowhere():
    verdict, decides, more = some_weight_beats_the_unguided_model(
        table(lambda way, measure: -0.5 if (way.guidance, way.weight, measure) == (AUTO, 2.0, "blur") else 0)
    )
    assert verdict == "true: autoguidance, w = 2"
    assert decides.startswith("autoguidance, w = 2: blur 2")
    assert decides.endswith("(helps); worse in none")
    assert len(more.splitlines()) == len(candidates("original"))


def test_what_is_better_in_one_measure_and_worse_in_another_has_its_price():
    verdict, decides, _ = some_weight_beats_the_unguided_model(table(only(LATE, blur=-0.5, coverage=-0.1)))
    assert verdict == "only at a price"
    assert decides.startswith("classifier-free, late, w = 2: blur")
    assert decides.endswith("worse in coverage")


def test_without_any_difference_none_is_seen_and_the_smallest_harm_of_one_comparison_counts():
    verdict, decides, _ = some_weight_beats_the_unguided_model(table())
    assert verdict == "none is seen"
    assert decides == "classifier-free, w = 0: better in none; worse in none"
    assert some_weight_beats_the_unguided_model(table(only(AUTO, blur=1.0)))[0] == "none is seen"
    little = some_weight_beats_the_unguided_model(table(only(AUTO, blur=-0.5, coverage=-0.02)))
    assert little[0] == "only at a price", "which an interval for all comparisons would not see"


def test_a_gain_beyond_real_beats_nobody():
    read = {True: -1.5, False: -1.1}  # guided ones sharper by far than real, and the unguided one a little
    sharp = table(lambda way, measure: read[way.weight > 1] if measure == "blur" else 0)
    assert some_weight_beats_the_unguided_model(sharp)[0] == "none is seen"


def test_a_sample_that_is_missing_is_said_unless_another_way_wins():
    def missing(way, seed):
        return way == Way(AUTO, 5.0) and seed == 0

    assert some_weight_beats_the_unguided_model(table(missing=missing))[0].startswith("not known")
    won = some_weight_beats_the_unguided_model(table(only(LATE, blur=-0.5), missing=missing))
    assert won[0] == "true: classifier-free, late, w = 2"


def test_each_recipe_has_its_own_ways():
    assert {way.denoiser for way in candidates("better")} == {"better"}
    assert all(way.weight != 1 for way in candidates("original"))
    made = table(lambda way, measure: -0.5 if (way.denoiser, way.guidance, measure) == ("better", AUTO, "blur") else 0)
    assert some_weight_beats_the_unguided_model(made, "better")[0] == "true: autoguidance, w = 1.5"
    assert some_weight_beats_the_unguided_model(made)[0] == "none is seen"


# --- all of them


def test_the_sentences_are_a_table_for_show_claims_all_of_it_text():
    found = guidance_claims_table(table())
    assert [*found.columns] == ["verdict", "decides", "more", "see"]
    assert len(found) == 6
    assert all(isinstance(cell, str) and cell for cell in found.to_numpy().ravel())
    assert {*found["see"]} == {claims.LAWS, claims.TRADE_OFF}


def test_a_table_without_the_runs_that_a_sentence_needs_says_which():
    made = table(missing=lambda way, seed: way.data == MIXTURE)
    with pytest.raises(
        ValueError, match=r"has no classifier-free, w = 1.5 of 'best denoiser' by SDE.* on 'two classes'"
    ):
        guidance_claims_table(made)
    made = table(missing=lambda way, seed: way.denoiser == "better")
    with pytest.raises(ValueError, match=r"of 'better' by SDE.*make study ARGS="):
        guidance_claims_table(made)


def test_the_made_up_table_is_what_it_says():
    assert UNGUIDED["coverage"] < 1 < UNGUIDED["blur"]
    noises = rows_of(table(), Way(FREE, 2.0)).groupby("seed")["blur"].mean()
    assert noises.mean() == pytest.approx(UNGUIDED["blur"]), "over five seeds the chance cancels itself"
    assert noises.nunique() == len(noises)
