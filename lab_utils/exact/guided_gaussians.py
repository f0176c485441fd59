"""What guidance makes of Gaussians, exactly: three laws that are often taken for one.

All points are N(0, P) along each axis, and those of the class N(0, C): P is `whole`, C is `part`. Blurred by noise of
the variance s, their scores are −x/(P+s) and −x/(C+s). So the guided score is −a(s) x, with

    a(s) = (1−w)/(P+s) + w/(C+s).

**The ODE**, dx/ds = −score/2 = a x/2 (Karras et al. 2022, eq. 1 and 3, with s = σ²), multiplies a point's variance by
exp(−∫a ds) on its way from s = S to 0. The integral of a is (1−w) log(P+s) + w log(C+s). Sampling starts with a
variance that is S but for a constant, so the factors of S cancel as S → ∞, and what is left is P^(1−w) C^w. With r(s) =
(P+s)/(C+s), guidance at noise levels √l < σ ≤ √h alone gives C (r(l)/r(h))^(1−w), because a(s) is 1/(C+s) elsewhere.

**The SDE**, dx = −score ds + noise of the variance |ds| with s falling (Anderson 1982), gives the variance V(s) by
dV/ds = 2aV − 1. With m(s) = (P+s)^(2−2w) (C+s)^(2w) that is d(V/m)/ds = −1/m, and V/m vanishes as S → ∞. So V(0) =
m(0) ∫ ds/m. With u = (P+s)/(C+s) the integral is one of u^(2w−2) from 1 to u₀ = P/C, over P − C, and so

    V = P^(2−2w) C^(2w) (u₀^(2w−1) − 1)/((2w−1)(P−C)).

**The powered law** p(x)^(1−w) p(x|c)^w is a Gaussian of the precision (1−w)/P + w/C, and no sampler's.

With P = 2 and C = 1 these are 2^(1−w), (2 − 2^(2−2w))/(2w−1) and 2/(w+1): at w = 3 .25, .3875 and .5 (Bradley &
Nakkiran 2024, section 3). At w = 0 and w = 1 all three are P and C.

A schedule ends at S = (1−ᾱ)/ᾱ, not at ∞, and sampling starts there from the variance 1 of x_t, which is 1 + S in x̄. So
the ODE's law is multiplied by ((1+S)/(P+S))^(1−w) ((1+S)/(C+S))^w. With P = 2, C = 1 that is (1 + ᾱ)^(w−1), 1.04 at w =
5 for a way that begins at ᾱ = .01, as the samplers of few steps do unless told `least=0`, and 1.0002 from ᾱ = 4e-5.
"""

from __future__ import annotations

import math

from lab_utils.base.arguments import is_number


def _check(weight: float, whole: float, part: float) -> None:
    if not is_number(weight):
        raise ValueError(f"the weight must be a finite number; got {weight!r}")
    for name, variance in (("whole", whole), ("part", part)):
        if not (is_number(variance) and variance > 0):
            raise ValueError(f"{name} is a variance, a number greater than 0; got {variance!r}")


def ode_variance(
    weight: float, whole: float = 2.0, part: float = 1.0, *, interval: tuple[float, float] = (0.0, math.inf)
) -> float:
    """The variance along each axis that a sampler without noise leads to, with infinitely many steps.

    Args:
        weight: w, as in `diffusion.guidance`.
        whole: P, the variance of all points along each axis.
        part: C, that of the points of the class, with the same mean.
        interval: the noise levels at which to guide, as in `diffusion.guidance`.

    Raises:
        ValueError: the weight is no finite number, a variance isn't above 0, or the interval is none.
    """
    _check(weight, whole, part)
    low, high = interval
    if not 0 <= low < high:
        raise ValueError(f"an interval is (low, high), two noise levels; got {interval}")
    at_low, at_high = (1.0 if math.isinf(s) else (whole + s**2) / (part + s**2) for s in (low, high))
    return float(part * (at_low / at_high) ** (1 - weight))


def sde_variance(weight: float, whole: float = 2.0, part: float = 1.0) -> float:
    """The variance that a sampler with the noise of the reverse SDE leads to; arguments as for `ode_variance`."""
    _check(weight, whole, part)
    power, ratio = 2 * weight - 1, math.log1p((whole - part) / part)  # exact where the two are nearly one
    # (u₀^power − 1)/power, and log u₀ where the power is 0; over P − C, it is 1/C where the two are one
    integral = math.expm1(power * ratio) / power if power else ratio
    share = integral / (whole - part) if whole != part else 1 / part
    return float(whole ** (2 - 2 * weight) * part ** (2 * weight) * share)


def powered_variance(weight: float, whole: float = 2.0, part: float = 1.0) -> float:
    """The variance of p(x)^(1−w) p(x|c)^w, which is no sampler's; arguments as for `ode_variance`.

    Raises:
        ValueError: also if it is no density, because it does not fall to the sides: then (1−w)/P + w/C isn't above 0.
    """
    _check(weight, whole, part)
    precision = (1 - weight) / whole + weight / part
    if precision <= 0:
        raise ValueError(f"p(x)^{1 - weight:g} p(x|c)^{weight:g} is no density: its precision would be {precision:g}")
    return float(1 / precision)
