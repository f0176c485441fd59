"""The distances between two sets of points by their names, each with the paper that it is from.

All take (n, 2) generated and (m, 2) real points in normalised units (mean variance 1 per axis), float32 or float64, in
memory bounded by the sets' own; only W2 needs a whole matrix, and says so. What each reads for real points is the
business of `benchmark`.
"""

from __future__ import annotations

from lab_utils.measure.classifier import classifier
from lab_utils.measure.distance import Distance
from lab_utils.measure.mass import energy_distance, mmd, sliced_w1, w2
from lab_utils.measure.neighbours import blur, coverage, precision, rms, strays

DISTANCES: dict[str, Distance] = {
    "energy distance": energy_distance,
    "blur": blur,
    "RMS": rms,
    "strays": strays,
    "sliced W1": sliced_w1,
    "W2": w2,
    "MMD": mmd,
    "precision": precision,
    "coverage": coverage,
    "classifier": classifier,
}
