/**
 * Heat as colour on a photograph: the twin of `saliscope.pictures.blend` and `colourise`, with Python's colour table.
 *
 * Pixels are RGBA, four bytes each, as a canvas holds them.
 */

const f32 = Math.fround;
const LUMA = [f32(0.299), f32(0.587), f32(0.114)];

/** The row of the colour table for each value: 0 is the first of 256, 1 the last, whatever is outside is clipped. */
function levels(scaled) {
  return Uint8Array.from(scaled, (value) => {
    const clipped = value > 0 ? Math.min(value, 1) : 0; // NaN is 0 here, and hatched later
    return f32(f32(clipped * 255) + 0.5);
  });
}

/**
 * Lay heat over a photograph: `(1 - opacity) photo + opacity colour`; what the network never saw is grey and hatched.
 *
 * @param {Uint8ClampedArray} photo RGBA
 * @param {Float32Array} scaled heat in [0, 1], NaN unseen
 * @param {number} width of the picture
 * @param {number} opacity share of the heat, 0 to 1
 * @param {Uint8Array} table 256 colours, RGB
 * @returns {Uint8ClampedArray} RGBA, opaque
 */
export function blend(photo, scaled, width, opacity, table) {
  const row = levels(scaled);
  const mixed = new Uint8ClampedArray(photo.length);
  const weight = f32(opacity);
  const rest = f32(1 - opacity);
  const weighted = Float32Array.from(table, (value) => f32(value * weight) + f32(0.5));
  for (let i = 0; i < row.length; i += 1) {
    for (let c = 0; c < 3; c += 1) {
      const at = 4 * i + c;
      const colour = 3 * row[i] + c;
      mixed[at] =
        opacity === 0.5
          ? (photo[at] + table[colour] + 1) >> 1 // as Python does it in whole numbers
          : Math.floor(f32(f32(photo[at] * rest) + weighted[colour]));
    }
    mixed[4 * i + 3] = 255;
  }
  return markUnseen(mixed, scaled, width, photo);
}

/** Replace what the network never saw by the photograph, darkened, grey and hatched. */
function markUnseen(picture, scaled, width, photo) {
  const height = scaled.length / width;
  const period = Math.max(6, Math.floor(Math.min(height, width) / 40));
  const stroke = Math.max(1, Math.floor(period / 6));
  for (let i = 0; i < scaled.length; i += 1) {
    if (!Number.isNaN(scaled[i])) continue;
    const x = i % width;
    const y = (i - x) / width;
    const red = f32(photo[4 * i] * LUMA[0]);
    const both = f32(red + f32(photo[4 * i + 1] * LUMA[1]));
    let dark = f32(f32(both + f32(photo[4 * i + 2] * LUMA[2])) * f32(0.6));
    if ((x + y) % period < stroke) dark = f32(f32(f32(0.6) * dark) + 80);
    picture.fill(Math.floor(dark), 4 * i, 4 * i + 3);
  }
  return picture;
}

/**
 * Darken what lies outside the chosen part: other parts above the threshold a little, everything else a lot.
 *
 * @param {Uint8ClampedArray} picture RGBA, changed in place
 * @param {{inside: Uint8Array, passed: Uint8Array} | null} part null where there is none
 */
export function spotlight(picture, part) {
  for (let i = 0; i < picture.length / 4; i += 1) {
    if (part && part.inside[i]) continue;
    const left = part && part.passed[i] ? 0.6 : 0.3;
    for (let c = 4 * i; c < 4 * i + 3; c += 1) picture[c] *= left;
  }
  return picture;
}

/** A grey picture, where there is no photograph. */
export function blank(height, width) {
  const pixels = new Uint8ClampedArray(4 * height * width).fill(128);
  for (let i = 3; i < pixels.length; i += 4) pixels[i] = 255;
  return pixels;
}
