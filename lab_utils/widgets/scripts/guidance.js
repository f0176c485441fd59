// The guidance explorer: choose a class, slide w, and see where the points go, over the two laws that they might follow.
//
// It is the same in JupyterLab and in a page of the report, and stands on engine.js and parts.js. `payload` is what
// `lab_utils.widgets.guidance` writes.

const DENSEST = 0.98; // of the mass of a law lies in cells that are drawn paler than the darkest
const UNDER_WAY = "They are on their way.";
const SETS = 20; // of draws of a law, by which a reader sees what chance does

/**
 * Laws on a grid, in normalised units, as `lab_utils.exact.gridded` has them: the probability of each cell.
 *
 * `whole` is p(x), `part(c)` is p(x|c), and `powered(c, w)` is p(x)^(1−w) p(x|c)^w over its sum.
 */
function lawsOn({ grid, shares, laws }, kit) {
  const { extent, cells } = grid;
  const [columns, rows] = cells;
  const [width, height] = [(extent[1] - extent[0]) / columns, (extent[3] - extent[2]) / rows];
  const count = columns * rows;
  const all = kit.halves(laws);
  const logs = shares.map((_, c) => all.subarray(c * count, (c + 1) * count));

  /** Logarithms up to a constant → probabilities. */
  function whole(log) {
    const most = log.reduce((one, other) => Math.max(one, other));
    const mass = log.map((one) => Math.exp(one - most));
    const sum = mass.reduce((one, other) => one + other);
    return mass.map((one) => one / sum);
  }

  const joint = shares.map((share, c) => logs[c].map((log) => log + Math.log(share)));
  const logWhole = Float64Array.from({ length: count }, (_, k) => {
    const most = Math.max(...joint.map((log) => log[k]));
    return most + Math.log(joint.reduce((sum, log) => sum + Math.exp(log[k] - most), 0));
  });
  const likeliest = Uint8Array.from({ length: count }, (_, k) =>
    joint.reduce((best, log, c) => (log[k] > joint[best][k] ? c : best), 0),
  );

  /** The cell of the point number j; outside of the grid, the nearest at the edge. */
  function cell(x, j) {
    const column = Math.floor((x[2 * j] - extent[0]) / width);
    const row = Math.floor((x[2 * j + 1] - extent[2]) / height);
    return Math.min(rows - 1, Math.max(0, row)) * columns + Math.min(columns - 1, Math.max(0, column));
  }

  return {
    columns,
    rows,
    extent,
    part: (c) => whole(logs[c]),
    powered: (c, w) => whole(logWhole.map((log, k) => (1 - w) * log + w * logs[c][k])),

    /** The share of points in cells whose likeliest class is c; and of a law's mass. */
    share(x, c) {
      let found = 0;
      for (let j = 0; j < x.length / 2; j++) found += likeliest[cell(x, j)] === c;
      return found / (x.length / 2);
    },
    shareOf: (mass, c) => mass.reduce((sum, one, k) => sum + (likeliest[k] === c ? one : 0), 0),

    /** n points of a law, each anywhere in its cell; `random()` gives whole numbers of 32 bits. */
    draw(mass, n, random) {
      const chance = () => random() / 2 ** 32;
      let sum = 0;
      const until = mass.map((one) => (sum += one));
      const points = new Float32Array(2 * n);
      for (let j = 0; j < n; j++) {
        const place = chance() * sum;
        let [low, high] = [0, count - 1];
        while (low < high) {
          const middle = (low + high) >> 1;
          if (until[middle] <= place) low = middle + 1;
          else high = middle;
        }
        points[2 * j] = extent[0] + ((low % columns) + chance()) * width;
        points[2 * j + 1] = extent[2] + (Math.floor(low / columns) + chance()) * height;
      }
      return points;
    },
  };
}

/**
 * The energy distance of points from as many draws of a law, over what so many draws read on average: with E the mean
 * distance of two points of the law that is E/n + E/m, because each point's distance from itself counts, too, as 0.
 */
function timesRead(x, drawn) {
  const [n, m] = [x.length / 2, drawn.length / 2];
  const spread = between(drawn, drawn).mean;
  const expected = (spread * m) / (m - 1);
  return (2 * between(x, drawn).mean - spread - between(x, x).mean) / (expected / n + expected / m);
}

