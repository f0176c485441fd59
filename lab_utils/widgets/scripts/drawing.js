// Draw your own: the reader draws, the small network learns it in the browser, and its excess falls.
//
// It stands on engine.js, parts.js and training.js. `payload` is what `lab_utils.widgets.drawing` writes.

const FRAME = [400, 300]; // the drawing's own units, from the upper left corner
const PEN = 8; // units: how wide a line is, as in notebook 7
const SECONDS = 30; // that a training runs, until it is told to go on
const TELL = 10; // seconds between two sentences for those who listen

/** What can be chosen instead of drawn: lines, each a list of points. */
const READY = (() => {
  const { PI, cos, sin } = Math;
  const curve = (from, to, at) => Array.from({ length: 101 }, (_, k) => at(from + ((to - from) * k) / 100));
  const circle = (x, y, r, from = 0, to = 2 * PI) => curve(from, to, (a) => [x + r * cos(a), y + r * sin(a)]);
  const heart = (a) => [16 * sin(a) ** 3, 13 * cos(a) - 5 * cos(2 * a) - 2 * cos(3 * a) - cos(4 * a)];
  return {
    "a heart": [curve(0, 2 * PI, heart).map(([x, y]) => [200 + 7.5 * x, 132 - 7.5 * y])],
    "a spiral": [curve(0, 6 * PI, (a) => [200 + (4 + 6.5 * a) * cos(a), 150 + (4 + 6.5 * a) * sin(a)])],
    "the letter A": [
      [[110, 265], [200, 35], [290, 265]],
      [[145, 180], [255, 180]],
    ],
    "a face": [circle(200, 150, 120), circle(160, 115, 9), circle(240, 115, 9), circle(200, 155, 62, 0.15 * PI, 0.85 * PI)],
  };
})();

/** Draw n points from lines: anywhere along them, and anywhere within the pen's width. */
function scatter(lines, n, whole) {
  const chance = () => whole() / 2 ** 32;
  const parts = [];
  let ink = 0; // a line's first point has as much as the pen is wide: so a single dot is something, too
  for (const line of lines) {
    line.forEach((to, k) => {
      const from = line[Math.max(0, k - 1)];
      ink += k ? Math.hypot(to[0] - from[0], to[1] - from[1]) : PEN;
      parts.push({ from, to, ink });
    });
  }
  const points = new Float64Array(2 * n);
  let part = 0;
  Float64Array.from({ length: n }, () => chance() * ink).sort().forEach((place, k) => {
    while (parts[part].ink < place) part++;
    const { from, to } = parts[part];
    const [along, angle, radius] = [chance(), 2 * Math.PI * chance(), (PEN / 2) * Math.sqrt(chance())]; // even over a disc
    points[2 * k] = from[0] + along * (to[0] - from[0]) + radius * Math.cos(angle);
    points[2 * k + 1] = from[1] + along * (to[1] - from[1]) + radius * Math.sin(angle);
  });
  return points;
}

/** The shift and the one scale in which points have mean 0 and variances that sum to 2. */
function unitsOf(points) {
  const mean = (of) => points.reduce((sum, one, k) => sum + of(one, k), 0) / (points.length / 2);
  const shift = [0, 1].map((side) => mean((one, k) => (k % 2 === side ? one : 0)));
  const scale = Math.sqrt(mean((one, k) => (one - shift[k % 2]) ** 2) / 2);
  return { shift, scale, normalise: (own) => Float32Array.from(own, (one, k) => (one - shift[k % 2]) / scale) };
}

/** Who trains. `got` and `again` are as for `workers`. */
function trainee(got, again) {
  const source = `(post) => { ${between}; ${against}; return (${training})((${engine})()).serve(post); }`;
  const { all, end } = workers(1, source, (post) => training(engine()).serve(post), got, again);
  return { ask: (asked) => all()[0].ask(asked), end };
}

