@group(0) @binding(0) var<storage, read_write> S: array<u32>;
@group(0) @binding(1) var<storage, read> P: Arguments;

// The value itself, by way of a zero that no compiler can see: what it is in may not be rearranged.
fn opaque(value: f32) -> f32 { return bitcast<f32>(bitcast<u32>(value) ^ P.zero); }
fn opaque_bits(bits: u32) -> f32 { return bitcast<f32>(bits ^ P.zero); }

fn load(at: u32) -> f32 { return bitcast<f32>(S[at]); }
fn store(at: u32, value: f32) { S[at] = bitcast<u32>(value); }
fn load_pair(at: u32) -> vec2<f32> { return vec2<f32>(load(at), load(at + 1u)); }
fn store_pair(at: u32, value: vec2<f32>) { store(at, value.x); store(at + 1u, value.y); }

// Finite, told by the bits: compilers take comparisons of infinities and NaN for what they are of numbers.
fn is_finite(value: f32) -> bool { return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u; }