/** Build the explorer in `root`; returns the function that takes it away. */
function guidanceExplorer(root, payload) {
  const kit = engine();
  const laws = lawsOn(payload, kit);
  const { points, most, model, schedule, samplers, classes, kind, shift, scale, labels } = payload;
  const units = labels.map((label) => (label.split(" / ")[1] ?? "").replace(/^(?=[^°])/, "\u00a0"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // --- the controls

  const option = (name, value) => make("option", { value }, name);
  const choice = (label, names) => {
    const select = make("select", { onchange: () => chosen() }, ...names.map(option));
    return { select, row: make("label", { class: "live-choice" }, make("span", {}, label), select) };
  };
  const label = choice(`${kind[0].toUpperCase()}${kind.slice(1)}`, classes);
  const way = choice("Noise in the steps", samplers.map(({ name }) => name));
  const slider = make("input", { type: "range", min: 0, max: most, step: 0.1, value: 2, "aria-label": "w", oninput: () => chosen() });
  const shown = make("span", { class: "live-place" });
  const fresh = make("button", { type: "button", class: "live-fresh", onclick: () => newNoise() }, "Other noise");
  const world = make("input", { type: "checkbox", onchange: () => reframed() });
  const says = make("p", { role: "status", class: "live-says" });
  const numbers = make("div", { class: "live-numbers" });
  const maps = [0, 1].map(() => ({
    canvas: make("canvas", { role: "img", class: "live-map live-law" }),
    title: make("figcaption"),
  }));

  // --- what is chosen, and the points that come of it

  let seed = 1;
  let job = 0;
  let now = selection();
  let x = new Float32Array(0); // the points that are shown, normalised
  let got = x; // those that are coming, each share when it is done
  let waiting = true; // for them, while x is still of another choice
  let come = 0;
  let bounds = [];
  const hands = crew(arrived, () => start());

  function selection() {
    const [c, w] = [Number(label.select.value), Number(slider.value)];
    return { c, w, sampler: samplers[Number(way.select.value)], masses: [laws.part(c), laws.powered(c, w)] };
  }

  function start() {
    job += 1;
    come = 0;
    got = new Float32Array(2 * points);
    bounds = hands.start(job, 0, model, schedule, now.sampler, seed, points, { label: now.c, weight: now.w });
  }

  function arrived({ job: which, step, share, x: part }) {
    if (which !== job || step < now.sampler.timesteps.length) return;
    got.set(part, 2 * bounds[share]);
    come += part.length / 2;
    if (come < points) return;
    x = got;
    waiting = false;
    draw();
    tell();
  }

  function chosen() {
    now = selection();
    reframed();
    waiting = true;
    shown.textContent = `w = ${now.w.toFixed(1)}`;
    slider.setAttribute("aria-valuetext", now.w.toFixed(1));
    say(UNDER_WAY);
    start();
  }

  function newNoise() {
    seed += 1;
    chosen();
  }

  // --- the pictures

  let extent = payload.extent; // of the maps, in the data's own units

  /** The whole map, or the surroundings of the class that is asked for. */
  function reframed() {
    extent = world.checked ? payload.extent : payload.frames[now.c];
    for (const { canvas } of maps) canvas.style.aspectRatio = (extent[1] - extent[0]) / (extent[3] - extent[2]);
    draw();
    if (!waiting) tell();
  }

  const of = () => `p(x | ${classes[now.c]})`;

  function draw() {
    maps[0].title.replaceChildren(of());
    maps[1].title.replaceChildren("p(x)", make("sup", {}, "1−w"), ` ${of()}`, make("sup", {}, "w"), ", normalised");
    maps.forEach(({ canvas }, k) => paint(canvas, now.masses[k]));
  }

  function paint(canvas, mass) {
    const { pen, ratio, wide, high } = paper(canvas);
    const colour = colours(root);
    const across = (right) => ((right - extent[0]) / (extent[1] - extent[0])) * wide;
    const down = (up) => ((extent[3] - up) / (extent[3] - extent[2])) * high;
    const own = (place, side) => place * scale + shift[side];
    pen.imageSmoothingEnabled = true;
    const [left, right, bottom, top] = laws.extent.map((place, k) => own(place, k >> 1));
    pen.drawImage(shaded(mass, colour("law")), across(left), down(top), across(right) - across(left), down(bottom) - down(top));
    pen.fillStyle = colour("quiet");
    pen.font = `${Math.round(11 * ratio)}px system-ui, sans-serif`;
    for (const place of ticks(extent[0], extent[1], 5).slice(1)) {
      pen.textAlign = "center";
      pen.fillText(three(place) + units[0], across(place), high - 6 * ratio);
      pen.fillRect(across(place), high - 4 * ratio, ratio, 4 * ratio);
    }
    for (const place of ticks(extent[2], extent[3], 4).slice(1)) {
      pen.textAlign = "left";
      pen.fillText(three(place) + units[1], 8 * ratio, down(place) + 4 * ratio);
      pen.fillRect(0, down(place), 4 * ratio, ratio);
    }
    const size = Math.max(1.6, Math.min(2.6, canvas.clientWidth / 260)) * ratio;
    pen.fillStyle = colour(waiting ? "quiet" : "dot");
    for (let k = 0; k < x.length; k += 2) {
      pen.fillRect(across(own(x[k], 0)) - size / 2, down(own(x[k + 1], 1)) - size / 2, size, size);
    }
  }

  /** A small canvas with a pixel for each cell, the more opaque the more mass it has. */
  function shaded(mass, colour) {
    const canvas = make("canvas", { width: laws.columns, height: laws.rows });
    const pen = canvas.getContext("2d");
    pen.fillStyle = colour;
    pen.fillRect(0, 0, laws.columns, laws.rows);
    const image = pen.getImageData(0, 0, laws.columns, laws.rows);
    const sorted = mass.slice().sort();
    let [k, left] = [sorted.length - 1, 1 - DENSEST];
    while (k > 0 && left > sorted[k]) left -= sorted[k--];
    for (let row = 0; row < laws.rows; row++) {
      for (let column = 0; column < laws.columns; column++) {
        const one = mass[(laws.rows - 1 - row) * laws.columns + column];
        image.data[4 * (row * laws.columns + column) + 3] = 255 * Math.sqrt(Math.min(1, one / sorted[k]));
      }
    }
    pen.putImageData(image, 0, 0);
    return canvas;
  }

  // --- the words and the numbers

  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  /** What is to be known of the points that were asked for, for those who see the maps and for those who don't. */
  function say(text) {
    says.textContent = `${points} points of ${classes[now.c]}, w = ${now.w.toFixed(1)}, noise ${seed}. ${text}`;
    const densities = [of(), `p(x)^(1−w) ${of()}^w, normalised`];
    maps.forEach(({ canvas }, k) => {
      canvas.setAttribute("aria-label", `A map of the density ${densities[k]}, and of the points. ${says.textContent}`);
    });
  }

  /** What is read of the points that are shown, and of the two laws. */
  function tell() {
    const there = laws.share(x, now.c);
    const shares = now.masses.map((mass) => laws.shareOf(mass, now.c));
    const drawn = now.masses.map((mass) => laws.draw(mass, points, kit.random(1, 0)));
    const times = drawn.map((sample) => timesRead(x, sample));
    say(
      `${percent(there)} of them are in ${classes[now.c]}; of p(x | c) it is ${percent(shares[0])}, of the powered law ` +
        `${percent(shares[1])}. Their energy distance from p(x | c) is ${three(times[0])} times what as many draws of it ` +
        `read, from the powered law ${three(times[1])} times.${outside()}`,
    );
    const cell = (text) => make("td", {}, text);
    const head = (scope, text) => make("th", { scope }, text);
    const row = (name, ...texts) => make("tr", {}, head("row", name), ...texts.map(cell));
    numbers.replaceChildren(
      make(
        "table",
        {},
        make("caption", {}, `What is read of the ${points} points, and of the two laws`),
        make("thead", {}, make("tr", {}, cell(""), ...["these points", "p(x | c)", "powered law"].map((text) => head("col", text)))),
        make(
          "tbody",
          {},
          row(`in ${classes[now.c]}`, percent(there), ...shares.map(percent)),
          row("energy distance from it, × what as many draws of it read", "–", ...times.map(three)),
        ),
      ),
      make("p", {}, `Draws of p(x | c) read 1 on average; ${SETS} pairs of sets of them read ${spread(now.c).map(three).join(" to ")}.`),
    );
  }

  /** How many points the maps don't show. */
  function outside() {
    let found = 0;
    for (let j = 0; j < points; j++) {
      const [east, north] = [0, 1].map((side) => x[2 * j + side] * scale + shift[side]);
      found += east < extent[0] || east > extent[1] || north < extent[2] || north > extent[3];
    }
    return found ? ` ${found} of them lie outside of these maps.` : "";
  }

  const spreads = new Map(); // class → the lowest and the highest that two sets of its law read

  function spread(c) {
    if (!spreads.has(c)) {
      const set = (number) => laws.draw(now.masses[0], points, kit.random(number, 1));
      const times = Array.from({ length: SETS }, (_, k) => timesRead(set(2 * k), set(2 * k + 1)));
      spreads.set(c, [Math.min(...times), Math.max(...times)]);
    }
    return spreads.get(c);
  }

  // --- all of it together

  const ours = (event) => event.stopPropagation(); // JupyterLab would take the arrow keys for itself
  root.addEventListener("keydown", ours);
  root.classList.add("live");
  const figures = maps.map(({ canvas, title }) => make("figure", { class: "live-sheet" }, title, canvas));
  root.replaceChildren(
    make("div", { class: "live-pair" }, label.row, way.row),
    make("div", { class: "live-player" }, fresh, slider, shown),
    make("label", { class: "live-check" }, world, "Show the whole map"),
    make("div", { class: "live-pair" }, ...figures),
    says,
    numbers,
  );
  const repaint = () => draw();
  const sized = new ResizeObserver(repaint);
  for (const { canvas } of maps) sized.observe(canvas);
  dark.addEventListener("change", repaint);
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    chosen();
  });
  reframed();
  say(UNDER_WAY);
  seen.observe(slider); // in a long page nothing is worked out before somebody comes here

  return () => {
    seen.disconnect();
    hands.end();
    sized.disconnect();
    dark.removeEventListener("change", repaint);
    root.removeEventListener("keydown", ours);
    root.replaceChildren();
  };
}
