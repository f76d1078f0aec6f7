// Sine, cosine and arc tangent, for which WGSL asks for little: polynomials of Moshier's Cephes library (1992).

// x less a multiple of pi / 2, and the multiple: the constant in three parts, so that the first products are exact for
// arguments up to some thousands. Beyond 2^23 there is no reduction left, and the result is that of the nearest multiple.
fn quarter_turns(x: f32) -> vec2<f32> {
  let turns = round(x * 0.636619772f);
  var rest = opaque(x - opaque(turns * 1.5703125f));
  rest = opaque(rest - opaque(turns * 4.837512969970703125e-4f));
  rest = opaque(rest - turns * 7.54978995489188216e-8f);
  return vec2<f32>(clamp(rest, -0.8f, 0.8f), turns);
}
fn sine_polynomial(x: f32) -> f32 {
  let z = x * x;
  return x + x * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
}
fn cosine_polynomial(x: f32) -> f32 {
  let z = x * x;
  return 1.0f - 0.5f * z + z * z * (4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
}
// The sine `quarter` quarter turns before.
fn turned_sine(x: f32, quarter: i32) -> f32 {
  let value = select(sine_polynomial(x), cosine_polynomial(x), (quarter & 1) == 1);
  return select(value, -value, (quarter & 2) == 2);
}
fn sine(x: f32) -> f32 {
  let reduced = quarter_turns(x);
  return turned_sine(reduced.x, i32(clamp(reduced.y, -1.0e9f, 1.0e9f)));
}
fn cosine(x: f32) -> f32 {
  let reduced = quarter_turns(x);
  return turned_sine(reduced.x, i32(clamp(reduced.y, -1.0e9f, 1.0e9f)) + 1);
}
fn arc_tangent(x: f32) -> f32 {
  let size = abs(x);
  let is_large = size > 2.41421356f;
  let is_middle = size > 0.414213562f && !is_large;
  let inverse = -1.0f / max(size, 1.0f);
  let t = select(select(size, (size - 1.0f) / (size + 1.0f), is_middle), inverse, is_large);
  let start = select(select(0.0f, 0.785398163f, is_middle), 1.57079633f, is_large);
  let z = t * t;
  let p = -3.33329491539e-1f + z * (1.99777106478e-1f + z * (-1.38776856032e-1f + z * 8.05374449538e-2f));
  let value = start + (t + t * z * p);
  return select(value, -value, x < 0.0f);
}

// The same in pairs: Taylor series within pi / 4, for arguments up to some thousands.
fn pair_quarter_turns(x: vec2<f32>, turns: f32) -> vec2<f32> {
  var rest = pair_add(x, -two_product(turns, 1.57079637f));
  rest = pair_add(rest, -two_product(turns, -4.37113883e-8f));
  return pair_add(rest, -two_product(turns, -1.71512e-15f));
}
// Terms (-z)^k / ((s + 2 k)! / s!) summed from the last: s = 1 of the sine over x, s = 0 of the cosine.
fn pair_alternating(z: vec2<f32>, first: f32) -> vec2<f32> {
  let one = vec2<f32>(1.0f, 0.0f);
  var sum = one;
  for (var k = 9u; k > 0u; k--) {
    let n = first + 2.0f * f32(k);
    sum = pair_add(one, -pair_div(pair_mul(z, sum), vec2<f32>(n * (n - 1.0f), 0.0f)));
  }
  return sum;
}
fn pair_turned_sine(x: vec2<f32>, quarter: i32) -> vec2<f32> {
  let z = pair_mul(x, x);
  let value = select(pair_mul(x, pair_alternating(z, 1.0f)), pair_alternating(z, 0.0f), (quarter & 1) == 1);
  return select(value, -value, (quarter & 2) == 2);
}
fn pair_sine(x: vec2<f32>) -> vec2<f32> {
  let turns = round(x.x * 0.636619772f);
  return pair_turned_sine(pair_quarter_turns(x, turns), i32(clamp(turns, -1.0e9f, 1.0e9f)));
}
fn pair_cosine(x: vec2<f32>) -> vec2<f32> {
  let turns = round(x.x * 0.636619772f);
  return pair_turned_sine(pair_quarter_turns(x, turns), i32(clamp(turns, -1.0e9f, 1.0e9f)) + 1);
}
// From single precision, y + tan(atan(x) - y) = y + (x cos y - sin y) / (cos y + x sin y).
fn pair_arc_tangent(x: vec2<f32>) -> vec2<f32> {
  let y = vec2<f32>(arc_tangent(x.x), 0.0f);
  let s = pair_sine(y);
  let c = pair_cosine(y);
  let step = pair_div(pair_add(pair_mul(x, c), -s), pair_add(c, pair_mul(x, s)));
  return select(y, pair_add(y, step), is_finite(x.x));
}
