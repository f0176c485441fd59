"""The reverse process takes the steps of the paper, keeps what it says, and gives the same bits on any machine."""

import io
import math
import threading
import time

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tqdm import tqdm

from lab_utils.diffusion import sampling
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import ancestral, ddim, dpm_solver, reverse_step, sde_dpm_solver
from lab_utils.diffusion.sampling import BLOCK, initial_noise, sample, snapshots
from lab_utils.diffusion.schedules import Schedule, linear, sigmoid

SHORT = sigmoid(timesteps=8)


class Recorder:
    """A denoiser that keeps what enters it, and answers with some smooth function of it."""

    def __init__(self, schedule=SHORT, factor=0.5):
        self.schedule, self.factor = schedule, factor
        self.seen = []

    def epsilon(self, x_t, t):
        self.seen.append((int(t), t.shape, t.dtype, x_t.clone()))
        return self.factor * torch.sin(x_t)


class ExactGaussian:
    """E[ε | x_t] when the data are N(μ, Σ): then x_t is N(√ᾱ μ, Σ_t) with Σ_t = ᾱ Σ + (1−ᾱ) I."""

    def __init__(self, schedule, mean, cov):
        self.schedule, self.mean, self.cov = schedule, mean.double(), cov.double()

    def epsilon(self, x_t, t):
        a = self.schedule.alphas_cumprod[int(t)]
        precision = torch.linalg.inv(a * self.cov + (1 - a) * torch.eye(2, dtype=torch.float64))
        return ((1 - a).sqrt() * (x_t.double() - a.sqrt() * self.mean) @ precision).to(x_t)


# --- whole runs


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("make", [linear, sigmoid])
def test_the_exact_epsilon_of_a_gaussian_gives_that_gaussian_back(make, variance):
    """Mean and covariance within 5 standard errors of 16 384 points, along each axis of the ellipse.

    1000 steps are not infinitely many: a linear map x → a x − b ε(x) + c noise carries mean and covariance exactly, so
    what finite steps make of them is computed beside, and it too must be near the data's.
    """
    schedule = make()
    mean = torch.tensor([0.7, -1.1])
    cov = torch.tensor([[1.3, 0.55], [0.55, 0.4]])
    exact = ExactGaussian(schedule, mean, cov)
    n = 16_384
    x = sample(exact, n, seed=0, sampler=ancestral(schedule, variance)).double()

    m, s, eye = torch.zeros(2).double(), torch.eye(2).double(), torch.eye(2).double()
    for t in range(999, -1, -1):
        a, b, c, _ = ancestral(schedule, variance).coefficients[999 - t]
        shift = exact.epsilon(torch.zeros(1, 2).double(), torch.tensor(t))
        matrix = a * eye - b * (exact.epsilon(eye, torch.tensor(t)) - shift)  # symmetric, so rows are columns
        m, s = m @ matrix - b * shift[0], matrix @ s @ matrix + c**2 * eye
    assert (m - mean).abs().max() < 0.01
    assert (s - cov).abs().max() < 0.03

    _, axes = torch.linalg.eigh(s)
    along = (x - m) @ axes
    variances = (axes.T @ s @ axes).diagonal()
    assert (along.mean(0).abs() < 5 * (variances / n).sqrt()).all()
    assert ((along.var(0) - variances).abs() < 5 * variances * math.sqrt(2 / n)).all()
    assert abs(torch.corrcoef(along.T)[0, 1]) < 5 / math.sqrt(n)


