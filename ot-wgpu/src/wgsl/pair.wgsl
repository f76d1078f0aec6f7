// Pairs: unevaluated sums of a number and of what rounding took from it (Dekker 1971, Knuth 1969). Where the first is
// infinite or zero, so is the pair.

// a + b and its rounding.
fn two_sum(a: f32, b: f32) -> vec2<f32> {
  let sum = opaque(a + b);
  let of_b = opaque(sum - a);
  let of_a = opaque(sum - of_b);
  return vec2<f32>(sum, opaque(a - of_a) + opaque(b - of_b));
}
// The same for |a| >= |b|.
fn quick_two_sum(a: f32, b: f32) -> vec2<f32> {
  let sum = opaque(a + b);
  return vec2<f32>(sum, opaque(b - opaque(sum - a)));
}
// a b and its rounding, by halves of 12 bits.
fn two_product(a: f32, b: f32) -> vec2<f32> {
  let product = opaque(a * b);
  let a_high = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
  let b_high = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
  let a_low = opaque(a - a_high);
  let b_low = opaque(b - b_high);
  let error = opaque(opaque(opaque(a_high * b_high) - product) + opaque(a_high * b_low)) + opaque(a_low * b_high);
  return vec2<f32>(product, opaque(error) + opaque(a_low * b_low));
}
fn pair_less(a: vec2<f32>, b: vec2<f32>) -> bool { return a.x < b.x || (a.x == b.x && a.y < b.y); }
fn pair_add(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let high = two_sum(a.x, b.x);
  let low = two_sum(a.y, b.y);
  var sum = quick_two_sum(high.x, high.y + low.x);
  sum = quick_two_sum(sum.x, sum.y + low.y);
  return select(vec2<f32>(high.x, 0.0f), sum, is_finite(high.x));
}
// A pair and a number.
fn pair_add_number(a: vec2<f32>, b: f32) -> vec2<f32> {
  let sum = two_sum(a.x, b);
  return select(vec2<f32>(sum.x, 0.0f), quick_two_sum(sum.x, sum.y + a.y), is_finite(sum.x));
}
fn pair_mul(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let high = two_product(a.x, b.x);
  let product = quick_two_sum(high.x, high.y + (a.x * b.y + a.y * b.x));
  return select(vec2<f32>(high.x, 0.0f), product, is_finite(high.x) && high.x != 0.0f);
}
fn pair_div(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let first = a.x / b.x;
  var rest = pair_add(a, -pair_mul(vec2<f32>(first, 0.0f), b));
  let second = rest.x / b.x;
  rest = pair_add(rest, -pair_mul(vec2<f32>(second, 0.0f), b));
  let quotient = pair_add_number(quick_two_sum(first, second), rest.x / b.x);
  return select(vec2<f32>(first, 0.0f), quotient, is_finite(first) && is_finite(b.x) && first != 0.0f);
}
fn pair_sqrt(a: vec2<f32>) -> vec2<f32> {
  let root = sqrt(a.x);
  let rest = pair_add(a, -two_product(root, root));
  return select(vec2<f32>(root, 0.0f), quick_two_sum(root, rest.x / (2.0f * root)), a.x > 0.0f && is_finite(a.x));
}
// 2^k (1 + t), where t is read off a Taylor polynomial at a 256th of the argument and squared eight times.
fn pair_exp(a: vec2<f32>) -> vec2<f32> {
  let k = clamp(round(a.x * 1.44269504f), -126.0f, 127.0f);
  var r = pair_add(pair_add(a, -two_product(k, 0.69314718f)), -two_product(k, -1.9046542e-9f));
  r *= 0.00390625f;
  var t = pair_add(vec2<f32>(0.041666668f, -1.2417635e-9f), pair_mul(r, vec2<f32>(0.008333334f, -4.346172e-10f)));
  t = pair_add(vec2<f32>(0.16666667f, -4.967054e-9f), pair_mul(r, t));
  t = pair_add(vec2<f32>(0.5f, 0.0f), pair_mul(r, t));
  t = pair_add(r, pair_mul(pair_mul(r, r), t));
  for (var n = 0u; n < 8u; n++) { t = pair_add(t + t, pair_mul(t, t)); }
  let scale = bitcast<f32>(u32(i32(k) + 127) << 23u);
  let result = pair_add(t, vec2<f32>(1.0f, 0.0f)) * scale;
  return select(vec2<f32>(exp(a.x), 0.0f), result, a.x > -86.0f && a.x < 88.0f);
}
// One step of Newton's iteration from single precision: x + log(a exp(-x)).
fn pair_ln(a: vec2<f32>) -> vec2<f32> {
  let x = log(a.x);
  let t = pair_add(pair_mul(a, pair_exp(vec2<f32>(-x, 0.0f))), vec2<f32>(-1.0f, 0.0f));
  let result = pair_add(vec2<f32>(x, 0.0f), pair_add(t, -0.5f * pair_mul(t, t)));
  return select(vec2<f32>(x, 0.0f), result, a.x > 1.0e-37f && is_finite(a.x));
}
