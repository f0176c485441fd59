// What the explorers in a browser are made of: elements, numbers as text, canvases, workers, distances between points.

/** An element with attributes, listeners (onclick: …) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Three digits, as a reader wants them: 1.23, 0.0123, 12.3, 1230; a real minus. */
function three(number) {
  if (!Number.isFinite(number)) return "unknown";
  return String(Number(number.toPrecision(3))).replace("-", "−");
}

/** Round numbers between two ends, about `many` of them. */
function ticks(low, high, many) {
  const rough = (high - low) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((times) => times * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}

/** A clean canvas with as many pixels as the screen has there; one of CSS is `ratio` of them wide. */
function paper(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, wide, high);
  return { pen, ratio, wide, high };
}

/** The colours of explorer.css by their names, as they are now. */
function colours(root) {
  const style = getComputedStyle(root);
  return (name) => style.getPropertyValue(`--live-${name}`);
}

/**
 * Those who work beside the page: so many workers; or the page itself, as one, where workers are not allowed.
 *
 * `serve(post)` gives the function that answers messages by calls of `post`, and `source` is its text, which stands by
 * itself. `got` is called with each answer, and `again` when the work must be asked for once more. The message
 * { job: -1 } ends what is under way.
 */
function workers(many, source, serve, got, again) {
  const program = `const answer = (${source})((said) => postMessage(said)); onmessage = (asked) => answer(asked.data);`;
  let hands = [];

  function end() {
    for (const hand of hands) hand.end();
  }

  function alone() {
    end();
    const answer = serve((said) => got(said));
    hands = [{ ask: answer, end: () => answer({ job: -1 }) }];
  }

  try {
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    hands = Array.from({ length: many }, () => {
      const worker = new Worker(address);
      worker.onmessage = (said) => got(said.data);
      worker.onerror = (event) => {
        event.preventDefault();
        if (hands.some((hand) => hand.worker)) {
          alone();
          again();
        }
      };
      return { worker, ask: (asked) => worker.postMessage(asked), end: () => worker.terminate() };
    });
  } catch {
    alone();
  }
  return { all: () => hands, end };
}

/** Those who work out the steps of a sampler, a worker on each core, four at most. `got` and `again` as for `workers`. */
function crew(got, again) {
  const kit = engine();
  const many = Math.max(1, Math.min(4, navigator.hardwareConcurrency || 1));
  const { all, end } = workers(many, `(${engine})().serve`, kit.serve, got, again);

  return {
    /**
     * Start a job; what is still under way is dropped. Returns the first point of each share, and the end. `guide` is as
     * for `guided` of the engine, or left out.
     */
    start(job, number, model, schedule, sampler, seed, points, guide) {
      const [blocks, hands] = [kit.blocksOf(points), all()];
      const bounds = hands.map((_, k) => Math.floor((k * blocks.length) / hands.length)).concat(blocks.length);
      hands.forEach((hand, share) => {
        hand.learnt ??= new Set();
        if (!hand.learnt.has(number)) hand.ask({ learn: { number, model, schedule } });
        hand.learnt.add(number);
        hand.ask({ job, share, network: number, sampler, seed, guide, blocks: blocks.slice(bounds[share], bounds[share + 1]) });
      });
      return bounds.map((bound) => Math.min(points, bound * kit.BLOCK));
    },
    end,
  };
}

/** From each point of x to those of y, which are x, y, x, y, … in normalised units: the nearest, sorted; and the mean. */
function between(x, y) {
  let sum = 0;
  const nearest = Float64Array.from({ length: x.length / 2 }, (_, j) => {
    let least = Infinity;
    for (let k = 0; k < y.length; k += 2) {
      const right = y[k] - x[2 * j];
      const up = y[k + 1] - x[2 * j + 1];
      const far = Math.sqrt(right * right + up * up);
      sum += far;
      if (far < least) least = far;
    }
    return least;
  });
  return { nearest: nearest.sort(), mean: sum / ((x.length * y.length) / 4) };
}

/**
 * How far the points of x are from those of y: from each to the nearest, sorted; their median, which is the blur; and
 * the energy distance, with the mean distance in y, its `spread`, known.
 */
function against(x, y, spread) {
  const { nearest, mean } = between(x, y);
  const middle = nearest.length / 2;
  const blur = (nearest[Math.floor(middle - 0.5)] + nearest[Math.floor(middle)]) / 2;
  return { nearest, blur, energy: 2 * mean - spread - between(x, x).mean };
}