def test_sampling_is_single_steps_with_the_noise_of_one_generator():
    """Algorithm 2 written out, for the points of one block, step by step from `reverse_step`."""
    denoiser = Recorder()
    generator = sampling._generator(3, 0)
    x = torch.randn(5, 2, generator=generator)
    assert torch.equal(x, initial_noise(5, seed=3))
    coefficients = ancestral(SHORT).coefficients.flip(0).tolist()
    for t in range(7, -1, -1):
        noise = torch.randn(5, 2, generator=generator) if t else torch.zeros(5, 2)
        x = reverse_step(coefficients[t], x, denoiser.epsilon(x, torch.tensor(t)), noise)
    torch.testing.assert_close(sample(denoiser, 5, seed=3), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "sampler",
    [ddim(SHORT, 4, 0.5), dpm_solver(SHORT, 4), sde_dpm_solver(SHORT, 4)],
    ids=["DDIM", "DPM-Solver", "SDE-DPM-Solver"],
)
def test_other_samplers_ask_where_they_say_and_step_as_they_say(sampler):
    denoiser = Recorder()
    kept = snapshots(denoiser, 5, range(len(sampler) + 1), seed=3, sampler=sampler)
    assert tuple(seen[0] for seen in denoiser.seen) == sampler.timesteps
    generator = sampling._generator(3, 0)
    x, before = torch.randn(5, 2, generator=generator), None
    for k, (row, (p, q)) in enumerate(zip(sampler.coefficients.tolist(), sampler.estimates.tolist(), strict=True)):
        torch.testing.assert_close(kept[k], x)
        epsilon = denoiser.epsilon(x, torch.tensor(0))
        noise = torch.randn(5, 2, generator=generator) if row[2] else torch.zeros(5, 2)
        x, before = reverse_step(row, x, epsilon, noise, before), p * x - q * epsilon
    torch.testing.assert_close(kept[len(sampler)], x)
    assert torch.equal(sample(denoiser, 5, seed=3, sampler=sampler), kept[len(sampler)])


def test_a_network_is_sampled_like_any_other_denoiser_of_the_same_answers():
    model = DiffusionGenerator(schedule=sigmoid(timesteps=30), width=16, input_frequencies=4, fading=True)
    with torch.no_grad():
        model.leave.weight.normal_(generator=torch.Generator().manual_seed(0))

    class Plain:
        schedule = model.schedule

        def epsilon(self, x_t, t):
            return model.epsilon(x_t, t)

    for sampler in (None, dpm_solver(model.schedule, 6)):
        expected = sample(Plain(), BLOCK + 7, sampler=sampler)
        torch.testing.assert_close(sample(model, BLOCK + 7, sampler=sampler), expected, rtol=1e-3, atol=1e-4)


def test_after_k_steps_are_the_points_that_enter_the_denoiser_next():
    denoiser = Recorder()
    kept = snapshots(denoiser, 6, range(9), seed=4)
    assert list(kept) == list(range(9))
    assert [seen[:3] for seen in denoiser.seen] == [(t, (1,), torch.int64) for t in range(7, -1, -1)]
    for k in range(8):
        t, *_, entered = denoiser.seen[k]
        assert t == 8 - 1 - k
        assert torch.equal(kept[k], entered)
    assert torch.equal(kept[0], initial_noise(6, seed=4))
    assert torch.equal(kept[8], sample(Recorder(), 6, seed=4))


@pytest.mark.parametrize(("after", "calls"), [([0], 0), ([3], 3), ([5, 2, 5], 5), ((8,), 8)])
def test_no_more_steps_are_done_than_are_asked_for(after, calls):
    denoiser = Recorder()
    kept = snapshots(denoiser, 3, after)
    assert len(denoiser.seen) == calls
    assert set(kept) == set(after)
    everything = snapshots(Recorder(), 3, range(9))
    assert all(torch.equal(kept[k], everything[k]) for k in kept)


def test_kept_points_are_ordinary_tensors():
    """Not marked as made for inference only: they may be changed, and a gradient may pass through them."""
    kept = snapshots(Recorder(), 3, [0, 8])
    for points in kept.values():
        assert points.dtype == torch.float32
        points.requires_grad_(True).square().sum().backward()
        assert points.grad is not None


# --- the same seed, the same bits

N = 2 * BLOCK + 100


def test_the_same_bits_whatever_the_number_of_workers(monkeypatch):
    results = []
    for workers in (1, 2, 4):
        monkeypatch.setattr(sampling, "WORKERS", workers)
        results.append(snapshots(Recorder(), N, [0, 4, 8], seed=1))
    for other in results[1:]:
        assert all(torch.equal(other[k], results[0][k]) for k in (0, 4, 8))


