"""Insert the exercises into the notebooks (once). Anchors: the text of the cell after which they go."""
import sys
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

def task(number, key, title, text, hint, solution):
    return dict(number=number, key=key, title=title, text=text, hint=hint, solution=solution)

EX = {
"01_noise_schedules": [
 ("Don't believe the shortcut", 1, [
  task("1.1", "q_step", "one noising step", r"""Write one noising step yourself. It is given points, one $\beta$ and a generator of random numbers, and returns the points as they
are one step later. Draw the noise with `torch.randn(x.shape, generator=generator)`.""",
  r"""Two terms: the points, shrunk, and the noise, scaled. What are their *variances*, and what do you multiply a number by to change
its variance by a factor?""",
'''def q_step(x, beta, generator):
    """(n, 2) points → the points after one more noising step."""
    ### BEGIN SOLUTION
    noise = torch.randn(x.shape, generator=generator)
    return (1 - beta) ** 0.5 * x + beta**0.5 * noise
    ### END SOLUTION'''),
  task("1.2", "q_sample", "all of them at once", r"""Now the shortcut: from $x_0$ to $x_t$ in one go. `alphas_cumprod[t]` is $\bar\alpha$ after the step number t.""",
  r"""It is the formula with $\bar\alpha_t$ above. The two factors' squares add up to 1.""",
'''def q_sample(x_0, t, alphas_cumprod, generator):
    """(n, 2) data points → the same points after the steps 0 … t."""
    ### BEGIN SOLUTION
    kept = alphas_cumprod[t]
    noise = torch.randn(x_0.shape, generator=generator)
    return kept.sqrt() * x_0 + (1 - kept).sqrt() * noise
    ### END SOLUTION'''),
 ]),
 ("That is the *schedule doctor*", 0, [
  task("1.3", "wasted", "a number of the doctor's", r"""Work out yourself which share of the steps is wasted: those with $\bar\alpha < 0.01$.""",
  r"""A comparison of a tensor with a number gives a tensor of True and False; their mean, as floats, is the share of True.""",
'''def wasted(alphas_cumprod):
    """(T,) ᾱ → the share of the steps in which it is below 0.01, a number from 0 to 1."""
    ### BEGIN SOLUTION
    return float((alphas_cumprod < 0.01).double().mean())
    ### END SOLUTION'''),
 ]),
 ("The doctor's warning is about the last noising step", -1, [
  task("1.4", "alphas_and_betas", "from ᾱ back to α and β", r"""Who draws the curve of $\bar\alpha$, as the report does, needs $\alpha$ and $\beta$ from it. Derive both, for any schedule. They
are (T,) tensors in float64, as $\bar\alpha$ is.""",
  r"""$\alpha_t$ is the factor by which $\bar\alpha$ falls in the step t. What is $\bar\alpha$ before the first step?""",
'''def alphas_and_betas(alphas_cumprod):
    """(T,) ᾱ → α and β, both (T,)."""
    ### BEGIN SOLUTION
    before = torch.cat([torch.ones(1), alphas_cumprod[:-1]])
    alphas = alphas_cumprod / before
    return alphas, 1 - alphas
    ### END SOLUTION'''),
 ]),
],
}
EX["02_model_shape_check"] = [
 ("What is inside", 1, [
  task("2.1", "waves", "coordinates as waves", r"""The network sees each coordinate $x$ as $\sin \omega x$ and $\cos \omega x$ for several frequencies $\omega$. Write that: first all
sines, those of the first coordinate before those of the second, then all cosines in the same order.""",
  r"""`x.unsqueeze(-1) * omega` has the shape (n, 2, k), with one angle for each point, coordinate and frequency. `flatten(1)` keeps the points
apart and puts the rest in a row.""",
'''def waves(x, omega):
    """(n, 2) points and (k,) frequencies → (n, 4k): sines, then cosines."""
    ### BEGIN SOLUTION
    angles = (x.unsqueeze(-1) * omega).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
    ### END SOLUTION'''),
 ]),
 ("EXERCISE 2.2", 0, [
  task("2.2", "time_matters", "a check of your own", r"""A network that doesn't hear the time can be found by asking it twice. Write the check: the largest change of its answer, over all
points and both coordinates, when the time goes from the first timestep to the last.""",
  r"""`model(x, torch.tensor([0]))` asks about all points at the first timestep. Which is the number of the last one, if there are T? And a change of
−5 is a change, too.""",
'''def time_matters(model, x, timesteps):
    """A model and (n, 2) points → the largest change of its answer from t = 0 to the last t."""
    ### BEGIN SOLUTION
    first = model(x, torch.tensor([0]))
    last = model(x, torch.tensor([timesteps - 1]))
    return float((last - first).abs().max())
    ### END SOLUTION'''),
  task("2.3", "silent_loss", "how bad is silence?", r"""The loss is the mean squared error of the predicted noise, over points and coordinates. What is it, on average, of a network that
always answers 0? Think first, don't measure; the table below has the answer.""",
  r"""Its error is the noise itself: $\mathbb{E}\,\epsilon^2$ for a standard normal $\epsilon$.""",
'''def silent_loss():
    """The expected loss of a network that always answers 0."""
    ### BEGIN SOLUTION
    return 1.0
    ### END SOLUTION'''),
 ]),
]
EX["03_training"] = [
 ("The training of a diffusion model is short", 0, [
  task("3.1", "loss", "the loss of a batch", r"""Write the loss of one batch, as the mean over all points and both coordinates. The network is called as `network(x_t, t)`; `t` has one
timestep for each point, so `alphas_cumprod[t]` has the shape (n,), and has to become a column.""",
  r"""Noise the points as in exercise 1.2, with `alphas_cumprod[t].unsqueeze(1)`; then it is one line.""",
'''def loss(network, x_0, t, noise, alphas_cumprod):
    """(n, 2) data, (n,) timesteps, (n, 2) noise → the mean squared error of the predicted noise."""
    ### BEGIN SOLUTION
    kept = alphas_cumprod[t].unsqueeze(1)
    x_t = kept.sqrt() * x_0 + (1 - kept).sqrt() * noise
    return (network(x_t, t) - noise).square().mean()
    ### END SOLUTION'''),
 ]),
 ("Here is the whole recipe", 1, [
  task("3.2", "ema", "the moving average", r"""After each step of the optimiser the average moves a little towards the new weights. With a `decay` of 0.9995 it keeps 0.9995 of itself.
Write one such move.""",
  r"""The two shares add up to 1.""",
'''def ema(average, weights, decay):
    """The average after one more step; all tensors of one shape."""
    ### BEGIN SOLUTION
    return decay * average + (1 - decay) * weights
    ### END SOLUTION'''),
 ]),
 ("Read the table", -1, [
  task("3.3", "avoidable", "what could go away?", r"""Given a loss and its floor: which share of the loss could training still take away?""",
  r"""What lies above the floor, over the whole.""",
'''def avoidable(loss, floor):
    """A share, from 0 to 1."""
    ### BEGIN SOLUTION
    return (loss - floor) / loss
    ### END SOLUTION'''),
 ]),
]
EX["04_sampling_and_comparison"] = [
 ("A reverse step takes out of", 0, [
  task("4.1", "reverse_mean", "one step back", r"""Write the first part of the step, without the new noise. `epsilon` is what the network has found in `x_t`.""",
  r"""$\alpha_t = 1 - \beta_t$. Note which symbols have a bar.""",
'''def reverse_mean(x_t, epsilon, t, betas, alphas_cumprod):
    """(n, 2) points at step t and the noise seen in them → their mean one step earlier."""
    ### BEGIN SOLUTION
    taken = betas[t] / (1 - alphas_cumprod[t]).sqrt()
    return (x_t - taken * epsilon) / (1 - betas[t]).sqrt()
    ### END SOLUTION'''),
  task("4.2", "posterior_variance", "how much new noise?", r"""The smaller of the two variances is that of the true reverse step if the data were one point (Ho et al. 2020, eq. 7):

$$\tilde\beta_t = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\, \beta_t .$$

Write it for all steps at once. Before the first step $\bar\alpha$ is 1.""",
  r"""Shift $\bar\alpha$ by one place, with a 1 in front.""",
'''def posterior_variance(betas, alphas_cumprod):
    """(T,) β and ᾱ → the (T,) variances."""
    ### BEGIN SOLUTION
    before = torch.cat([torch.ones(1), alphas_cumprod[:-1]])
    return betas * (1 - before) / (1 - alphas_cumprod)
    ### END SOLUTION'''),
  task("4.3", "sampling_loop", "all steps back", r"""Now the whole loop, with the other variance, $\beta_t$. `noises[t]` is the new noise of the step t, so that your result can be compared. Use
`reverse_mean`; the last step, t = 0, adds no noise.""",
  r"""`range(T - 1, -1, -1)` counts down to 0. The network wants a tensor: `epsilon(x, torch.tensor([t]))`.""",
'''def sampling_loop(epsilon, x_T, noises, schedule):
    """(n, 2) noise → (n, 2) points, by all steps of the schedule."""
    ### BEGIN SOLUTION
    x = x_T
    for t in range(schedule.timesteps - 1, -1, -1):
        found = epsilon(x, torch.tensor([t]))
        x = reverse_mean(x, found, t, schedule.betas, schedule.alphas_cumprod)
        if t > 0:
            x = x + schedule.betas[t].sqrt() * noises[t]
    return x
    ### END SOLUTION'''),
 ]),
 ("A thousand looks at the network", 0, [
  task("4.4", "ddim_step", "a long step", r"""A step of DDIM without noise: estimate the data from $x_t$ and the noise found in it, then noise that estimate, with *the same* noise, to
where the step ends. `now` and `after` are $\bar\alpha$ at both ends.""",
  r"""$x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1-\bar\alpha_t}\, \epsilon$; solve it for $x_0$, then use it once more.""",
'''def ddim_step(x_t, epsilon, now, after):
    """(n, 2) points at ᾱ = now → the same points at ᾱ = after."""
    ### BEGIN SOLUTION
    x_0 = (x_t - (1 - now) ** 0.5 * epsilon) / now**0.5
    return after**0.5 * x_0 + (1 - after) ** 0.5 * epsilon
    ### END SOLUTION'''),
 ]),
]
EX["05_why_the_loss_hardly_falls"] = [
 ("The network sees a noised point", 0, [
  task("5.1", "best_epsilon", "the best answer", r"""Write the best denoiser for one $\bar\alpha$: noised points, all data points, one number `kept` for $\bar\alpha$. It fits into three lines.""",
  r"""`(x_t.unsqueeze(1) - centres).square().sum(2)` has the squared distance of each noised point from each centre. Where are the centres, when the
data have shrunk? `torch.softmax(..., dim=1)` makes each row add up to 1.""",
'''def best_epsilon(x_t, points, kept):
    """(n, 2) noised points and (N, 2) data → (n, 2), the mean of the noise that may be in them."""
    ### BEGIN SOLUTION
    squared = (x_t.unsqueeze(1) - kept**0.5 * points).square().sum(2)
    weights = torch.softmax(-squared / (2 * (1 - kept)), dim=1)
    return (x_t - kept**0.5 * weights @ points) / (1 - kept) ** 0.5
    ### END SOLUTION'''),
  task("5.2", "excess", "the part that training can change", r"""The excess is how far the network's answers are from the best ones, squared, as a mean over points and coordinates.""",
  r"""It is the loss with the best answer in the place of the noise.""",
'''def excess(answers, best):
    """Two (n, 2) tensors of answers to the same questions → a number."""
    ### BEGIN SOLUTION
    return (answers - best).square().mean()
    ### END SOLUTION'''),
 ]),
 ("How much of it? Notebook 4 counted the samples", 0, [
  task("5.3", "copied_share", "how much is copied?", r"""Solve the formula above for $\kappa$.""",
  r"""Take the 1 away first.""",
'''def copied_share(multiple, train, held_out):
    """What "copies" reads, and the numbers of points → the share of the samples that are copies."""
    ### BEGIN SOLUTION
    return (multiple - 1) * train / held_out
    ### END SOLUTION'''),
 ]),
]

