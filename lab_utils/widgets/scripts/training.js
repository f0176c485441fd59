// Training of the small network, in plain typed arrays: gradient by hand, Adam, moving average, excess over the best.
//
// Like `engine` it is one function, whose text can be a part of a worker's program; it is given what `engine` returns, and
// it calls `between` and `against` of parts.js. What it does is `lab_utils.diffusion.training`, `exact` and
// `measure.losses`. All is float64, but for the noised points, which are float32 as the network's are.
function training(kit) {
  "use strict";

  const { TILE, blocksOf, breathe, halves, layersOf, network, normals, product, random, steps, tables, walk } = kit;
  const [FIRST, SECOND, TINY] = [0.9, 0.999, 1e-8]; // Adam's
  const EXAM = { timesteps: 125, each: 16 }; // noised points that the excess is measured on
  const [LOOK, SHOW] = [500, 3000]; // milliseconds between two looks at the excess, and two samples

  const padded = (count) => Math.ceil(count / TILE) * TILE; // rows, for `product`

  /** from, rows × columns → to, columns × rows. */
  function turn(from, rows, columns, to) {
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < columns; k++) to[k * rows + i] = from[i * columns + k];
    }
  }

  /** x → silu(x), and its derivative into `slope`. */
  function silu(x, slope) {
    for (let k = 0; k < x.length; k++) {
      const s = 1 / (1 + Math.exp(-x[k]));
      slope[k] = s * (1 + x[k] * (1 - s));
      x[k] *= s;
    }
  }

  /**
   * The loss of batches of n points, and its derivatives by all weights.
   *
   * The TILE points of a tile share a timestep: so the part of the network that sees the time alone has a quarter of the
   * work. The three products of a layer (its answers, and what they pass back to its inputs and to its weights) are all
   * made by `product`, which is fast, with matrices turned as it wants them.
   */
  function gradients(model, schedule, weights, n) {
    const { width, depth } = model;
    const [omega, timeOmega] = [model.omega, model.time_omega];
    const { halfLogSnr, noiseScale, signalScale } = tables(schedule);
    const gradient = new Float64Array(weights.length);
    const [has, gets] = [layersOf(model, weights), layersOf(model, gradient)];
    const tiles = n / TILE;
    const shifts = (depth + 1) * width; // of the time, in all layers together
    const room = (rows, columns) => new Float64Array(padded(rows) * columns);
    const seen = room(n, has.enter.inputs);
    const h = Array.from({ length: depth + 1 }, () => room(n, width));
    const slopes = h.map(() => room(n, width));
    const learnt = room(n, 2);
    const more = room(n, width);
    const back = room(n, width);
    const backLearnt = room(n, 2);
    const phases = room(tiles, has.embedTime.inputs);
    const time = room(tiles, has.embedTime.outputs);
    const timeSlope = room(tiles, has.embedTime.outputs);
    const shift = room(tiles, shifts);
    const backShift = room(tiles, shifts);
    const backTime = room(tiles, has.embedTime.outputs);
    const every = [has.embedTime, has.timeToLayers, has.enter, ...has.layers, has.leave];
    const most = (size) => Math.max(...every.map(size));
    const [turned, turnedBack, result] = [0, 1, 2].map(
      () => new Float64Array(most(({ inputs, outputs }) => padded(Math.max(inputs, outputs)) * Math.max(inputs, outputs, n))),
    );
    const none = new Float64Array(most(({ inputs }) => inputs));

    /** Add each tile's shift of a layer to its points. */
    function shiftBy(layer, x) {
      for (let j = 0; j < n; j++) {
        const from = ((j / TILE) | 0) * shifts + layer * width;
        for (let o = 0; o < width; o++) x[j * width + o] += shift[from + o];
      }
    }

    /** The sums over each tile, for what shifted it. */
    function shiftsBack(layer, x) {
      for (let tile = 0; tile < tiles; tile++) {
        const [to, from] = [tile * shifts + layer * width, tile * TILE * width];
        for (let o = 0; o < width; o++) {
          backShift[to + o] = x[from + o] + x[from + width + o] + x[from + 2 * width + o] + x[from + 3 * width + o];
        }
      }
    }

    /** What a layer gets, from what it saw and what its answers change the loss by. */
    function learn({ inputs, outputs, weights: into, bias }, saw, passed, rows) {
      turn(saw, rows, inputs, turned);
      turn(passed, rows, outputs, turnedBack);
      product(turned, none, turnedBack, result, padded(outputs), rows, inputs);
      into.set(result.subarray(0, outputs * inputs));
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let j = 0; j < rows; j++) sum += turnedBack[o * rows + j];
        bias[o] = sum;
      }
    }

    /** What a layer passes back to its inputs. */
    function pass({ inputs, outputs, weights: through }, passed, rows, into) {
      turn(through, outputs, inputs, turned);
      product(turned, none, passed, into, padded(rows), outputs, inputs);
    }

    /**
     * The mean squared error of the noise seen in x, n points of which tile k stands at the timestep times[k]; its
     * derivatives are then in `gradient`.
     */
    function loss(x, times, epsilon) {
      for (let tile = 0; tile < tiles; tile++) {
        const at = tile * 2 * timeOmega.length;
        timeOmega.forEach((w, k) => {
          const phase = w * halfLogSnr[times[tile]];
          phases[at + k] = Math.sin(phase);
          phases[at + timeOmega.length + k] = Math.cos(phase);
        });
      }
      product(has.embedTime.weights, has.embedTime.bias, phases, time, padded(tiles), has.embedTime.inputs, has.embedTime.outputs);
      silu(time, timeSlope);
      product(has.timeToLayers.weights, has.timeToLayers.bias, time, shift, padded(tiles), has.timeToLayers.inputs, shifts);
      for (let j = 0; j < n; j++) {
        const at = j * has.enter.inputs;
        for (let side = 0; side < 2; side++) {
          const place = x[2 * j + side];
          seen[at + side] = place;
          for (let k = 0; k < omega.length; k++) {
            const angle = Math.fround(place * omega[k]); // as in `engine`
            seen[at + 2 + side * omega.length + k] = Math.sin(angle);
            seen[at + 2 + (2 + side) * omega.length + k] = Math.cos(angle);
          }
        }
      }
      product(has.enter.weights, has.enter.bias, seen, h[0], n, has.enter.inputs, width);
      shiftBy(0, h[0]);
      silu(h[0], slopes[0]);
      has.layers.forEach(({ weights: own, bias }, part) => {
        const next = h[part + 1];
        product(own, bias, h[part], next, n, width, width);
        shiftBy(part + 1, next);
        silu(next, slopes[part + 1]);
        for (let k = 0; k < next.length; k++) next[k] += h[part][k];
      });
      product(has.leave.weights, has.leave.bias, h[depth], learnt, n, width, 2);
      let sum = 0;
      for (let k = 0; k < 2 * n; k++) {
        const t = times[(k / (2 * TILE)) | 0];
        const error = noiseScale[t] * x[k] + signalScale[t] * learnt[k] - epsilon[k];
        sum += error * error;
        backLearnt[k] = (error * signalScale[t]) / n; // 2 · error / 2n
      }

      learn(gets.leave, h[depth], backLearnt, n);
      pass(has.leave, backLearnt, n, back);
      for (let part = depth; part > 0; part--) {
        const before = slopes[part]; // becomes what is passed to before silu
        for (let k = 0; k < before.length; k++) before[k] *= back[k];
        learn(gets.layers[part - 1], h[part - 1], before, n);
        shiftsBack(part, before);
        pass(has.layers[part - 1], before, n, more);
        for (let k = 0; k < back.length; k++) back[k] += more[k];
      }
      for (let k = 0; k < back.length; k++) back[k] *= slopes[0][k];
      learn(gets.enter, seen, back, n);
      shiftsBack(0, back);
      learn(gets.timeToLayers, time, backShift, tiles);
      pass(has.timeToLayers, backShift, tiles, backTime);
      for (let k = 0; k < backTime.length; k++) backTime[k] *= timeSlope[k];
      learn(gets.embedTime, phases, backTime, tiles);
      return sum / (2 * n);
    }

    return { gradient, loss };
  }

  /** Adam (Kingma & Ba 2015) with a warm-up, and the moving average of the weights; see `lab_utils.diffusion.Recipe`. */
  function adam(weights, { learning_rate: rate, warmup, ema_decay: decay }) {
    const average = weights.slice();
    const first = new Float64Array(weights.length);
    const second = new Float64Array(weights.length);
    let done = 0;
    function step(gradient) {
      const kept = done ? Math.min(decay, (1 + done) / (10 + done)) : 0;
      const rise = Math.min(1, (done + 1) / (warmup + 1));
      done += 1;
      const along = (rate * rise) / (1 - FIRST ** done);
      const scale = 1 / Math.sqrt(1 - SECOND ** done);
      for (let k = 0; k < weights.length; k++) {
        const g = gradient[k];
        first[k] += (1 - FIRST) * (g - first[k]);
        second[k] += (1 - SECOND) * (g * g - second[k]);
        weights[k] -= (along * first[k]) / (Math.sqrt(second[k]) * scale + TINY);
        average[k] += (1 - kept) * (weights[k] - average[k]);
      }
      return done;
    }
    return { average, step };
  }

  /** The best denoiser of points, all equally likely: a softmax over them (Karras et al. 2022, eq. 57). */
  function bestDenoiser(points, schedule) {
    const { noiseScale, signalScale } = tables(schedule);
    const squares = new Float64Array(points.length / 2);

    /** The noise in n points of x, from the one numbered `first` on, into the same places of `out`. */
    function epsilon(x, first, n, t, out) {
      const [noise, signal] = [noiseScale[t], signalScale[t]];
      const sharp = signal ** 2 / noise ** 2 / 2;
      for (let j = 2 * first; j < 2 * (first + n); j += 2) {
        const [right, up] = [x[j] / signal, x[j + 1] / signal];
        let least = Infinity;
        for (let i = 0; i < squares.length; i++) {
          const [a, b] = [right - points[2 * i], up - points[2 * i + 1]];
          squares[i] = a * a + b * b;
          if (squares[i] < least) least = squares[i];
        }
        let [sum, sumRight, sumUp] = [0, 0, 0];
        for (let i = 0; i < squares.length; i++) {
          const less = (squares[i] - least) * sharp;
          if (less > 40) continue; // e⁻⁴⁰ is nothing beside the 1 of the nearest
          const weight = Math.exp(-less);
          sum += weight;
          sumRight += weight * points[2 * i];
          sumUp += weight * points[2 * i + 1];
        }
        out[j] = (x[j] - (signal * sumRight) / sum) / noise;
        out[j + 1] = (x[j + 1] - (signal * sumUp) / sum) / noise;
      }
    }

    return { epsilon };
  }

  /** Points with noise: at each of the times, `each` of them that chance takes. */
  function noised(points, schedule, times, each, seed) {
    const { noiseScale, signalScale } = tables(schedule);
    const whole = random(seed, 1);
    const n = times.length * each;
    const epsilon = normals(seed, 0)(new Float32Array(2 * n));
    const x = new Float32Array(2 * n);
    for (let j = 0; j < n; j++) {
      const t = times[(j / each) | 0];
      const from = whole() % (points.length / 2);
      for (const side of [0, 1]) {
        x[2 * j + side] = signalScale[t] * points[2 * from + side] + noiseScale[t] * epsilon[2 * j + side];
      }
    }
    return { x, times, each, epsilon };
  }

  const meanSquare = (a, b) => a.reduce((sum, one, k) => sum + (one - b[k]) ** 2, 0) / a.length;

  /** Noised points and the best answers to them: the floor, and a network's excess over it. */
  async function examine(points, schedule, seed) {
    const T = tables(schedule).noiseScale.length;
    const times = Array.from({ length: EXAM.timesteps }, (_, k) => Math.floor(((k + 0.5) * T) / EXAM.timesteps));
    const { x, each, epsilon } = noised(points, schedule, times, EXAM.each, seed);
    const exact = bestDenoiser(points, schedule);
    const best = new Float64Array(x.length);
    const answers = new Float64Array(x.length);
    for (const [k, t] of times.entries()) {
      exact.epsilon(x, k * each, each, t, best);
      await breathe();
    }
    const excess = (asked) => {
      times.forEach((t, k) => asked.epsilon(x, k * each, each, asked.at(t), answers));
      return meanSquare(answers, best);
    };
    return { floor: meanSquare(best, Float64Array.from(epsilon)), excess, x, times, count: x.length / 2 };
  }

  /**
   * A network that learns `points`, which are normalised.
   *
   * `step()` takes it through one batch, and says which: each point comes once in an epoch, in the order of chance. The
   * timesteps are drawn from equal stretches of 0 … T−1, one for each tile; so each timestep is as likely as any other.
   */
  function pupil({ model, schedule, recipe, points, seed }) {
    const { noiseScale, signalScale } = tables(schedule);
    const n = recipe.batch_size;
    const weights = halves(model.weights);
    const { gradient, loss } = gradients(model, schedule, weights, n);
    const { average, step: learn } = adam(weights, recipe);
    const whole = random(seed, 0);
    const chance = normals(seed, 1);
    const order = Uint32Array.from({ length: points.length / 2 }, (_, k) => k);
    const epsilon = new Float32Array(2 * n);
    const x = new Float32Array(2 * n);
    const times = new Uint32Array(n / TILE);
    let next = order.length;
    function step() {
      chance(epsilon);
      for (let tile = 0; tile < times.length; tile++) {
        times[tile] = ((tile + whole() / 2 ** 32) * noiseScale.length) / times.length;
      }
      for (let j = 0; j < n; j++) {
        if (next === order.length) {
          for (let k = next - 1; k > 0; k--) {
            const other = whole() % (k + 1);
            [order[k], order[other]] = [order[other], order[k]];
          }
          next = 0;
        }
        const t = times[(j / TILE) | 0];
        const from = 2 * order[next++];
        for (const side of [0, 1]) {
          x[2 * j + side] = signalScale[t] * points[from + side] + noiseScale[t] * epsilon[2 * j + side];
        }
      }
      loss(x, times, epsilon);
      learn(gradient);
      return { x, times, epsilon };
    }
    return { step, average, asked: network(model, schedule, average) };
  }

  /** What other real points read, held against the first of the sets: means, and the lowest and the highest. */
  async function readReal([behind, ...others]) {
    const spread = between(behind, behind).mean;
    const found = [];
    for (const other of others) {
      found.push(against(other, behind, spread));
      await breathe();
    }
    const means = {};
    const ranges = {};
    for (const name of ["blur", "energy"]) {
      const all = found.map((one) => one[name]);
      means[name] = all.reduce((sum, one) => sum + one, 0) / all.length;
      ranges[name] = [Math.min(...all) / means[name], Math.max(...all) / means[name]];
    }
    return { behind, spread, means, ranges };
  }

  /**
   * A worker's program. { job, seconds } trains the network for so long, and with `begin` a new one; { job } forgets it.
   * Any message ends what is under way. The answers hold what there is to show, and `done` when a training is over.
   */
  function serve(post) {
    let current = 0;
    let now = null; // the network and what it is measured with

    return async ({ job, begin, seconds }) => {
      const mine = (current += 1);
      const still = async () => {
        await breathe();
        return mine === current;
      };

      /** Points in a few steps from the same noise every time, and how far they are from real ones. */
      async function sample() {
        const { sampler, count } = now.task;
        const way = walk(now.asked, steps(sampler), 1, blocksOf(count));
        for (const _ of sampler.timesteps) {
          way.step();
          if (!(await still())) return;
        }
        const { blur, energy } = against(way.x, now.real.behind, now.real.spread);
        const { means } = now.real;
        post({ job, x: way.x.slice(), times: { blur: blur / means.blur, energy: energy / means.energy } });
      }

      function look(done = false) {
        const { exam, milliseconds, steps: taken } = now;
        post({ job, done, steps: taken, milliseconds, excess: exam.excess(now.asked), floor: exam.floor, on: exam.count });
      }

      if (begin) {
        now = null;
        const exam = await examine(begin.points, begin.schedule, 1);
        const real = await readReal(begin.real);
        if (mine !== current) return;
        now = { ...pupil(begin), task: begin, exam, real, steps: 0, milliseconds: 0 };
        post({ job, ranges: real.ranges });
        look();
      }
      if (seconds === undefined) now = null;
      if (!now) return;
      const end = performance.now() + 1000 * seconds;
      let looked = performance.now();
      let shown = looked;
      while (performance.now() < end) {
        const before = performance.now();
        now.step();
        const after = performance.now();
        now.steps += 1;
        now.milliseconds += after - before;
        if (after - looked > LOOK) {
          look();
          looked = performance.now();
        }
        if (after - shown > SHOW) {
          await sample();
          shown = performance.now();
        }
        if (!(await still())) return;
      }
      await sample();
      if (mine === current) look(true);
    };
  }

  return { adam, bestDenoiser, examine, gradients, pupil, serve };
}