@pytest.mark.parametrize("n", [1, 5, 256, 257, BLOCK, BLOCK + 5, 5000])
def test_the_shares_are_all_points_once_and_two_workers_get_even_ones(n):
    blocks, shares = zip(*sampling._shares(n), strict=True)
    assert [point for share in shares for point in share] == [*range(n)]
    assert all(share[0] in block and share[-1] in block for block, share in zip(blocks, shares, strict=True))
    last = [len(share) for block, share in zip(blocks, shares, strict=True) if n - 1 in block]
    assert max(last) <= max(BLOCK // 4, (sum(last) + 1) // 2)


def test_a_block_cut_in_two_has_the_noise_of_the_whole_one():
    """With predictions of 0 the points are a fixed mix of all the noise that they have met."""
    n = BLOCK // 4 + 1
    assert len([*sampling._shares(n)]) == 2
    generator = sampling._generator(4, 0)
    x = torch.randn(n, 2, generator=generator)
    for a, _, c, _ in ancestral(SHORT).coefficients.tolist():
        x = a * x + (c * torch.randn(n, 2, generator=generator) if c else 0)
    torch.testing.assert_close(sample(Recorder(factor=0.0), n, seed=4), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [BLOCK - 1, BLOCK, BLOCK + 300])
def test_fewer_points_are_the_first_of_more_in_whole_blocks(n):
    few, many = sample(Recorder(), n, seed=2), sample(Recorder(), 2 * BLOCK, seed=2)
    whole = n // BLOCK * BLOCK
    assert torch.equal(many[:whole], few[:whole])
    assert torch.equal(initial_noise(2 * BLOCK, seed=2)[:whole], initial_noise(n, seed=2)[:whole])
    assert n == whole or not torch.equal(many[whole:n], few[whole:])


@given(
    one=st.tuples(st.integers(0, 2**70), st.integers(0, 2**20)),
    other=st.tuples(st.integers(0, 2**70), st.integers(0, 2**20)),
)
@example(one=(2**32 + 5, 0), other=(5, 1))
@example(one=(2**64 + 5, 0), other=(5, 0))
def test_no_two_seeds_or_blocks_have_the_same_noise(one, other):
    drawn = [torch.randn(4, generator=sampling._generator(*which)) for which in (one, other)]
    assert torch.equal(*drawn) == (one == other)


def test_a_sampler_of_another_schedule_is_refused_and_both_are_named():
    other = linear(timesteps=8)
    with pytest.raises(ValueError, match=r"made for linear \(.*timesteps = 8\), and the denoiser has .*; make one for"):
        sample(Recorder(), 3, sampler=ancestral(other))
    same = Schedule(SHORT.betas.clone())  # the same betas under another name are no other schedule
    assert torch.equal(sample(Recorder(), 3, sampler=ancestral(same)), sample(Recorder(), 3))


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number of 0 or more"):
        sample(Recorder(), 3, seed=seed)


def test_one_point_alone_can_be_sampled():
    assert sample(Recorder(), 1).shape == (1, 2)


@pytest.mark.parametrize("first", [1, 3])
def test_later_blocks_can_be_drawn_alone(first):
    """With noise at every step, so that each block's generator matters to its end."""
    n = 3 * BLOCK + 10
    rest = sample(Recorder(), n - first * BLOCK, seed=7, first_block=first)
    assert torch.equal(rest, sample(Recorder(), n, seed=7)[first * BLOCK :])


def test_two_denoisers_meet_the_same_noise_at_the_start_and_at_each_step():
    """With predictions of 0 the points are a fixed mix of all the noise, so a wrong draw anywhere would show."""
    other = linear(timesteps=8)
    zero = snapshots(Recorder(factor=0.0), N, range(9), seed=5)
    half = snapshots(Recorder(factor=0.5), N, range(9), seed=5)
    stranger = snapshots(Recorder(other, factor=0.0), N, range(9), seed=5)
    assert torch.equal(zero[0], half[0])
    assert torch.equal(zero[0], stranger[0])

    def noise(schedule, kept, factor):
        for k in range(7):  # the last step adds none
            a, b, c, _ = ancestral(schedule).coefficients[k].tolist()
            yield (kept[k + 1] - a * kept[k] + b * factor * torch.sin(kept[k])) / c

    for one, two, three in zip(
        noise(SHORT, zero, 0.0), noise(SHORT, half, 0.5), noise(other, stranger, 0.0), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(one, three, rtol=1e-3, atol=1e-3)


def test_blocks_steps_and_seeds_have_different_noise():
    x = initial_noise(3 * BLOCK, seed=0)
    assert len(x.unique(dim=0)) == 3 * BLOCK
    assert not torch.equal(x, initial_noise(3 * BLOCK, seed=1))
    n = 3 * BLOCK
    assert x.mean(0).abs().max() < 5 / math.sqrt(n)
    assert (torch.cov(x.T) - torch.eye(2)).abs().max() < 5 * math.sqrt(2 / n)


def test_a_blocks_noise_is_one_of_2_to_the_63():
    """With 32 bits, two of a million blocks of 1024 points would have the same noise, and so the same points."""
    seeds = {sampling._generator(seed, block).initial_seed() for seed in range(20) for block in range(20)}
    assert len(seeds) == 400
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63


def test_no_global_random_state_is_read_or_changed():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = sample(Recorder(), 10)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(sample(Recorder(), 10), first)


# --- refusals, errors, progress


@pytest.mark.parametrize("n", [0, -3])
def test_no_points_are_refused(n):
    for call in (lambda: sample(Recorder(), n), lambda: snapshots(Recorder(), n, [0])):
        with pytest.raises(ValueError, match=f"n must be a whole number of 1 or more, not {n}"):
            call()


@pytest.mark.parametrize("after", [[], [-1], [9], [0, 4, 1000]])
def test_snapshots_outside_the_steps_are_refused(after):
    with pytest.raises(ValueError, match=r"after 0 … 8 reverse steps; asked for \["):
        snapshots(Recorder(), 3, after)


def test_a_denoisers_error_comes_out_and_the_waiting_blocks_are_not_begun(monkeypatch):
    monkeypatch.setattr(sampling, "WORKERS", 1)
    calls = []

    class Broken(Recorder):
        def epsilon(self, x_t, t):
            calls.append(int(t))
            time.sleep(0.02)
            raise RuntimeError("this denoiser is broken")

    with pytest.raises(RuntimeError, match="this denoiser is broken"):
        sample(Broken(), 300 * BLOCK)
    assert len(calls) < 150  # a few more may begin before they are cancelled; all 300 would take 6 seconds


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_threads_than_asked_for_share_the_work(monkeypatch, workers):
    monkeypatch.setattr(sampling, "WORKERS", 8)
    names = set()

    class Slow(Recorder):
        def epsilon(self, x_t, t):
            names.add(threading.current_thread().name)
            time.sleep(0.002)
            return x_t

    sample(Slow(), 9 * BLOCK, workers=workers)
    assert len(names) == workers


def test_the_callers_own_bar_counts_on_and_stays_open():
    with tqdm(total=2 * BLOCK + 7, initial=7, disable=False, file=io.StringIO()) as bar:
        for block in (0, 1):
            sample(Recorder(), BLOCK, progress=bar, first_block=block)
            assert bar.n == 7 + (block + 1) * BLOCK
            assert not bar.disable


def test_a_progress_bar_counts_points_under_its_label(capsys):
    sample(Recorder(), BLOCK + 1, progress="sampling, sigmoid")
    said = capsys.readouterr().err
    assert "sampling, sigmoid" in said
    assert f"{BLOCK + 1}/{BLOCK + 1}" in said
    assert "points/s" in said
    sample(Recorder(), BLOCK + 1)
    assert capsys.readouterr().err == ""