def cells(t):
    grade = f"exercise-{t['number'].replace('.', '-')}"
    text = f"#### Your turn {t['number']}: {t['title']}\n\n{t['text']}\n\n<details><summary>A hint</summary>\n\n{t['hint']}\n\n</details>"
    solution = {"nbgrader": {"schema_version": 3, "grade": False, "grade_id": grade, "locked": False, "solution": True, "task": False}, "jupyter": {"source_hidden": True}, "tags": ["solution"]}
    check = {"nbgrader": {"schema_version": 3, "grade": True, "grade_id": grade + "-check", "locked": True, "solution": False, "task": False, "points": 1}, "tags": ["check"]}
    key = t["key"]
    return [new_markdown_cell(text), new_code_cell(t["solution"], metadata=solution), new_code_cell(f"checks.{key}({key})", metadata=check)]

def main(folder):
    for name, groups in EX.items():
        path = f"{folder}/{name}.ipynb"
        nb = nbformat.read(path, 4)
        for anchor, offset, tasks in groups:
            where = [i for i, c in enumerate(nb.cells) if anchor in c.source]
            print(name, anchor[:30], where)
            if not where:
                continue
            at = where[0] + 1 + max(offset, 0) if offset >= 0 else where[0]
            nb.cells[at:at] = [cell for t in tasks for cell in cells(t)]
        nbformat.write(nb, path)

if __name__ == "__main__":
    main(sys.argv[1])
