//! What a device can do at best: exponentials and squared distances, with nothing to read and nothing to write.

use ot_core::Error;

use crate::{
    backend::WgpuBackend,
    gpu::{Arguments, Key, Launch},
};

/// Invocations of a workgroup.
const WORKGROUP: usize = 64;

/// Pairs of a step: four own points and four others, as in the passes of this crate.
const PAIRS: usize = 16;

/// Evaluates 2^-|x - y|^2 in three dimensions for points in registers, `steps` steps (at most 60 000) of all invocations of
/// `groups` workgroups, and waits. Returns how many pairs that were.
///
/// # Errors
/// A failure of the device.
pub fn exponentials_and_squares(backend: &WgpuBackend, groups: usize, steps: usize) -> Result<u64, Error> {
    let gpu = &backend.gpu;
    let sums = gpu.take(groups * WORKGROUP, "sums")?;
    let mut arguments = Arguments::new();
    arguments.index("steps", steps).place("sums", sums.start()).number("stride", 1.0 / 1024.0);
    gpu.launch(&Launch {
        key: &Key { kernel: "limit", formulas: Vec::new(), options: Vec::new() },
        source: &source,
        arguments: &arguments,
        list: &[],
        windows: None,
        groups: [groups, 1, 1],
        pairs: 0,
    })?;
    gpu.read(&[(sums.start(), 1)])?;
    Ok((groups * WORKGROUP * steps * PAIRS) as u64)
}

fn source() -> String {
    let points: String = (0..4)
        .map(|k| {
            format!("let x{k} = vec3<f32>(start, start * {k}.5f, 0.25f);\nvar y{k} = vec3<f32>(0.{k}f, start, 0.5f);\n")
        })
        .collect();
    let pairs: String = (0..PAIRS)
        .map(|pair| {
            let (k, l) = (pair / 4, pair % 4);
            format!(
                "let d{pair} = x{k} - y{l};
sum{k} += exp2(-(d{pair}.x * d{pair}.x + d{pair}.y * d{pair}.y + d{pair}.z * d{pair}.z));
"
            )
        })
        .collect();
    format!(
        "@compute @workgroup_size({WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
let start = f32(id.x) * P.stride;
{points}var sum0 = 0.0f; var sum1 = 0.0f; var sum2 = 0.0f; var sum3 = 0.0f;
for (var step = 0u; step < P.steps; step++) {{
{pairs}y0 += vec3<f32>(P.stride); y1 -= vec3<f32>(P.stride); y2 += vec3<f32>(P.stride); y3 -= vec3<f32>(P.stride);
}}
store(P.sums + id.x, sum0 + sum1 + sum2 + sum3);
}}
"
    )
}
