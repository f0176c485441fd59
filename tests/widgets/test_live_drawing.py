"""Training in a browser: the gradient, Adam, the average and the best denoiser are those of Python."""

import pytest
import torch
from test_live_engine import BUILDS, learnt

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.diffusion.training import Recipe, Trainer
from lab_utils.exact import BestDenoiser
from lab_utils.measure.losses import mean_loss
from lab_utils.points.dataset import Units, dataset
from lab_utils.widgets import DrawingField, drawing, payload
from lab_utils.widgets.live import ENGINE, PARTS

TILE = 4  # points that share a timestep
KIT = "const kit = engine(), school = training(kit);"


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=ENGINE + PARTS + drawing.TRAINING + drawing.DRAWING)
    yield page
    page.close()


@pytest.fixture(scope="module")
def spiral():
    return dataset("spiral", train=1000).train


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def parameters(network):
    """In the order of the payload, layer by layer."""
    layers = [network.embed_time, network.time_to_layers, network.enter, *network.layers, network.leave]
    return [part for layer in layers for part in (layer.weight, layer.bias)]


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
@pytest.mark.parametrize("build", ["original", "odd"])
def test_the_gradient_is_that_of_autograd(page, build, schedule):
    network = learnt(BUILDS[build], schedule).requires_grad_(True)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(60, 2, generator=generator)
    epsilon = torch.randn(60, 2, generator=generator)
    times = torch.randint(0, schedule.timesteps, (60 // TILE,), generator=generator)  # 15, no multiple of four
    loss = (network.predict(x, times.repeat_interleave(TILE)) - epsilon).square().mean()
    expected = torch.autograd.grad(loss, parameters(network))
    ask = f"""([model, schedule, x, times, epsilon]) => {{
      {KIT}
      const {{ gradient, loss }} = school.gradients(model, schedule, kit.halves(model.weights), x.length / 2);
      const twice = [0, 1].map(() => loss(Float32Array.from(x), times, epsilon));
      return [twice, [...gradient]];
    }}"""
    given = [x.flatten().tolist(), times.tolist(), epsilon.flatten().tolist()]
    given = [payload.network_parts(network), payload.schedule_tables(schedule), *given]
    (first, again), gradient = page.evaluate(ask, given)
    assert first == again, "nothing of a batch is left for the next one"
    assert first == pytest.approx(loss.item(), rel=1e-5)
    found = torch.tensor(gradient, dtype=torch.float64).split([part.numel() for part in expected])
    for mine, right in zip(found, expected, strict=True):
        assert (mine - right.double().flatten()).norm() < 1e-5 * right.norm()


def test_adam_and_the_average_are_those_of_the_trainer(page, spiral):
    recipe = Recipe(learning_rate=1e-2, warmup=2, ema_decay=0.3)
    trainer = Trainer(DiffusionGenerator(schedule=sigmoid()), spiral, recipe)
    generator = torch.Generator().manual_seed(5)
    weights = torch.randn(50, generator=generator, dtype=torch.float64)
    gradients = torch.randn(6, 50, generator=generator, dtype=torch.float64)
    ask = f"""([weights, recipe, gradients]) => {{
      {KIT}
      const mine = Float64Array.from(weights), {{ average, step }} = school.adam(mine, recipe);
      return gradients.map((gradient) => (step(gradient), [[...mine], [...average]]));
    }}"""
    told = {name: getattr(recipe, name) for name in ("learning_rate", "warmup", "ema_decay")}
    found = page.evaluate(ask, [weights.tolist(), told, gradients.tolist()])
    mine, average = torch.nn.Parameter(weights.clone()), weights.clone()
    optimiser = torch.optim.Adam([mine])
    for number, (gradient, (moved, averaged)) in enumerate(zip(gradients, found, strict=True)):
        optimiser.param_groups[0]["lr"] = trainer._learning_rate(number, 1000)
        mine.grad = gradient
        optimiser.step()
        average.lerp_(mine.detach(), 1 - trainer._ema_decay(number))
        torch.testing.assert_close(torch.tensor(moved, dtype=torch.float64), mine.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(torch.tensor(averaged, dtype=torch.float64), average, rtol=1e-10, atol=1e-12)


def test_a_whole_step_is_that_of_torch(page, spiral):
    """The batch that the page made, its gradient, Adam and the average: all weights afterwards."""
    network = learnt({}, sigmoid()).requires_grad_(True)
    ask = f"""([model, schedule, recipe, points]) => {{
      {KIT}
      const seen = {{}}, listening = training({{ ...kit, halves: (text) => (seen.weights = kit.halves(text)) }});
      const pupil = listening.pupil({{ model, schedule, recipe, points, seed: 3 }}), before = seen.weights.slice();
      const batch = pupil.step();
      return {{ before: [...before], after: [...seen.weights], average: [...pupil.average],
        x: [...batch.x], times: [...batch.times], epsilon: [...batch.epsilon] }};
    }}"""
    recipe = drawing.drawing_payload()["recipe"]
    points = spiral.flatten().tolist()
    given = [payload.network_parts(network), payload.schedule_tables(network.schedule), recipe, points]
    found = {name: torch.tensor(numbers) for name, numbers in page.evaluate(ask, given).items()}
    weights = parameters(network)
    assert torch.equal(found["before"], flat(weights).detach())
    t = found["times"].repeat_interleave(TILE)
    x, epsilon = found["x"].reshape(-1, 2), found["epsilon"].reshape(-1, 2)
    clean = (x - (1 - network.schedule.alphas_cumprod[t]).sqrt().float().unsqueeze(1) * epsilon)[t < 400]
    clean /= network.schedule.alphas_cumprod[t[t < 400]].sqrt().float().unsqueeze(1)
    away = (clean.unsqueeze(1) - spiral).abs().amax(dim=2).amin(dim=1)
    assert away.max() < 1e-5, "they are points of the drawing"
    optimiser = torch.optim.Adam(weights, lr=recipe["learning_rate"] / (recipe["warmup"] + 1))
    (network.predict(x, t) - epsilon).square().mean().backward()
    optimiser.step()
    assert (found["after"] - flat(weights).detach()).abs().max() < 1e-5 * flat(weights).detach().abs().max()
    assert torch.equal(found["average"], found["after"]), "after one step the average is that step's"


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
def test_the_best_denoiser_is_the_lab_s(page, spiral, schedule):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(6)) * 1.5
    times = [0, 10, 100, 400, 700, 999]
    ask = f"""([points, schedule, x, times]) => {{
      {KIT}
      const best = school.bestDenoiser(points, schedule);
      return times.map((t) => {{
        const out = new Float64Array(x.length);
        best.epsilon(x, 0, x.length / 2, t, out);
        return [...out];
      }});
    }}"""
    points = spiral.flatten().tolist()
    found = page.evaluate(ask, [points, payload.schedule_tables(schedule), x.flatten().tolist(), times])
    exact = BestDenoiser(spiral, schedule)
    for t, answer in zip(times, found, strict=True):
        expected = exact.epsilon(x.double(), torch.tensor(t)).flatten()
        assert (torch.tensor(answer, dtype=torch.float64) - expected).abs().max() < 1e-7


def test_floor_and_excess_are_what_the_lab_calls_so(page, spiral):
    network = learnt({}, sigmoid())
    ask = f"""async ([model, schedule, points]) => {{
      {KIT}
      const exam = await school.examine(points, schedule, 1), asked = kit.network(model, schedule);
      return {{ floor: exam.floor, excess: exam.excess(asked), x: [...exam.x], t: exam.times, count: exam.count }};
    }}"""
    given = [payload.network_parts(network), payload.schedule_tables(network.schedule), spiral.flatten().tolist()]
    found = page.evaluate(ask, given)
    x, t = torch.tensor(found["x"]).reshape(-1, 2), torch.tensor(found["t"])
    assert len(x) == found["count"] == 2000
    t = t.repeat_interleave(len(x) // len(t))
    exact = BestDenoiser(spiral, network.schedule)
    expected = (network.epsilon(x, t) - exact.epsilon(x, t)).double().square().mean().item()
    assert found["excess"] == pytest.approx(expected, rel=1e-4)
    floor, error = mean_loss(exact, spiral, draws=20_000)
    assert abs(found["floor"] - floor) < 4 * error * (20_000 / len(x)) ** 0.5


def test_the_excess_falls(page, spiral):
    ask = f"""async ([task, points]) => {{
      {KIT}
      const exam = await school.examine(points, task.schedule, 1);
      const pupil = school.pupil({{ ...task, points, seed: 1 }}), found = [exam.excess(pupil.asked)];
      for (let part = 0; part < 2; part++) {{
        for (let step = 0; step < 200; step++) pupil.step();
        found.push(exam.excess(pupil.asked));
      }}
      return found;
    }}"""
    first, middle, last = page.evaluate(ask, [drawing.drawing_payload(), spiral.flatten().tolist()])
    assert last < middle < first
    assert last < 0.75 * first


def test_points_of_a_drawing_lie_on_its_lines(page):
    lines = [[[20, 30], [220, 30]], [[100, 100], [100, 200], [200, 200]], [[300, 250]]]
    ask = """([lines, n]) => {
      const points = scatter(lines, n, engine().random(1, 0));
      return [[...points], unitsOf(points)];
    }"""
    points, units = page.evaluate(ask, [lines, 20_000])
    points = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    pieces = [(a, b) for line in lines for a, b in zip(line, [*line[1:], line[-1]], strict=True)]
    away = []
    for a, b in torch.tensor(pieces, dtype=torch.float64):
        along = ((points - a) @ (b - a) / (b - a).square().sum().clamp(min=1)).clamp(0, 1)
        away.append((points - a - along.unsqueeze(1) * (b - a)).norm(dim=1))
    near, which = torch.stack(away).min(dim=0)
    assert near.max() <= 4 + 1e-9, "half of the pen's width"
    assert near.max() > 3.9
    ink = torch.tensor([208.0, 208.0, 8.0])  # lengths, and the pen's width for each beginning
    line = torch.tensor([0, 0, 1, 1, 1, 2])[which]
    assert (line.bincount() / 20_000 - ink / ink.sum()).abs().max() < 0.015
    right = Units.of(points)
    assert units["scale"] == pytest.approx(right.scale)
    assert units["shift"] == pytest.approx(right.shift.tolist())


def test_the_ready_drawings_lie_in_the_field(page):
    drawings = page.evaluate("() => READY")
    assert len(drawings) >= 3
    for lines in drawings.values():
        points = torch.tensor([point for line in lines for point in line])
        assert points.min() > 10
        assert (points < torch.tensor([390.0, 290.0])).all()


def test_a_notebook_shows_the_same_field(browser):
    """What JupyterLab is given, without JupyterLab: the module's `render`."""
    page = browser.new_page()
    page.set_content(f"<style>{DrawingField._css}</style><div id='cell'></div>")
    field = DrawingField()
    assert repr(field) == "DrawingField()"
    page.evaluate(
        """async ([module, payload]) => {
          const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
          const { default: widget } = await import(address);
          window.away = widget.render({ model: { get: () => payload }, el: document.getElementById("cell") });
        }""",
        [DrawingField._esm, field.payload],
    )
    page.get_by_label("Ready drawing").select_option("a heart")
    page.get_by_role("button", name="Train").click()
    page.get_by_text("steps a second").wait_for(timeout=120_000)
    page.evaluate("window.away()")
    assert page.locator("#cell *").count() == 0
    page.close()
