"""The networks in a browser: the same answers as in Python, and the same ways, from the same noise."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from lab_utils.diffusion.conditional import given
from lab_utils.diffusion.guidance import guided
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import ancestral, ddim, dpm_solver, reverse_step, sde_dpm_solver
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.points.dataset import dataset
from lab_utils.report.live import trained
from lab_utils.widgets import payload
from lab_utils.widgets.live import ENGINE

BUILDS = {
    "original": {},
    "better": {"width": 128, "input_frequencies": 32, "max_frequency": 256.0, "fading": True},
    "odd": {"width": 7, "depth": 2, "input_frequencies": 5},
}


def learnt(build, schedule, seed=0):
    """A network with weights as large as a trained one's, rounded as a browser has them."""
    network = DiffusionGenerator(schedule=schedule, seed=seed, **build)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.leave.weight.normal_(0, 0.2, generator=generator)
        network.leave.bias.normal_(0, 0.1, generator=generator)
        for layer in network.layers:
            layer.weight.mul_(1.5)
    return payload.rounded(network)


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=ENGINE)
    yield page
    page.close()


def tables(network):
    return payload.network_parts(network), payload.schedule_tables(network.schedule)


def epsilon(page, network, x, t):
    """The page's answers for (n, 2) points at each of the timesteps."""
    ask = """([model, schedule, x, times]) => {
      const kit = engine(), asked = kit.network(model, schedule), points = Float32Array.from(x);
      return times.map((t) => {
        const out = new Float64Array(points.length), now = asked.at(t);
        for (const [block, size] of kit.blocksOf(points.length / 2)) {
          asked.epsilon(points, block * kit.BLOCK, size, now, out);
        }
        return [...out];
      });
    }"""
    found = page.evaluate(ask, [*tables(network), x.flatten().tolist(), t])
    return torch.tensor(found, dtype=torch.float64).reshape(len(t), -1, 2)


def way(page, network, sampler, noise):
    """Where the points are in the page after all steps; noise is (steps + 1, n, 2)."""
    ask = """([model, schedule, sampler, noise]) => {
      const kit = engine(), asked = kit.network(model, schedule), blocks = kit.blocksOf(noise[0].length / 2);
      const walk = kit.walk(asked, kit.steps(sampler), 0, blocks, (step) => Float32Array.from(noise[step]));
      for (const _ of sampler.timesteps) walk.step();
      return [...walk.x];
    }"""
    given = noise.flatten(1).tolist()
    found = page.evaluate(ask, [*tables(network), payload.sampler_rows(sampler), given])
    return torch.tensor(found).reshape(-1, 2)


def way_in_python(network, sampler, noise):
    x, estimate = noise[0], torch.zeros_like(noise[0])
    rows = zip(sampler.timesteps, sampler.coefficients.tolist(), sampler.estimates.tolist(), strict=True)
    for step, (t, row, (p, q)) in enumerate(rows, 1):
        eps = network.epsilon(x, torch.tensor(t))
        x, estimate = reverse_step(row, x, eps, noise[step], estimate), p * x - q * eps
    return x


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
@pytest.mark.parametrize("build", BUILDS)
def test_a_page_sees_the_noise_that_the_network_sees(page, build, schedule):
    network = learnt(BUILDS[build], schedule)
    x = torch.randn(503, 2, generator=torch.Generator().manual_seed(1)) * 1.5  # not a whole number of blocks
    times = [0, 1, 10, 100, 300, 500, 700, 900, 999]
    expected = torch.stack([network.epsilon(x, torch.tensor(t)) for t in times])
    assert (epsilon(page, network, x, times) - expected).abs().max() < 1e-5


