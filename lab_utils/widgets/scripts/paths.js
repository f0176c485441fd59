// Two languages: the same cloud as diffusion speaks of it and as flow matching does, with the exact arrows of both.
//
// It stands on engine.js and parts.js. `payload` is what `lab_utils.widgets.paths` writes.

const REACH = 3.4; // normalised units: each map shows as much on each side of the middle
const PART = 0.4; // of the way to the best guess is drawn, so that arrows don't end on each other

/** What data and noise are multiplied by at the place s: in the language of diffusion, and on the straight path. */
function scalesAt(s) {
  const whole = Math.hypot(1 - s, s);
  return { left: [(1 - s) / whole, s / whole], right: [1 - s, s], ratio: 1 / whole };
}

/** Build the explorer in `root`; returns the function that takes it away. */
function twoLanguages(root, payload) {
  const kit = engine();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const { places, grid } = payload;
  const x = kit.singles(payload.points);
  const n = x.length / 2;
  const guesses = kit.halves(payload.guesses); // of the data, for each place but 0 and each node of the grid
  const nodes = grid.flatMap((right) => grid.map((up) => [right, up]));
  const sides = ["left", "right"];
  let seed = 1;
  let noise = null;
  let due = 0;
  let soon = 0;

  // --- the controls

  const slider = make("input", {
    type: "range", min: 0, max: places.length - 1, step: 1, value: Math.floor(places.length / 2),
    "aria-label": "Place s on the straight path, from the data to the noise", oninput: () => changed(),
  });
  const place = make("span", { class: "live-place" });
  const fresh = make("button", { type: "button", onclick: () => otherNoise(seed + 1) }, "Other noise");
  const follow = make("input", { type: "number", min: 1, max: n, step: 1, value: 1, oninput: () => changed() });
  const arrows = make("input", { type: "checkbox", checked: true, onchange: () => changed() });
  const canvases = Object.fromEntries(
    sides.map((side) => [
      side,
      make("canvas", { role: "img", class: "live-map live-square", onclick: (event) => clicked(event, side) }),
    ]),
  );
  const says = make("p", { role: "status", class: "live-says" });

  function otherNoise(number) {
    seed = number;
    noise = kit.normals(seed, 0)(new Float32Array(2 * n));
    changed();
  }

  function changed() {
    due ||= requestAnimationFrame(() => {
      due = 0;
      draw();
    });
    clearTimeout(soon);
    soon = setTimeout(tell, 120); // not at once, because the slider may be moving
  }

  // --- the points

  const now = () => places[Number(slider.value)];

  /** Where the pair k is, at a place and in one of the languages. */
  function at(k, s, side) {
    const [signal, sigma] = scalesAt(s)[side];
    return [0, 1].map((axis) => signal * x[2 * k + axis] + sigma * noise[2 * k + axis]);
  }

  /** The number of the pair that is followed, from 0 on; −1 for none. */
  function chosen() {
    const number = Number(follow.value) - 1;
    return Number.isInteger(number) && number < n ? Math.max(-1, number) : -1;
  }

  function clicked(event, side) {
    const box = canvases[side].getBoundingClientRect();
    const to = [
      ((event.clientX - box.left) / box.width - 0.5) * 2 * REACH,
      (0.5 - (event.clientY - box.top) / box.height) * 2 * REACH,
    ];
    let [best, least] = [0, Infinity];
    for (let k = 0; k < n; k++) {
      const [right, up] = at(k, now(), side);
      const far = Math.hypot(right - to[0], up - to[1]);
      if (far < least) [best, least] = [k, far];
    }
    follow.value = best + 1;
    changed();
  }

  /**
   * From and to of each arrow. It leads towards the best guess of the data: on the left to α times the guess, which
   * takes out the noise; on the right to the guess itself, which is the exact velocity, followed back to s = 0.
   */
  function arrowsAt(number, side) {
    const { left, ratio } = scalesAt(places[number]);
    const [from, to] = side === "left" ? [ratio, left[0]] : [1, 1];
    const first = 2 * nodes.length * (number - 1);
    return nodes.map((node, k) => {
      const guess = guesses.subarray(first + 2 * k, first + 2 * k + 2);
      return [node.map((one) => from * one), [to * guess[0], to * guess[1]]];
    });
  }

  // --- the pictures

  function draw() {
    const s = now();
    place.textContent = `s = ${s.toFixed(2)}`;
    slider.setAttribute("aria-valuetext", `s = ${s.toFixed(2)}`);
    const colour = colours(root);
    for (const side of sides) {
      const { pen, ratio, wide, high } = paper(canvases[side]);
      const spot = ([right, up]) => [(0.5 + right / REACH / 2) * wide, (0.5 - up / REACH / 2) * high];
      const size = Math.max(1.6, Math.min(2.6, canvases[side].clientWidth / 180)) * ratio;
      pen.fillStyle = colour("real");
      for (let k = 0; k < n; k++) {
        const [right, down] = spot(at(k, s, side));
        pen.fillRect(right - size / 2, down - size / 2, size, size);
      }
      if (arrows.checked && s > 0) {
        pen.strokeStyle = pen.fillStyle = colour("dot");
        pen.lineWidth = 1.3 * ratio;
        for (const [from, to] of arrowsAt(Number(slider.value), side)) {
          arrow(pen, spot(from), spot(from.map((one, axis) => one + PART * (to[axis] - one))), 4 * ratio);
        }
      }
      const pair = chosen();
      if (pair < 0) continue;
      pen.strokeStyle = pen.fillStyle = colour("follow");
      pen.lineWidth = 1.6 * ratio;
      pen.beginPath();
      for (let k = 0; k <= 60; k++) pen.lineTo(...spot(at(pair, k / 60, side)));
      pen.stroke();
      pen.beginPath();
      pen.arc(...spot(at(pair, 1, side)), 4 * ratio, 0, 7); // a ring where it is noise
      pen.stroke();
      pen.beginPath();
      pen.arc(...spot(at(pair, s, side)), 4.5 * ratio, 0, 7);
      pen.fill();
    }
  }

  /** A line with a head, which is smaller where the line is short. */
  function arrow(pen, from, to, most) {
    const [right, down] = [to[0] - from[0], to[1] - from[1]];
    const long = Math.hypot(right, down);
    if (!long) return;
    const head = Math.min(most, long / 2);
    const [a, b] = [(head * right) / long, (head * down) / long];
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(...to);
    pen.lineTo(to[0] - a + b / 2, to[1] - b - a / 2);
    pen.lineTo(to[0] - a - b / 2, to[1] - b + a / 2);
    pen.fill();
  }

  // --- the words

  /** The variance of the cloud, a mean over both axes. */
  function variance(side) {
    const found = [0, 1].map((axis) => {
      let [sum, squares] = [0, 0];
      for (let k = 0; k < n; k++) {
        const one = at(k, now(), side)[axis];
        sum += one;
        squares += one * one;
      }
      return squares / n - (sum / n) ** 2;
    });
    return (found[0] + found[1]) / 2;
  }

  function tell() {
    const s = now();
    const { left, right, ratio } = scalesAt(s);
    const text = {
      left: `x_t is ${three(left[0])} x + ${three(left[1])} ε, and the variance of the cloud is ${three(variance("left"))}, by theory 1`,
      right: `z is ${three(right[0])} x + ${three(right[1])} ε, and the variance is ${three(variance("right"))}, by theory ${three(right[0] ** 2 + right[1] ** 2)}`,
    };
    const said = [
      `s = ${s.toFixed(2)}, ᾱ = ${three(left[0] ** 2)}. Left, ${text.left}. Right, ${text.right}.`,
      `Each point on the left is ${three(ratio)} times the one on the right.`,
    ];
    const pair = chosen();
    if (pair >= 0) {
      const spots = sides.map((side) => `(${at(pair, s, side).map(three).join(", ")})`);
      said.push(`Pair ${pair + 1} is at ${spots[0]} on the left and at ${spots[1]} on the right.`);
    }
    says.textContent = said.join(" ");
    const shown = arrows.checked && s > 0 ? " Arrows lead towards the best guess of the data." : "";
    canvases.left.setAttribute("aria-label", `Diffusion, ${n} points: ${text.left}.${shown}`);
    canvases.right.setAttribute("aria-label", `Flow matching, ${n} points: ${text.right}.${shown}`);
  }

  // --- all of it together

  const ours = (event) => event.stopPropagation(); // JupyterLab would take the arrow keys for itself
  root.addEventListener("keydown", ours);
  root.classList.add("live");
  const figure = (canvas, text) => make("figure", { class: "live-sheet" }, make("figcaption", {}, text), canvas);
  root.replaceChildren(
    make("div", { class: "live-player" }, slider, place),
    make(
      "div",
      { class: "live-pair" },
      figure(canvases.left, "Diffusion: x_t = α x + σ ε"),
      figure(canvases.right, "Flow matching: z = (1 − s) x + s ε"),
    ),
    make(
      "div",
      { class: "live-tools" },
      fresh,
      make("label", { class: "live-choice" }, make("span", {}, "Follow pair"), follow),
      make("label", { class: "live-check" }, arrows, "Exact arrows"),
    ),
    says,
  );
  const sized = new ResizeObserver(() => draw());
  for (const side of sides) sized.observe(canvases[side]);
  dark.addEventListener("change", draw);
  otherNoise(1);

  return () => {
    clearTimeout(soon);
    sized.disconnect();
    dark.removeEventListener("change", draw);
    cancelAnimationFrame(due);
    root.removeEventListener("keydown", ours);
    root.replaceChildren();
  };
}
