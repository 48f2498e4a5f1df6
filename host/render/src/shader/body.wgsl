// The body pass: for every sample, how bright the nearest surface is lit (tone) and whose it is (slot).
//
// Light model, in camera axes (x right, y down, z forward), with n the unit normal turned towards the camera:
//
//   tone = AMBIENT + HEAD * max(n . h, 0) + KEY * (0.5 + 0.5 n . k)^2
//
// h points back along the optical axis (a headlight), k to the upper left in front of the body (a key light, wrapped around the
// body so that its terminator is soft). The weights add up to 1, so a tone is never clipped; the body's colour times the tone is
// what is seen. All of it happens on display-referred (gamma-encoded) values, as the usual previews of body models do.
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
    @location(0) normal_in_camera: vec3f,
    @location(1) @interpolate(flat) slot: f32,
}

@vertex
fn vertex_main(vertex: VertexIn, body: BodyIn) -> Surface {
    let p = vertex.point_in_camera;
    let c = body.clip_from_camera;
    // reversed depth with the far plane at infinity: depth = near / z
    let position = vec4f(c.x * p.x + c.y * p.z, -(c.z * p.y + c.w * p.z), near_plane, p.z);
    return Surface(position, vertex.normal_in_camera, body.slot);
}

@fragment
fn fragment_main(surface: Surface, @builtin(front_facing) front_facing: bool) -> @location(0) vec2f {
    // a vertex without a face around it has no normal: it is lit as if seen from the side
    var n = surface.normal_in_camera * inverseSqrt(max(dot(surface.normal_in_camera, surface.normal_in_camera), 1e-12));
    n = select(-n, n, front_facing);
    let head = max(-n.z, 0.0);
    let wrapped = 0.5 + 0.5 * dot(n, KEY_DIRECTION);
    return vec2f(AMBIENT + HEAD * head + KEY * wrapped * wrapped, surface.slot);
}