CLASSES = ("north", "east", "south")
CONDITIONAL = {"odd": BUILDS["odd"] | {"classes": CLASSES}, "better": BUILDS["better"] | {"classes": CLASSES[:1]}}
GUIDE = """([model, schedule, x, times, guide, sampler, noise]) => {
  const kit = engine(), asked = kit.guided(kit.network(model, schedule), guide), points = Float32Array.from(x);
  const blocks = kit.blocksOf(points.length / 2);
  const answers = times.map((t) => {
    const out = new Float64Array(points.length), now = asked.at(t);
    for (const [block, size] of blocks) asked.epsilon(points, block * kit.BLOCK, size, now, out);
    return [...out];
  });
  const walk = kit.walk(asked, kit.steps(sampler), 0, blocks, (step) => Float32Array.from(noise[step]));
  for (const _ of sampler.timesteps) walk.step();
  return [answers, [...walk.x]];
}"""


@pytest.mark.parametrize("weight", [0, 1, 0.4, 3, -0.5])
@pytest.mark.parametrize("build", CONDITIONAL)
def test_a_network_that_is_told_a_class_and_guided_is_the_lab_s(page, build, weight):
    """The noise, and where a whole way ends, for each class."""
    network, sampler = learnt(CONDITIONAL[build], sigmoid()), sde_dpm_solver(sigmoid(), 10)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(203, 2, generator=generator) * 1.5  # not a whole number of blocks
    noise = torch.randn(len(sampler) + 1, 203, 2, generator=generator)
    times = [0, 30, 400, 800]
    for number, label in enumerate(network.classes):
        guide = {"label": number, "weight": weight}
        asked = [*tables(network), x.flatten().tolist(), times, guide, payload.sampler_rows(sampler)]
        answers, ends = page.evaluate(GUIDE, [*asked, noise.flatten(1).tolist()])
        one = guided(given(network, label), network, weight)
        expected = torch.stack([one.epsilon(x, torch.tensor(t)) for t in times])
        found = torch.tensor(answers, dtype=torch.float64).reshape(expected.shape)
        assert (found - expected).abs().max() < 1e-5
        assert (torch.tensor(ends).reshape(-1, 2) - way_in_python(one, sampler, noise)).abs().max() < 1e-3


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
@pytest.mark.parametrize("make", [ddim, dpm_solver, sde_dpm_solver])
@pytest.mark.parametrize("build", ["original", "better"])
def test_a_whole_way_ends_at_the_same_places(page, build, make, schedule):
    network, sampler = learnt(BUILDS[build], schedule), make(schedule, 20)
    noise = torch.randn(len(sampler) + 1, 300, 2, generator=torch.Generator().manual_seed(2))
    there = way_in_python(network, sampler, noise)
    assert (way(page, network, sampler, noise) - there).abs().max() < 1e-3


def test_all_thousand_steps_lead_there_too(page):
    schedule = linear(timesteps=100, beta_start=1e-3, beta_end=0.2)
    network = learnt(BUILDS["original"], schedule)
    sampler = ancestral(schedule)
    noise = torch.randn(len(sampler) + 1, 40, 2, generator=torch.Generator().manual_seed(2))
    there = way_in_python(network, sampler, noise)
    assert (way(page, network, sampler, noise) - there).abs().max() < 1e-3


def test_so_it_is_with_the_trained_networks(page):
    """Those of the page `live.html`, where the notebooks have trained them."""
    networks = [one.network for one in trained()[0]]
    if not networks:
        pytest.skip("no notebook has trained a network here yet")
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(21, 300, 2, generator=torch.Generator().manual_seed(2))
    times = [0, 3, 30, 300, 600, 999]
    for network in networks:
        expected = torch.stack([network.epsilon(x, torch.tensor(t)) for t in times])
        assert (epsilon(page, network, x, times) - expected).abs().max() < 1e-5
        for make in (ddim, sde_dpm_solver):
            sampler = make(network.schedule, 20)
            there = way_in_python(network, sampler, noise)
            assert (way(page, network, sampler, noise) - there).abs().max() < 1e-3


