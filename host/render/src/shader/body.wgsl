// The body pass: for every sample, how bright the nearest surface is lit (tone) and whose it is (slot).
//
// Light model, in camera axes (x right, y down, z forward), with n the unit normal of the side that is seen:
//
//   tone = AMBIENT + HEAD * max(n . h, 0) + KEY * (0.5 + 0.5 n . k)^2
//
// h points back along the optical axis (a headlight), k to the upper left in front of the body (a key light, wrapped around the
// body so that its terminator is soft). The weights add up to 1, so a tone is never clipped; the body's colour times the tone is
// what is seen. All of it happens on display-referred (gamma-encoded) values, as the usual previews of body models do.
//
// Tones are computed at the vertices and interpolated (Gouraud): a body's triangles are a few pixels large, where this cannot be
// told from lighting every sample, and a software adapter needs about 8 % less time for it.
// Keep the inputs in sync with `src/gpu_data.rs`.

const AMBIENT: f32 = 0.25;
const HEAD: f32 = 0.40;
const KEY: f32 = 0.35;
const KEY_DIRECTION: vec3f = vec3f(-0.4242641, -0.5656854, -0.7071068);

// nothing nearer than this is drawn, metres
override near_plane: f32;

struct VertexIn {
    @location(0) point_in_camera: vec3f,
    @location(1) normal_in_camera: vec3f,
}

struct BodyIn {
    @location(2) clip_from_camera: vec4f,
    @location(3) slot: f32,
}

struct Surface {
    @builtin(position) position: vec4f,
    // tone seen from outside, tone seen from inside, slot
    @location(0) lit: vec3f,
}

// `n` is a unit normal, or 0 for a vertex without faces
fn tone(n: vec3f) -> f32 {
    let wrapped = 0.5 + 0.5 * dot(n, KEY_DIRECTION);
    return AMBIENT + HEAD * max(-n.z, 0.0) + KEY * wrapped * wrapped;
}

@vertex
fn vertex_main(vertex: VertexIn, body: BodyIn) -> Surface {
    let p = vertex.point_in_camera;
    let c = body.clip_from_camera;
    let n = vertex.normal_in_camera;
    // reversed depth with the far plane at infinity: depth = near / z
    let position = vec4f(c.x * p.x + c.y * p.z, -(c.z * p.y + c.w * p.z), near_plane, p.z);
    return Surface(position, vec3f(tone(n), tone(-n), body.slot));
}

@fragment
fn fragment_main(surface: Surface, @builtin(front_facing) front_facing: bool) -> @location(0) vec2f {
    return vec2f(select(surface.lit.y, surface.lit.x, front_facing), surface.lit.z);
}
