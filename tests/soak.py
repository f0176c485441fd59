"""How often: a few times among the other tests, often in `make soak`."""

import os

SOAK = bool(os.environ.get("DDPM_LAB_SOAK"))


def often(few, many):
    return many if SOAK else few