def test_half_precision_is_read_to_the_last_bit(page):
    bits = np.arange(0, 2**16, 7, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)]
    text = base64.b64encode(halves.astype("<f2").tobytes()).decode()
    read = page.evaluate("(text) => [...engine().halves(text)]", text)
    assert np.array_equal(np.array(read), halves.astype(np.float64))


def test_the_noise_is_normal_and_its_own_for_each_seed_and_block(page):
    draw = "([seed, block]) => [...engine().normals(seed, block)(new Float32Array(20000))]"
    one = np.array(page.evaluate(draw, [1, 0]))
    assert np.array_equal(one, page.evaluate(draw, [1, 0]))
    assert abs(one.mean()) < 0.03
    assert abs(one.std() - 1) < 0.02
    assert abs((one**4).mean() - 3) < 0.2
    assert abs((one[::2] * one[1::2]).mean()) < 0.03
    for other in ([2, 0], [1, 1], [0, 1], [7, 9]):
        assert abs(np.corrcoef(one, page.evaluate(draw, other))[0, 1]) < 0.03


def test_the_points_are_the_same_however_many_workers_share_them(page):
    network = learnt(BUILDS["original"], sigmoid())
    sampler = payload.sampler_rows(sde_dpm_solver(sigmoid(), 5))
    ask = """([model, schedule, sampler, shares]) => {
      const kit = engine(), asked = kit.network(model, schedule);
      return shares.flatMap((blocks) => {
        const walk = kit.walk(asked, kit.steps(sampler), 3, blocks);
        for (const _ of sampler.timesteps) walk.step();
        return [...walk.x];
      });
    }"""
    blocks = [[0, 200], [1, 200], [2, 77]]
    whole = page.evaluate(ask, [*tables(network), sampler, [blocks]])
    assert page.evaluate(ask, [*tables(network), sampler, [blocks[:1], blocks[1:]]]) == whole
    assert len(whole) == 2 * 477


def test_what_a_browser_gets_is_json_and_small():
    data = dataset("moons", train=500)
    network = DiffusionGenerator(schedule=sigmoid())
    text = json.dumps(payload.Live({"mine": [network]}, data).payload())
    assert 2 * sum(part.numel() for part in network.parameters()) < len(text) < 500_000


def test_what_an_explorer_cannot_show_is_refused_with_what_to_do():
    """Of a network with another target, a browser would have shown other points than the network's own."""
    data = dataset("moons", train=500)
    network = DiffusionGenerator(schedule=sigmoid())

    class Mine(DiffusionGenerator):
        pass

    for models, said in (
        ({}, "needs a network or more; give its models as {name: [network, …]}"),
        ({"a": []}, "needs a network or more; give its models as {name: [network, …]}"),
        ({"a": network}, "the networks of 'a' must be a list, not a DiffusionGenerator; give [it]"),
        (
            {"a": [network, network]},
            "two networks of the name 'a' with the schedule 'sigmoid', and a reader chooses them by both; give one of "
            "them another name",
        ),
        (
            {"a": [network], "b": [DiffusionGenerator(schedule=sigmoid(timesteps=500))]},
            "two schedules of the name 'sigmoid', and a reader chooses them by their names; show the networks of each "
            "in an explorer of its own",
        ),
        ({"a": [Mine(schedule=sigmoid())]}, "how Mine does; sample from it in Python, with sample(network, n)"),
        ({"a": [BestDenoiser(data.train, sigmoid())]}, "how BestDenoiser does; sample from it in Python"),
        ({"a": ["network.pt"]}, "how str does; sample from it in Python"),
        (
            {"a": [DiffusionGenerator(schedule=sigmoid(), target="epsilon")]},
            'predicts v, and this one predicts epsilon; train one with target="v", or sample from it in Python',
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            payload.Live(models, data).payload()
    with pytest.raises(ValueError, match="and this one predicts x;"):
        payload.rounded(DiffusionGenerator(schedule=sigmoid(), target="x"))
