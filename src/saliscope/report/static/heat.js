/**
 * From a raw map to the heat of each pixel: the twin of `Frame.map_to_source` and `localization.normalise`.
 *
 * Every step rounds where numpy rounds (float32 for values, float64 for places), so that a threshold cuts the same pixels
 * here and in Python. Tests compare the two bit by bit.
 */

const f32 = Math.fround;
const EPSILON = 2 ** -23; // of float32

/**
 * For each pixel along one axis: the two cells around its centre, the share of the farther, and whether it is unseen.
 *
 * The region is what the network saw, in pixels; a crop leaves pixels outside it.
 */
function axis(cells, pixels, start, stop) {
  const low = new Int32Array(pixels);
  const high = new Int32Array(pixels);
  const share = new Float32Array(pixels);
  const unseen = new Uint8Array(pixels);
  const slack = 1e-9 * (stop - start);
  for (let i = 0; i < pixels; i += 1) {
    const centre = i + 0.5;
    const position = (centre - start) * (cells / (stop - start)) - 0.5;
    const clamped = Math.min(Math.max(position, 0), cells - 1);
    low[i] = Math.min(Math.floor(clamped), Math.max(cells - 2, 0));
    high[i] = Math.min(low[i] + 1, cells - 1);
    share[i] = clamped - low[i];
    unseen[i] = centre < start - slack || centre > stop + slack ? 1 : 0;
  }
  return { low, high, share, unseen };
}

/**
 * Upsample a map to a picture: bilinear, half-pixel centres, clamped borders, NaN where the network saw nothing.
 *
 * @param {{height: number, width: number, values: Float32Array}} map raw and signed, row by row
 * @param {number} height of the picture
 * @param {number} width of the picture
 * @param {number[]} region x0, y0, x1, y1 that the map covers, in pixels of the picture
 * @returns {Float32Array} height * width values, row by row
 */
export function mapToPicture(map, height, width, region) {
  const down = axis(map.height, height, region[1], region[3]);
  const right = axis(map.width, width, region[0], region[2]);
  const heat = new Float32Array(height * width);
  const row = new Float32Array(map.width);
  for (let y = 0; y < height; y += 1) {
    const near = f32(1 - down.share[y]);
    const far = down.share[y];
    const above = down.low[y] * map.width;
    const below = down.high[y] * map.width;
    for (let c = 0; c < map.width; c += 1) {
      row[c] = f32(map.values[above + c] * near) + f32(map.values[below + c] * far);
    }
    const start = y * width;
    for (let x = 0; x < width; x += 1) {
      const left = f32(row[right.low[x]] * f32(1 - right.share[x]));
      const value = f32(left + f32(row[right.high[x]] * right.share[x]));
      heat[start + x] = down.unseen[y] || right.unseen[x] ? NaN : value;
    }
  }
  return heat;
}

/** Smallest and largest finite value; 0 and 0 where there is none. */
export function finiteRange(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low && value > -Infinity) low = value;
    if (value > high && value < Infinity) high = value;
  }
  return low > high ? [0, 0] : [low, high];
}

/** Whether values from low to high are equal but for rounding: such a map has no place to point at. */
export function isConstant(low, high) {
  return high - low <= 8 * EPSILON * Math.max(Math.abs(low), Math.abs(high));
}

/**
 * Bring heat to [0, 1] by "min-max" or "max"; NaN stays NaN, a map without heat is 0 everywhere.
 *
 * @param {Float32Array} heat
 * @param {"min-max" | "max"} rule
 * @returns {Float32Array}
 */
export function normalise(heat, rule) {
  const range = finiteRange(heat);
  const low = rule === "max" ? 0 : range[0];
  const high = range[1];
  const flat = !(high > low) || (rule === "min-max" && isConstant(low, high));
  const scaled = new Float32Array(heat.length);
  for (let i = 0; i < heat.length; i += 1) {
    const value = rule === "max" ? Math.max(heat[i], 0) : heat[i]; // of NaN and 0 it is NaN
    scaled[i] = flat ? (Number.isNaN(value) ? NaN : 0) : (value - low) / (high - low);
  }
  return scaled;
}
