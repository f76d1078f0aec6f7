@compute @workgroup_size(64)
fn main(@builtin(local_invocation_id) lane: vec3<u32>) {
  for (var i = lane.x; i < P.count; i += 64u) { S[P.start + i] = P.list[i]; }
}
