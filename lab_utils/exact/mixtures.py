"""Mixtures of Gaussians: densities that are known exactly, and kernel density estimates, which are mixtures too."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy

import torch
from torch import Tensor
from torch.nn.functional import linear

from lab_utils import SEED
from lab_utils.base.arguments import check_points, class_number
from lab_utils.base.devices import for_float64
from lab_utils.points.dataset import Dataset
from lab_utils.points.shapes import EIGHT_CENTRES, EIGHT_STD, GAUSSIAN_COV, GAUSSIAN_MEAN, PARTS

BLOCK = 2**17  # pairs of a point and a component in memory at once: few enough for a core's own cache
AT_ONCE = 2**24  # … on another device, whose every call takes as long for a few: 128 MB
NOTHING = -300.0  # the logarithm of a share that counts for nothing


class GaussianMixture:
    """A mixture of K Gaussians in the plane, all of it in float64.

    It can be blurred: added to independent Gaussian noise of a variance s along each axis, it is the mixture of the
    same means and weights whose covariances are C + s I. So a component may have the variance 0: it is a point, which
    has a density once it is blurred.

    Isotropic components are weighed by matrix products; their logarithms carry rounding errors of some 1e-16 times
    the squared distance to the mixture's mean, in units of the variance.

    Args:
        means: (K, 2) floats.
        covariances: (K, 2, 2) floats; or variances along each axis, (K,) or one number for all components.
        weights: (K,) floats, 0 or more, in any scale; equal unless given.

    Raises:
        ValueError: for no components, other shapes, values that are not finite, covariances that are not symmetric or
            have a negative variance in some direction, weights that are negative or all 0.
    """

    def __init__(self, means: Tensor, covariances: Tensor | float, weights: Tensor | None = None) -> None:
        check_points(means, "means")
        count = len(means)
        if not count:
            raise ValueError("a mixture needs at least one component; got none")
        covariances = torch.as_tensor(covariances, dtype=torch.float64)
        if covariances.shape not in {(), (count,), (count, 2, 2)}:
            shapes = f"(), ({count},) or ({count}, 2, 2), for one covariance or {count},"
            raise ValueError(f"covariances must have the shape {shapes} not {tuple(covariances.shape)}")
        weights = torch.ones(count) if weights is None else torch.as_tensor(weights)
        if weights.shape != (count,):
            raise ValueError(f"weights must have the shape ({count},), one for each mean, not {tuple(weights.shape)}")
        for name, values in (("means", means), ("covariances", covariances), ("weights", weights)):
            if not values.isfinite().all():
                raise ValueError(
                    f"{name} must be finite; {int((~values.isfinite()).sum())} of {values.numel()} are not"
                )
        if weights.min() < 0 or not weights.sum() > 0:
            raise ValueError(f"weights must be 0 or more, and not all 0; the smallest is {float(weights.min()):g}")
        self.means = means.double()
        self.weights = weights.double() / weights.double().sum()
        if covariances.dim() == 3:
            if not torch.allclose(covariances, covariances.mT):
                raise ValueError("covariances must be symmetric")
            # variances along each component's own axes; rounding may put one that is 0 just below
            variances, self._axes = torch.linalg.eigh(covariances)
            scale = variances.abs().amax(dim=1, keepdim=True)
            variances = torch.where(variances.abs() < 1e-14 * scale, 0.0, variances)
            self.covariances = covariances
        else:
            variances = covariances
            self.covariances = covariances.reshape(-1, 1, 1) * torch.eye(2, dtype=torch.float64).expand(count, 2, 2)
        if variances.min() < 0:
            raise ValueError(f"covariances must have no negative variance; the smallest is {float(variances.min()):g}")
        self._variances = variances  # () or (K,) where components are isotropic, (K, 2) otherwise
        self._centre = self.weights @ self.means
        self._offsets = self.means - self._centre
        self._log_weights = self.weights.log()
        squares = self._offsets.square().sum(dim=1, keepdim=True)
        self._table = torch.cat([self._offsets, -squares / 2, torch.ones_like(squares)], dim=1).T.contiguous()
        self._table_with_weights = torch.cat([self._table, self._log_weights.unsqueeze(0)])
        self._places_and_ones = self._table[[0, 1, 3]].contiguous()

    @property
    def isotropic(self) -> bool:
        """Whether each component has the same variance in all directions, and was given so."""
        return self._variances.dim() < 2

    def to(self, device: torch.device) -> GaussianMixture:
        """The same mixture on that device, where its answers then are; on the processor if it has no float64."""
        there = copy(self)
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        vars(there).update({name: value.to(for_float64(device)) for name, value in tensors.items()})
        return there

    def log_prob(self, x: Tensor, blur: Tensor | float = 0.0) -> Tensor:
        """The log density of the mixture, blurred or as it is.

        Args:
            x: (n, 2) floats.
            blur: a variance that is added to every component along each axis, 0 or more: one number, or (n,) for
                each point its own.

        Returns:
            (n,) float64, in nats.

        Raises:
            ValueError: for another shape or type, a negative blur, or a component that is left with no variance, which
                has no density.
        """
        return torch.cat([_log_sum(logs) for _, _, logs in self._blocks(x, blur)])

    def posterior(self, x: Tensor, blur: Tensor | float = 0.0) -> Tensor:
        """How likely each component is to have given each point (Bayes' rule): (n, K) float64, each row adds up to 1.

        Arguments and errors as for `log_prob`.
        """
        return torch.cat([torch.softmax(logs, dim=1) for _, _, logs in self._blocks(x, blur)])

    def score(self, x: Tensor, blur: Tensor | float = 0.0) -> Tensor:
        """The gradient of the log density at `x`: (n, 2) float64. Arguments and errors as for `log_prob`."""
        return torch.cat([self._score(*block) for block in self._blocks(x, blur)])

    def sample(self, n: int, seed: int = SEED) -> Tensor:
        """Draw `n` independent points: (n, 2) float64. The same seed gives the same points.

        Raises:
            ValueError: if `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be 1 or more, not {n}")
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        if self.isotropic:
            noise *= self._variances.sqrt().expand(len(self.means))[drawn].unsqueeze(1)
        else:
            noise = torch.einsum("nij,nj->ni", self._axes[drawn], self._variances.sqrt()[drawn] * noise)
        return self.means[drawn] + noise

    def _blocks(self, x: Tensor, blur: Tensor | float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Blocks of the points, seen from the mixture's mean, (b, 2), with their blur as a column, (b, 1) or (1, 1).

        And for each, (b, K), the logarithm of each component's weight times its density at each of the points.
        """
        check_points(x, "x")
        blur = torch.as_tensor(blur, dtype=torch.float64, device=self.means.device)
        if blur.shape not in {(), (len(x),)}:
            raise ValueError(f"blur must have the shape () or ({len(x)},), not {tuple(blur.shape)}")
        if not (blur >= 0).all():
            raise ValueError(f"blur is a variance, 0 or more; got {float(blur.min()):g}")
        if blur.numel() and not (self._variances.min() + blur.min()) > 0:
            raise ValueError("a component of variance 0 is a point and has no density; give a blur greater than 0")
        table = (
            self._table_of_own_variances(self._variances + blur) if self._variances.dim() == 1 > blur.dim() else None
        )
        rows = max(4, (BLOCK if self.means.device.type == "cpu" else AT_ONCE) // len(self.means))
        blocks = (x.to(self.means) - self._centre).split(rows)  # one, though empty, where there are no points
        columns = blur.unsqueeze(1).split(rows) if blur.dim() else [blur.reshape(1, 1)] * len(blocks)
        for block, column in zip(blocks, columns, strict=True):
            yield block, column, self._log_joint(block, column, table)

    def _table_of_own_variances(self, variances: Tensor) -> Tensor:
        """(4, K): what the density of each component has to do with a point's 1, x, y and |x|², its variance (K,)."""
        constants = self._log_weights - (2 * math.pi * variances).log() + self._table[2] / variances
        return torch.stack([constants, *(self._table[:2] / variances), -0.5 / variances])

    def _log_joint(self, x: Tensor, blur: Tensor, table: Tensor | None) -> Tensor:
        """(b, K), as in `_blocks`: by a single product of matrices, where variances don't differ in both directions."""
        squared = x.square().sum(dim=1, keepdim=True)
        ones = torch.ones_like(squared)
        if table is not None:
            return torch.cat([ones, x, squared], dim=1) @ table
        if not self.isotropic:
            joint = self._log_weights - math.log(2 * math.pi)
            for variances, along in self._along_axes(x, blur):
                joint = joint - (along.square() / variances + variances.log()) / 2
            return joint
        variances = self._variances + blur
        if self._variances.dim() == 0:
            constants = -squared / (2 * variances) - (2 * math.pi * variances).log()
            return torch.cat([x / variances, ones / variances, constants, ones], dim=1) @ self._table_with_weights
        closeness = torch.cat([x, ones, -squared / 2], dim=1) @ self._table  # −|x − m|²/2 = x·m − |m|²/2 − |x|²/2
        return torch.addcmul(self._log_weights - (2 * math.pi * variances).log(), closeness, 1 / variances)

    def _along_axes(self, x: Tensor, blur: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each of the components' two axes: the blurred variances, and how far the points are along it, (b, K)."""
        for axis in range(2):
            direction = self._axes[:, :, axis]
            yield self._variances[:, axis] + blur, linear(x, direction, -(direction * self._offsets).sum(dim=1))

    def _score(self, x: Tensor, blur: Tensor, logs: Tensor) -> Tensor:
        """Σ w_i S_i⁻¹ (m_i − x) over the components, w the softmax of the logarithms, S the blurred covariances."""
        weights, _ = _exponentials(logs)
        if self._variances.dim() == 0:
            sums = linear(weights, self._places_and_ones)
            return (sums[:, :2] / sums[:, 2:] - x) / (self._variances + blur)
        total = weights.sum(dim=1, keepdim=True)
        if self.isotropic:
            pull = weights / (self._variances + blur)
            return (linear(pull, self._table[:2]) - x * pull.sum(dim=1, keepdim=True)) / total
        pulls = [weights * along / variances for variances, along in self._along_axes(x, blur)]
        score: Tensor = -(pulls[0] @ self._axes[:, :, 0] + pulls[1] @ self._axes[:, :, 1])
        return score / total


def _exponentials(logs: Tensor) -> tuple[Tensor, Tensor]:
    """In the place of (b, K) logarithms their exponentials over each row's largest, and the logarithm of that, (b, 1).

    What counts for nothing beside the largest stays a normal number: far smaller ones slow processors down.
    """
    largest = logs.detach().amax(dim=1, keepdim=True)  # whatever is taken off here and added again has no slope
    return logs.sub_(largest).clamp_(min=NOTHING).exp_(), largest


def _log_sum(logs: Tensor) -> Tensor:
    """(b,), the logarithm of the sum of the exponentials of each row, whose own place is used."""
    exponentials, largest = _exponentials(logs)
    return exponentials.sum(dim=1).log() + largest.squeeze(1)


def exact_mixture(data: Dataset) -> GaussianMixture:
    """The density that the points of "gaussian" or "eight_gaussians" were drawn from, in the data's normalised units.

    If the data have labels it is that of their classes: of `data.given("45°")` a single Gaussian.

    Raises:
        ValueError: for any other data or classes.
    """
    shapes: dict[str, tuple[Tensor, Tensor | float]] = {
        "gaussian": (GAUSSIAN_MEAN.unsqueeze(0), GAUSSIAN_COV.unsqueeze(0)),
        "eight_gaussians": (EIGHT_CENTRES, EIGHT_STD**2),
    }
    if data.name not in shapes:
        raise ValueError(f"of {data.name!r} no density is known that is a mixture; of {', '.join(shapes)} it is")
    means, covariances = shapes[data.name]
    if data.classes:
        means = means[[class_number(label, PARTS.get(data.name, ())) for label in data.classes]]
    return GaussianMixture((means - data.units.shift) / data.units.scale, covariances / data.units.scale**2)
