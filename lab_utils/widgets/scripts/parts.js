// What the explorers in a browser are made of: elements, numbers as text, canvases, distances between points.

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
 * How far the points of x are from those of y, both x, y, x, y, … in normalised units: from each to the nearest, sorted;
 * their median, which is the blur; and the energy distance, with the mean distance in y, its `spread`, known.
 */
function against(x, y, spread) {
  const between = (from, to) => {
    let sum = 0;
    const nearest = Float64Array.from({ length: from.length / 2 }, (_, j) => {
      let least = Infinity;
      for (let k = 0; k < to.length; k += 2) {
        const right = to[k] - from[2 * j];
        const up = to[k + 1] - from[2 * j + 1];
        const far = Math.sqrt(right * right + up * up);
        sum += far;
        if (far < least) least = far;
      }
      return least;
    });
    return { nearest: nearest.sort(), mean: sum / ((from.length * to.length) / 4) };
  };
  const { nearest, mean } = between(x, y);
  const middle = nearest.length / 2;
  const blur = (nearest[Math.floor(middle - 0.5)] + nearest[Math.floor(middle)]) / 2;
  return { nearest, mean, blur, energy: 2 * mean - spread - between(x, x).mean };
}
