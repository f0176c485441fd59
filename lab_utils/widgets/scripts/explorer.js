// The explorer: choose a network and a way, watch points go from noise to data, and read what was measured.
//
// It is the same in JupyterLab and in a page of the report, and stands on engine.js and parts.js. `payload` is what
// `lab_utils.widgets.payload` writes.

/** What the page itself reads of the points that it shows, as `lab_utils.measure` does: in its units, and × real. */
function reading(x, { behind, spread, reach, means }) {
  const { nearest, blur, energy } = against(x, behind, spread);
  const stray = nearest.filter((one) => one > reach).length;
  const times = { blur: blur / means.blur, strays: stray / nearest.length / means.strays };
  if (means["energy distance"]) times["energy distance"] = energy / means["energy distance"];
  return { half: blur, stray, times };
}

/** Build the explorer in `root`; returns the function that takes it away. */
function liveExplorer(root, payload) {
  const kit = engine();
  const { points, models, schedules, samplers, shift, scale, extent, labels, readings } = payload;
  const real = { ...payload.real, behind: kit.singles(payload.real.points) };
  const axes = labels.map((label) => label.split(" / ")[0]);
  const units = labels.map((label) => (label.split(" / ")[1] ?? "").replace(/^(?=[^°])/, "\u00a0"));
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const unique = (list) => [...new Set(list)];
  const own = (x, side) => x[side] * scale + shift[side];

  // --- the controls

  const choice = (label, change) => {
    const select = make("select", { onchange: () => change() });
    return { select, row: make("label", { class: "live-choice" }, make("span", {}, label), select) };
  };
  const names = unique(models.map((model) => model.name));
  const kinds = unique(models.map((model) => model.schedule));
  const model = choice("Model", chosen);
  const schedule = choice("Schedule", chosen);
  const solver = choice("Solver", chosen);
  const number = choice("Steps", chosen);
  const fresh = make("button", { type: "button", class: "live-fresh", onclick: () => newNoise() }, "New noise");
  const play = make("button", { type: "button", onclick: () => toggle() }, "Play");
  const slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "Steps done", oninput: () => slid() });
  const place = make("span", { class: "live-place" });
  const follow = make("input", { type: "number", min: 1, max: points, step: 1, value: 1, oninput: () => settle() });
  const showReal = make("input", { type: "checkbox", onchange: () => draw() });
  const canvas = make("canvas", { role: "img", class: "live-map", onclick: (event) => clicked(event) });
  canvas.style.aspectRatio = (extent[1] - extent[0]) / (extent[3] - extent[2]);
  const says = make("p", { role: "status", class: "live-says" });
  const numbers = make("div", { class: "live-numbers" });

  function fill({ select, row }, options, wanted, gone = () => false) {
    const free = options.filter((option) => !gone(option));
    const value = free.some((option) => String(option) === String(wanted)) ? wanted : free[0];
    select.replaceChildren(
      ...options.map((option) => {
        const text = gone(option) ? `${option} (not trained)` : option;
        return make("option", { value: option, disabled: gone(option), selected: option === value }, String(text));
      }),
    );
    select.value = value;
    row.hidden = options.length < 2;
    return value;
  }

  /** What is chosen; choices that don't exist together give way to the first that do. */
  function selection() {
    const name = fill(model, names, model.select.value || names.at(-1));
    const trained = (kind) => models.some((one) => one.name === name && one.schedule === kind);
    const kind = fill(schedule, kinds, schedule.select.value, (other) => !trained(other));
    const ways = samplers[kind];
    const way = fill(solver, unique(ways.map((one) => one.name)), solver.select.value);
    const lengths = ways.filter((one) => one.name === way).map((one) => one.steps);
    const steps = fill(number, lengths, number.select.value || lengths[1]);
    number.row.hidden = false;
    return {
      network: models.findIndex((one) => one.name === name && one.schedule === kind),
      schedule: schedules[kind],
      sampler: ways.find((one) => one.name === way && String(one.steps) === String(steps)),
      key: [name, kind, way, steps].join("|"),
    };
  }

  // --- the points: `path[k]` holds all of them after k steps, once it has come

  let seed = 1;
  let job = 0;
  let now = selection();
  let path = [];
  let bounds = [];
  let come = [];
  let position = 0; // steps done, as they are shown; between two whole numbers while they move
  let goal = 0;
  let playing = false;
  let moving = 0; // the next frame's number, or 0
  let last = 0;
  let soon = 0;
  let began = 0;
  let took = 0; // milliseconds for the whole way
  const total = () => now.sampler.steps;
  const ready = () => Math.min(...come);
  const workers = crew(got, () => start());

  function got({ job: which, step, share, x }) {
    if (which !== job) return;
    path[step] ??= new Float32Array(2 * points);
    path[step].set(x, 2 * bounds[share]);
    come[share] = step;
    if (ready() === total()) took = performance.now() - began;
    wake();
  }

  /** Work out the way of what is chosen, and show it as far as `goal`. */
  function start() {
    job += 1;
    began = performance.now();
    path = [];
    bounds = workers.start(job, now.network, models[now.network], now.schedule, now.sampler, seed, points);
    come = bounds.slice(1).map((bound, share) => (bound > bounds[share] ? -1 : Infinity));
    slider.max = total();
    position = 0;
    underWay();
    wake();
  }

  function newNoise() {
    seed += 1;
    goal = total();
    playing = !still.matches;
    start();
  }

  function chosen() {
    const share = total() ? goal / total() : 1;
    now = selection();
    goal = Math.round(share * total());
    playing = false;
    start();
  }

  function toggle() {
    if (position < goal || !path[goal]) {
      playing = false;
      goal = Math.floor(position);
    } else {
      if (position >= total()) position = 0;
      goal = total();
      playing = !still.matches;
      underWay();
    }
    wake();
  }

  function slid() {
    playing = false;
    goal = Number(slider.value);
    if (path[goal]) position = goal;
    wake();
  }

  function clicked(event) {
    const shown = at(position);
    if (!shown) return;
    const box = canvas.getBoundingClientRect();
    const x = extent[0] + ((event.clientX - box.left) / box.width) * (extent[1] - extent[0]);
    const y = extent[3] - ((event.clientY - box.top) / box.height) * (extent[3] - extent[2]);
    let best = 0;
    let least = Infinity;
    for (let k = 0; k < points; k++) {
      const far = Math.hypot(own(shown.subarray(2 * k), 0) - x, own(shown.subarray(2 * k), 1) - y);
      if (far < least) [best, least] = [k, far];
    }
    follow.value = best + 1;
    settle();
  }

  /** The number of the point that is followed, from 0 on; −1 for none. */
  function chosenPoint() {
    const number = Number(follow.value) - 1;
    return Number.isInteger(number) && number < points ? Math.max(-1, number) : -1;
  }

  // --- the picture

  function wake() {
    moving ||= requestAnimationFrame(frame);
  }

  function frame(time) {
    moving = 0;
    const passed = Math.min(100, last ? time - last : 16) / 1000;
    const seconds = 2.5 + Math.log10(total()); // for the whole way
    const before = position;
    const furthest = Math.max(0, Math.min(goal, ready()));
    position = playing ? Math.min(furthest, position + (passed * total()) / seconds) : furthest;
    const there = position >= goal && Boolean(path[goal]);
    if (there) playing = false;
    last = there ? 0 : time;
    slider.value = Math.floor(position);
    slider.setAttribute("aria-valuetext", `${Math.floor(position)} of ${total()} steps done`);
    place.textContent = `step ${Math.floor(position)} of ${total()}`;
    play.textContent = there ? "Play" : "Pause";
    if (there || !still.matches) draw();
    if (there) settle();
    else if (position !== before || playing) wake(); // else the next step that comes does
  }

  /** The points after so many steps; between two of them, in a straight line from one to the other. */
  function at(steps) {
    const whole = Math.floor(steps);
    const from = path[whole];
    const to = path[whole + 1];
    if (!from || !to || steps === whole) return from;
    const part = steps - whole;
    return from.map((one, k) => one + part * (to[k] - one));
  }

  function draw() {
    const shown = at(position);
    const { pen, ratio, wide, high } = paper(canvas);
    const colour = colours(root);
    const across = (x) => ((x - extent[0]) / (extent[1] - extent[0])) * wide;
    const down = (y) => ((extent[3] - y) / (extent[3] - extent[2])) * high;
    const dots = (x, size, fill) => {
      pen.fillStyle = fill;
      for (let k = 0; k < x.length; k += 2) {
        const [right, under] = [across(x[k] * scale + shift[0]), down(x[k + 1] * scale + shift[1])];
        pen.fillRect(right - size / 2, under - size / 2, size, size);
      }
    };
    pen.fillStyle = colour("quiet");
    pen.font = `${Math.round(11 * ratio)}px system-ui, sans-serif`;
    for (const x of ticks(extent[0], extent[1], 5).slice(1)) {
      pen.textAlign = "center";
      pen.fillText(three(x) + units[0], across(x), high - 6 * ratio);
      pen.fillRect(across(x), high - 4 * ratio, ratio, 4 * ratio);
    }
    for (const y of ticks(extent[2], extent[3], 4).slice(1)) {
      pen.textAlign = "left";
      pen.fillText(three(y) + units[1], 8 * ratio, down(y) + 4 * ratio);
      pen.fillRect(0, down(y), 4 * ratio, ratio);
    }
    const size = Math.max(1.4, Math.min(2.6, canvas.clientWidth / 320)) * ratio;
    if (showReal.checked) dots(real.behind, 0.8 * size, colour("real"));
    if (!shown) return;
    dots(shown, size, colour("dot"));
    const followed = chosenPoint();
    if (followed < 0) return;
    const trail = path.slice(0, Math.floor(position) + 1).concat([shown]);
    const xs = trail.map((x) => across(x[2 * followed] * scale + shift[0]));
    const ys = trail.map((x) => down(x[2 * followed + 1] * scale + shift[1]));
    pen.strokeStyle = pen.fillStyle = colour("follow");
    pen.lineWidth = 1.3 * ratio;
    pen.lineJoin = "round";
    pen.beginPath();
    xs.forEach((x, k) => pen.lineTo(x, ys[k]));
    pen.stroke();
    pen.beginPath();
    pen.arc(xs[0], ys[0], 4 * ratio, 0, 7);
    pen.stroke();
    pen.beginPath();
    pen.arc(xs.at(-1), ys.at(-1), 4.5 * ratio, 0, 7);
    pen.fill();
  }

  // --- the words and the numbers

  const where = (x) => [0, 1].map((side) => `${axes[side]} ${three(own(x, side))}${units[side]}`).join(", ");

  function state() {
    const done = Math.floor(position);
    if (done === 0) return `Noise ${seed}, before the first of ${total()} steps: pure noise.`;
    if (done === total()) return `Noise ${seed}, after all ${total()} steps: finished.`;
    const share = kit.doubles(now.schedule.signal_scale)[now.sampler.timesteps[done]] ** 2;
    return `Noise ${seed}, after ${done} of ${total()} steps: ᾱ = ${three(share)}, so ${three(100 * share)} % of the variance is data.`;
  }

  function underWay() {
    says.textContent = `Noise ${seed} is on its way.`;
    measured(null);
  }

  /** Draw what stands still, and say soon what is seen; not at once, because a slider may be moving. */
  function settle() {
    draw();
    clearTimeout(soon);
    soon = setTimeout(tell, 120);
  }

  function tell() {
    if (position < goal || !path[goal]) return;
    const shown = path[position];
    const read = reading(shown, real);
    const said = [state()];
    said.push(
      `Half of the points lie within ${three(read.half * scale)}${units[0]} of a real one; ` +
        `half of ${real.others} other real points do within ${three(real.means.blur * scale)}${units[0]}.`,
    );
    said.push(
      `${read.stray || "None"} of the ${points} ${read.stray > 1 ? "are strays" : "is a stray"}; ` +
        `of as many real points it is ${three(real.means.strays * points)} on average.`,
    );
    const followed = chosenPoint();
    if (followed >= 0) {
      const from = path[0].subarray(2 * followed);
      const ways = position ? `; it began at ${where(from)}` : "";
      said.push(`Point ${followed + 1} is at ${where(shown.subarray(2 * followed))}${ways}.`);
    }
    says.textContent = said.join(" ");
    canvas.setAttribute("aria-label", `A map of ${points} points. ${says.textContent}`);
    measured(read);
  }

  /** The table, in multiples of what real points read: of these points by the page itself, and what was measured. */
  function measured(read) {
    const found = readings[now.key];
    const here = read ? read.times : {};
    const some = Object.keys(readings).length > 0; // where nothing was measured at all, there is no empty column
    const row = (head, ...cells) => make("tr", {}, head, ...cells.filter((cell) => cell));
    const cell = (text) => make("td", {}, text);
    const head = (scope, text) => make("th", { scope }, text);
    const rows = Object.keys(real.means).map((name) =>
      row(
        head("row", name),
        cell(name in here ? three(here[name]) : "–"),
        some && cell(found?.numbers[name] ?? "–"),
        cell(name in real.ranges ? real.ranges[name].map(three).join(" to ") : "1"),
      ),
    );
    const heads = row(
      cell(""),
      head("col", "these points"),
      some && head("col", "measured at the end"),
      head("col", "real points"),
    );
    numbers.replaceChildren(
      make(
        "table",
        {},
        make("caption", {}, "Multiples of what real points read"),
        make("thead", {}, heads),
        make("tbody", {}, ...rows),
      ),
      make("p", { hidden: !some }, found ? `Measured: ${found.source}` : "Nothing was measured for this choice."),
      make("p", {}, read ? `Your browser took ${three(took / 1000)} s for these ${total()} steps.` : "\u00a0"),
    );
  }

  // --- all of it together

  const ours = (event) => event.stopPropagation(); // JupyterLab would take the arrow keys for itself
  root.addEventListener("keydown", ours);
  const player = make("div", { class: "live-player" }, fresh, play, slider, place);
  const legend = make("legend", {}, "What samples");
  const fields = make("fieldset", {}, legend, model.row, schedule.row, solver.row, number.row);
  const seeing = make(
    "fieldset",
    {},
    make("legend", {}, "What you see"),
    make("label", { class: "live-choice" }, make("span", {}, "Follow point"), follow),
    make("label", { class: "live-check" }, showReal, `Show ${real.behind.length / 2} real points`),
  );
  root.classList.add("live");
  const stage = make("div", { class: "live-stage" }, canvas, player, says);
  const side = make("div", { class: "live-side" }, fields, seeing, numbers);
  root.replaceChildren(make("div", { class: "live-columns" }, stage, side));
  const sized = new ResizeObserver(() => draw());
  sized.observe(canvas);
  const repaint = () => draw();
  dark.addEventListener("change", repaint);
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    goal = total();
    playing = !still.matches;
    underWay();
    wake();
  });
  seen.observe(canvas); // nobody should miss the first movement
  start();

  return () => {
    seen.disconnect();
    clearTimeout(soon);
    workers.end();
    sized.disconnect();
    dark.removeEventListener("change", repaint);
    cancelAnimationFrame(moving);
    root.removeEventListener("keydown", ours);
    root.replaceChildren();
  };
}
