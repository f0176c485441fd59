"""Points that a user may bring and that are hard on a model: few, far apart, on a line, at few places."""

import numpy as np


def ring(n, seed=0):
    draws = np.random.default_rng(seed)
    angle, radius = draws.uniform(0, 2 * np.pi, n), draws.normal(5, 0.1, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def with_outlier():
    return np.concatenate([ring(400), [[900.0, 900.0]]])


def line():
    x = np.random.default_rng(0).uniform(0, 10, 400)
    return np.stack([x, 2 * x + 1], axis=1)


def few_places():
    return np.random.default_rng(0).choice(ring(12), 400)


def grid():
    return np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=-1).reshape(-1, 2)


KINDS = {  # points → what the validation card, and so the text, warns of
    "50 points": (ring(50), "50 points are few"),
    "300 points": (ring(300), "300 points are few"),
    "an outlier": (with_outlier(), "1 of the points are more than 7 times the scale from the middle"),
    "a line": (line(), "The cloud is a line."),
    "few places": (few_places(), "of the points stand where another one does"),
    "rounded": (ring(400).round(), "of the points stand where another one does"),
    "a grid": (grid(), "20 different values only: a grid"),
}
