// A trained network and its steps from noise to data, in plain typed arrays.
//
// All of it is one function that uses nothing outside itself, so that its text can also be a worker's whole program.
// What it computes is `lab_utils.diffusion.network` and `sampling`; a sampler comes as rows of numbers, made there.
function engine() {
  "use strict";

  const BLOCK = 200; // points; their activations fit into a core's cache. Each block has its own noise.
  const TILE = 4; // points that the inner loop takes at once

  // --- numbers

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  }

  /** Numbers of half precision (IEEE 754) as they stand in base64, little-endian → Float64Array. */
  function halves(base64) {
    const bits = new Uint16Array(bytes(base64).buffer);
    return Float64Array.from(bits, (half) => {
      const sign = half & 0x8000 ? -1 : 1;
      const exponent = (half >> 10) & 31;
      const fraction = half & 1023;
      if (exponent === 0) return sign * fraction * 2 ** -24;
      if (exponent === 31) return fraction ? NaN : sign * Infinity;
      return sign * (1024 + fraction) * 2 ** (exponent - 25);
    });
  }

  const singles = (base64) => new Float32Array(bytes(base64).buffer);
  const doubles = (base64) => new Float64Array(bytes(base64).buffer);

  /** Whole numbers of 32 bits: xoshiro128** (Blackman & Vigna 2018), seeded by splitmix32. */
  function random(seed, block) {
    let mixed = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(block + 1, 0x85ebca77)) >>> 0;
    const state = new Uint32Array(4).map(() => {
      mixed = (mixed + 0x9e3779b9) >>> 0;
      let z = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    });
    return () => {
      const five = Math.imul(state[1], 5);
      const answer = Math.imul((five << 7) | (five >>> 25), 9) >>> 0;
      const kept = state[1] << 9;
      state[2] ^= state[0];
      state[3] ^= state[1];
      state[1] ^= state[2];
      state[0] ^= state[3];
      state[2] ^= kept;
      state[3] = (state[3] << 11) | (state[3] >>> 21);
      return answer;
    };
  }

  /** Fills arrays with standard normal numbers, in pairs by Box and Muller. */
  function normals(seed, block) {
    const whole = random(seed, block);
    return (numbers) => {
      for (let i = 0; i < numbers.length; i += 2) {
        const radius = Math.sqrt(-2 * Math.log((whole() + 1) / 4294967297));
        const angle = (2 * Math.PI * whole()) / 4294967296;
        numbers[i] = radius * Math.cos(angle);
        if (i + 1 < numbers.length) numbers[i + 1] = radius * Math.sin(angle);
      }
      return numbers;
    };
  }

  // --- the network

  const silu = (x) => x / (1 + Math.exp(-x));

  /**
   * out = from · weightsᵀ + bias, a point a row; n is a multiple of TILE.
   *
   * Four points and two neurons at once: each number that is loaded is used several times, and eight sums are in work.
   */
  function product(weights, bias, from, out, n, inputs, outputs) {
    for (let j = 0; j < n; j += TILE) {
      const p0 = j * inputs;
      const p1 = p0 + inputs;
      const p2 = p1 + inputs;
      const p3 = p2 + inputs;
      for (let o = 0; o < outputs; o += 2) {
        const w0 = o * inputs;
        const w1 = o + 1 < outputs ? w0 + inputs : w0;
        let a0 = bias[o];
        let a1 = a0;
        let a2 = a0;
        let a3 = a0;
        let b0 = o + 1 < outputs ? bias[o + 1] : 0;
        let b1 = b0;
        let b2 = b0;
        let b3 = b0;
        for (let i = 0; i < inputs; i++) {
          const v = weights[w0 + i];
          const w = weights[w1 + i];
          const x0 = from[p0 + i];
          const x1 = from[p1 + i];
          const x2 = from[p2 + i];
          const x3 = from[p3 + i];
          a0 += v * x0;
          a1 += v * x1;
          a2 += v * x2;
          a3 += v * x3;
          b0 += w * x0;
          b1 += w * x1;
          b2 += w * x2;
          b3 += w * x3;
        }
        const k = j * outputs + o;
        out[k] = a0;
        out[k + outputs] = a1;
        out[k + 2 * outputs] = a2;
        out[k + 3 * outputs] = a3;
        if (o + 1 < outputs) {
          out[k + 1] = b0;
          out[k + outputs + 1] = b1;
          out[k + 2 * outputs + 1] = b2;
          out[k + 3 * outputs + 1] = b3;
        }
      }
    }
  }

  /** weights · x + bias for one x. */
  function once(weights, bias, x) {
    return Float64Array.from(bias, (b, o) => {
      for (let i = 0; i < x.length; i++) b += weights[o * x.length + i] * x[i];
      return b;
    });
  }

  /** The numbers of a schedule that the network is asked with. */
  const tables = (schedule) => ({
    halfLogSnr: doubles(schedule.half_log_snr),
    noiseScale: doubles(schedule.noise_scale),
    signalScale: doubles(schedule.signal_scale),
  });

  /** A network's layers: their part of `all` numbers, in the order in which `lab_utils.widgets.payload` writes them. */
  function layersOf({ width, depth, omega, time_omega: timeOmega, time_width: timeWidth, classes }, all) {
    let used = 0;
    const take = (count) => all.subarray(used, (used += count));
    const layer = (inputs, outputs) => ({ inputs, outputs, weights: take(inputs * outputs), bias: take(outputs) });
    const found = {
      embedTime: layer(2 * timeOmega.length, timeWidth),
      timeToLayers: layer(timeWidth, (depth + 1) * width),
      enter: layer(2 + 4 * omega.length, width),
      layers: Array.from({ length: depth }, () => layer(width, width)),
      leave: layer(width, 2),
      embedClass: take(timeWidth * classes), // a row for each neuron that sees the time, a column for each class
    };
    if (used !== all.length) throw new Error(`the weights of this network are ${used} numbers, not ${all.length}`);
    return found;
  }

  /**
   * A network: `at(t, label)` works out what depends on the time and on the class, and `epsilon` answers for points at
   * that time. The label is a class's number, and −1 is no class.
   *
   * `model` and `schedule` are as `lab_utils.widgets.payload` writes them. Weights may be given as numbers instead; when
   * these change, the next `at` knows it.
   */
  function network(model, schedule, all = halves(model.weights)) {
    const { width, depth, fading, classes } = model;
    const omega = Float64Array.from(model.omega);
    const timeOmega = Float64Array.from(model.time_omega);
    const { halfLogSnr, noiseScale, signalScale } = tables(schedule);
    const waves = omega.length;
    const { embedTime, timeToLayers, enter, layers, leave, embedClass } = layersOf(model, all);

    function at(t, label = -1) {
      const phases = timeOmega.map((w) => w * halfLogSnr[t]);
      const seen = Float64Array.of(...phases.map(Math.sin), ...phases.map(Math.cos));
      const known = once(embedTime.weights, embedTime.bias, seen);
      const told = label < 0 ? known : known.map((sum, o) => sum + embedClass[o * classes + label]);
      const time = once(timeToLayers.weights, timeToLayers.bias, told.map(silu));
      const shifted = (bias, part) => bias.map((b, o) => b + time[part * width + o]);
      // How much of each wave the noise leaves goes into its weights; those that are gone come last and are left out.
      const left = omega.map((w) => (fading ? Math.exp((-w * w * noiseScale[t] ** 2) / 2) : 1));
      let alive = 0;
      while (alive < waves && left[alive] > 2 ** -23) alive++;
      const inputs = 2 + 4 * alive;
      const weights = new Float64Array(width * inputs);
      for (let o = 0; o < width; o++) {
        const from = o * (2 + 4 * waves);
        const to = o * inputs;
        weights[to] = enter.weights[from];
        weights[to + 1] = enter.weights[from + 1];
        for (let part = 0; part < 4; part++) {
          for (let k = 0; k < alive; k++) {
            weights[to + 2 + part * alive + k] = enter.weights[from + 2 + part * waves + k] * left[k];
          }
        }
      }
      return {
        alive,
        weights,
        first: shifted(enter.bias, 0),
        rest: layers.map(({ bias }, part) => shifted(bias, part + 1)),
        noise: noiseScale[t],
        signal: signalScale[t],
      };
    }

    const room = Math.ceil(BLOCK / TILE) * TILE;
    const seen = new Float64Array(room * (2 + 4 * waves));
    const h = new Float64Array(room * width);
    const more = new Float64Array(room * width);
    const learnt = new Float64Array(room * 2);

    /** The noise in n points of x, up to BLOCK, from the one numbered `first` on, into the same places of `out`. */
    function epsilon(x, first, n, now, out) {
      const { alive } = now;
      const inputs = 2 + 4 * alive;
      for (let j = 0; j < n; j++) {
        const at = j * inputs;
        for (let side = 0; side < 2; side++) {
          const place = x[2 * (first + j) + side];
          seen[at + side] = place;
          for (let k = 0; k < alive; k++) {
            const angle = Math.fround(place * omega[k]); // rounded as the network rounds it: its waves are short
            seen[at + 2 + side * alive + k] = Math.sin(angle);
            seen[at + 2 + (2 + side) * alive + k] = Math.cos(angle);
          }
        }
      }
      const many = Math.ceil(n / TILE) * TILE;
      product(now.weights, now.first, seen, h, many, inputs, width);
      for (let k = 0; k < n * width; k++) h[k] = silu(h[k]);
      for (let part = 0; part < depth; part++) {
        product(layers[part].weights, now.rest[part], h, more, many, width, width);
        for (let k = 0; k < n * width; k++) h[k] += silu(more[k]);
      }
      product(leave.weights, leave.bias, h, learnt, many, width, 2);
      for (let k = 0; k < 2 * n; k++) out[2 * first + k] = now.noise * x[2 * first + k] + now.signal * learnt[k];
    }

    return { at, epsilon };
  }

  /**
   * A network that is guided towards a class: ε_none + w (ε_class − ε_none), as `lab_utils.diffusion.guidance` has it.
   * With w = 0 and with w = 1 it is asked once, and else twice.
   */
  function guided(asked, { label, weight }) {
    let away = new Float64Array(0);
    const at = (t) => ({
      aim: weight === 0 ? null : asked.at(t, label),
      base: weight === 1 ? null : asked.at(t),
    });
    function epsilon(x, first, n, { aim, base }, out) {
      asked.epsilon(x, first, n, aim ?? base, out);
      if (!aim || !base) return;
      if (away.length < out.length) away = new Float64Array(out.length);
      asked.epsilon(x, first, n, base, away);
      for (let k = 2 * first; k < 2 * (first + n); k++) out[k] = away[k] + weight * (out[k] - away[k]);
    }
    return { at, epsilon };
  }

  // --- the steps

  /** A sampler with its numbers decoded: row k of `rows` is a, b, c, d, p, q of step k. */
  function steps(sampler) {
    return { timesteps: sampler.timesteps, rows: doubles(sampler.rows) };
  }

  /**
   * The blocks of points that one worker has, on their way: `x` holds them now, and `step()` takes them one step on.
   *
   * Each block draws its noise from its own generator, made from the seed and its number: so the points are the same,
   * however many workers share them. `given(step)` replaces the noise: of the start (0), and of each step (from 1 on).
   */
  function walk(asked, { timesteps, rows }, seed, blocks, given) {
    const sizes = blocks.map(([, size]) => size);
    const starts = sizes.map((_, k) => sizes.slice(0, k).reduce((sum, size) => sum + size, 0));
    const count = sizes.reduce((sum, size) => sum + size, 0);
    const noise = given ? [] : blocks.map(([number]) => normals(seed, number));
    const x = new Float32Array(2 * count);
    const guess = new Float32Array(2 * count); // of the data, one step before
    const eps = new Float32Array(2 * count);
    const drawn = new Float32Array(2 * count);
    const draw = (step, into) => {
      if (given) into.set(given(step));
      else noise.forEach((fill, k) => fill(into.subarray(2 * starts[k], 2 * (starts[k] + sizes[k]))));
    };
    draw(0, x);
    let done = 0;
    function step() {
      const [a, b, c, d, p, q] = rows.subarray(6 * done, 6 * done + 6);
      const now = asked.at(timesteps[done]);
      sizes.forEach((size, k) => asked.epsilon(x, starts[k], size, now, eps));
      done += 1;
      if (c) draw(done, drawn);
      for (let k = 0; k < x.length; k++) {
        const before = guess[k];
        guess[k] = p * x[k] - q * eps[k];
        x[k] = a * x[k] - b * eps[k] + c * drawn[k] + d * before;
      }
      return x;
    }
    return { x, step };
  }

  /** The blocks of n points, as [number, size]. */
  function blocksOf(n) {
    return Array.from({ length: Math.ceil(n / BLOCK) }, (_, k) => [k, Math.min(BLOCK, n - k * BLOCK)]);
  }

  const breathe = () =>
    new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    });

  /**
   * A worker's program: answers { job, … } by one message for each step, { job, step, x }, until the next job comes.
   *
   * Networks are sent once, as `learn`, and kept under their number. A job may have a `guide`, as for `guided`.
   */
  function serve(post) {
    const known = new Map();
    let current = 0;
    return async (message) => {
      if (message.learn) {
        const { number, model, schedule } = message.learn;
        known.set(number, network(model, schedule));
        return;
      }
      current = message.job;
      if (!message.blocks?.length) return;
      const alone = known.get(message.network);
      const asked = message.guide ? guided(alone, message.guide) : alone;
      const way = walk(asked, steps(message.sampler), message.seed, message.blocks);
      for (let step = 0; current === message.job; step++) {
        post({ job: message.job, step, share: message.share, x: way.x.slice() });
        if (step === message.sampler.timesteps.length) return;
        await breathe();
        if (current === message.job) way.step();
      }
    };
  }

  return {
    BLOCK,
    TILE,
    blocksOf,
    breathe,
    doubles,
    guided,
    halves,
    layersOf,
    network,
    normals,
    product,
    random,
    serve,
    singles,
    steps,
    tables,
    walk,
  };
}