/** Build the field in `root`; returns the function that takes it away. */
function drawOwn(root, payload) {
  const kit = engine();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let lines = [];
  let drawing = false; // a line is under way
  let training = false;
  let begun = false; // the one who trains knows the drawing
  let tries = 0;
  let job = 0;
  let units = null;
  let course = []; // what was told of the training, in its order
  let shown = null; // the last points, and what they read
  let ranges = null; // what real points read
  let told = 0;

  // --- the controls

  const sheet = (name) => make("canvas", { role: "img", class: `live-map live-${name}` });
  const [field, points, chart] = ["field", "points", "chart"].map(sheet);
  const button = (text, act) => make("button", { type: "button", onclick: act }, text);
  const train = button("Train", () => (training ? stop() : begin()));
  train.classList.add("live-fresh");
  const anew = button("Start anew", () => restart());
  const clear = button("Clear", () => take([]));
  const ready = make(
    "select",
    { "aria-label": "Ready drawing", onchange: () => take(READY[ready.value] ?? []) },
    make("option", { value: "" }, "Ready drawing …"),
    ...Object.keys(READY).map((name) => make("option", { value: name }, name)),
  );
  const says = make("p", { role: "status", class: "live-says" });
  const numbers = make("div", { class: "live-numbers" });
  const trainer = trainee(got, () => {
    begun = false;
    if (training) begin();
  });

  function take(chosen) {
    lines = chosen.map((line) => line.map((point) => [...point]));
    changed();
  }

  /** The drawing is another one: what was learnt is of no use any more. */
  function changed() {
    forget();
    const many = lines.length === 1 ? "1 line is" : `${lines.length} lines are`;
    tell(lines.length ? `${many} drawn. Press Train.` : "Draw in the field with mouse or finger, or choose a ready drawing.");
  }

  function forget() {
    job += 1;
    trainer.ask({ job });
    [begun, training, course, shown, ranges] = [false, false, [], null, null];
    repaint();
  }

  function restart() {
    forget();
    begin();
  }

  function begin() {
    job += 1;
    training = true;
    told = 0;
    const { model, schedule, sampler, recipe, count, sets } = payload;
    const asked = { job, seconds: SECONDS };
    if (!begun) {
      const draw = (n, number) => scatter(lines, n, kit.random(1, number)); // each set by a chance of its own
      const own = draw(count, 0);
      units = unitsOf(own);
      const real = Array.from({ length: sets.number }, (_, k) => units.normalise(draw(sets.count, k + 1)));
      tries += 1;
      const begin = { model, schedule, sampler, recipe, real, count: sets.count, points: units.normalise(own), seed: tries };
      asked.begin = begin;
    }
    tell(`The network trains for ${SECONDS} seconds.`);
    trainer.ask(asked);
    repaint();
  }

  function stop() {
    training = false;
    if (begun) {
      job += 1;
      trainer.ask({ job, seconds: 0 });
      repaint();
    } else forget();
  }

  function got(said) {
    if (said.job !== job) return;
    if (said.ranges) {
      begun = true;
      ranges = said.ranges;
    }
    if (said.x) shown = { x: said.x, times: said.times };
    if (said.excess !== undefined) course.push(said);
    const seconds = said.milliseconds / 1000;
    if (said.done) {
      training = false;
      tell(`The training stands still. ${sofar()}`);
    } else if (training && seconds >= told + TELL) {
      told = seconds;
      tell(sofar());
    }
    repaint();
  }

  /** Where the pointer is, in the drawing's own units. */
  const place = (event) => {
    const box = field.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * FRAME[0], ((event.clientY - box.top) / box.height) * FRAME[1]];
  };
  const inside = ([x, y]) => [Math.max(0, Math.min(FRAME[0], x)), Math.max(0, Math.min(FRAME[1], y))];

  // A line begins, goes on and ends.
  field.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    field.setPointerCapture(event.pointerId);
    drawing = true;
    ready.value = "";
    lines.push([inside(place(event))]);
    changed();
  });
  field.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    const line = lines.at(-1);
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const [x, y] = inside(place(one));
      if (Math.hypot(x - line.at(-1)[0], y - line.at(-1)[1]) > 1) line.push([x, y]);
    }
    repaint();
  });
  for (const end of ["pointerup", "pointercancel"]) field.addEventListener(end, () => (drawing = false));

  // --- the pictures

  let due = 0;

  function repaint() {
    due ||= requestAnimationFrame(() => {
      due = 0;
      paint();
    });
  }

  function paint() {
    train.textContent = training ? "Stop" : course.length ? "Go on" : "Train";
    train.disabled = clear.disabled = !lines.length;
    anew.disabled = !course.length;
    const colour = colours(root);
    const onFrame = (canvas, strokes) => {
      const { pen, ratio, wide } = paper(canvas);
      const scale = wide / FRAME[0];
      pen.lineWidth = PEN * scale;
      pen.lineCap = pen.lineJoin = "round";
      pen.strokeStyle = colour(strokes);
      for (const line of lines) {
        pen.beginPath();
        pen.moveTo(line[0][0] * scale, line[0][1] * scale);
        for (const [x, y] of line) pen.lineTo(x * scale, y * scale);
        pen.stroke();
      }
      return { pen, ratio, scale };
    };
    const { pen, ratio, scale } = onFrame(field, "dot");
    if (!lines.length) {
      pen.fillStyle = colour("quiet");
      pen.font = `${Math.round(18 * ratio)}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.fillText("Draw here", (FRAME[0] * scale) / 2, (FRAME[1] * scale) / 2);
    }
    field.setAttribute("aria-label", `The field to draw in: ${lines.length} lines.`);
    const beside = onFrame(points, "real");
    if (shown) {
      const size = Math.max(1.6, Math.min(2.6, points.clientWidth / 220)) * ratio;
      beside.pen.fillStyle = colour("dot");
      for (let k = 0; k < shown.x.length; k += 2) {
        const [x, y] = [0, 1].map((side) => (shown.x[k + side] * units.scale + units.shift[side]) * scale - size / 2);
        beside.pen.fillRect(x, y, size, size);
      }
    }
    const what = shown ? `${payload.sets.count} points from the network. ${sofar()}` : "No points from the network yet.";
    points.setAttribute("aria-label", what);
    plot(colour);
    table();
  }

  /** The excess along the steps, on a log scale. */
  function plot(colour) {
    const { pen, ratio, wide, high } = paper(chart);
    chart.setAttribute("aria-label", course.length ? `The excess along the training. ${sofar()}` : "No excess measured yet.");
    if (!course.length) return;
    const [left, right, top, bottom] = [48, 14, 12, 26].map((side) => side * ratio);
    const logs = course.map(({ excess }) => Math.log10(excess));
    const [low, up] = [Math.min(...logs) - 0.1, Math.max(...logs) + 0.1];
    const last = Math.max(course.at(-1).steps, 1);
    const across = (taken) => left + (taken / last) * (wide - left - right);
    const down = (log) => top + ((up - log) / (up - low)) * (high - top - bottom);
    pen.font = `${Math.round(11 * ratio)}px system-ui, sans-serif`;
    pen.fillStyle = colour("quiet");
    pen.strokeStyle = colour("line");
    pen.lineWidth = ratio;
    const rule = (x0, y0, x1, y1) => {
      pen.beginPath();
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
      pen.stroke();
    };
    pen.textAlign = "right";
    for (let power = Math.floor(low); power <= up; power++) {
      for (const times of [1, 2, 3, 5, 7]) {
        const log = power + Math.log10(times);
        if (log < low || log > up) continue;
        rule(left, down(log), wide - right, down(log));
        pen.fillText(three(10 ** log), left - 6 * ratio, down(log) + 4 * ratio);
      }
    }
    pen.textAlign = "center";
    for (const taken of ticks(0, last, 4)) pen.fillText(three(taken), across(taken), high - 8 * ratio);
    pen.strokeStyle = pen.fillStyle = colour("follow");
    pen.lineWidth = 2 * ratio;
    pen.beginPath();
    course.forEach(({ steps }, k) => pen.lineTo(across(steps), down(logs[k])));
    pen.stroke();
    pen.beginPath();
    pen.arc(across(course.at(-1).steps), down(logs.at(-1)), 3 * ratio, 0, 7);
    pen.fill();
  }

  // --- the words and the numbers

  function tell(text) {
    says.textContent = text;
  }

  function sofar() {
    const { steps, excess, floor } = course.at(-1);
    const from = course.length > 1 ? `fell from ${three(course[0].excess)} to` : "is";
    const read = shown ? ` Blur is ${three(shown.times.blur)} × real, energy distance ${three(shown.times.energy)} × real.` : "";
    return `After ${steps} steps the excess ${from} ${three(excess)}, over a floor of ${three(floor)}.${read}`;
  }

  function table() {
    const last = course.at(-1);
    const cell = (text) => make("td", {}, text);
    const row = (name, ...texts) => make("tr", {}, make("th", { scope: "row" }, name), ...texts.map(cell));
    const heads = ["", "this network", "beside it"].map((text) => (text ? make("th", { scope: "col" }, text) : cell("")));
    const read = (name) => [
      shown ? `${three(shown.times[name])} × real` : "–",
      `real points: ${ranges ? ranges[name].map(three).join(" to ") : "–"}`,
    ];
    const epochs = last && (last.steps * payload.recipe.batch_size) / payload.count;
    const speed = last && (1000 * last.steps) / last.milliseconds;
    const notes = [
      last ? `The floor, which is the loss of the best denoiser, is ${three(last.floor)}. It and the excess are measured on ${last.on} noised points.` : "",
      last?.steps
        ? `${last.steps} steps of ${payload.recipe.batch_size} points are ${three(epochs)} epochs. Your browser makes ${three(speed)} steps a second.`
        : "",
    ];
    numbers.replaceChildren(
      make(
        "table",
        {},
        make("caption", {}, "What the network has learnt"),
        make("thead", {}, make("tr", {}, ...heads)),
        make(
          "tbody",
          {},
          row("excess over the floor", last ? three(last.excess) : "–", "best denoiser: 0"),
          row("blur", ...read("blur")),
          row("energy distance", ...read("energy")),
        ),
      ),
      ...notes.filter((text) => text).map((text) => make("p", {}, text)),
    );
  }

  // --- all of it together

  const ours = (event) => event.stopPropagation(); // JupyterLab would take the arrow keys for itself
  root.addEventListener("keydown", ours);
  root.classList.add("live");
  const figure = (canvas, text) => make("figure", { class: "live-sheet" }, make("figcaption", {}, text), canvas);
  root.replaceChildren(
    make(
      "div",
      { class: "live-pair" },
      make("div", {}, figure(field, "Your drawing"), make("div", { class: "live-player" }, train, anew, ready, clear)),
      figure(points, `${payload.sets.count} points from the network, in ${payload.sampler.timesteps.length} steps`),
    ),
    says,
    make("div", { class: "live-pair" }, figure(chart, "Excess over the floor, along the steps of the training"), numbers),
  );
  const sized = new ResizeObserver(() => repaint());
  for (const canvas of [field, points, chart]) sized.observe(canvas);
  dark.addEventListener("change", repaint);
  changed();

  return () => {
    trainer.end();
    sized.disconnect();
    dark.removeEventListener("change", repaint);
    cancelAnimationFrame(due);
    root.removeEventListener("keydown", ours);
    root.replaceChildren();
  };
}
