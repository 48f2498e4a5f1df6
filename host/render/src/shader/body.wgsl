// The body pass: for every sample, how bright the nearest surface is lit (tone) and whose it is (slot).
//
// There are two light models, each with a vertex stage of its own.
//
// SOFT, in camera axes (x right, y down, z forward), with n the unit normal of the side that is seen:
//
//   tone = AMBIENT + HEAD * max(n . h, 0) + KEY * (0.5 + 0.5 n . k)^2
//
// h points back along the optical axis (a headlight), k to the upper left in front of the body (a key light, wrapped around the
// body so that its terminator is soft). The weights add up to 1, so a tone is never clipped; the body's colour times the tone is
// what is seen. All of it happens on display-referred (gamma-encoded) values, as the usual previews of body models do.
//
// RAYMOND is what 4D-Humans draws on whole frames (`render_rgba_multiple` of its `hmr2/utils/renderer.py`, by pyrender): a white
// material of metalness 0.2 and roughness 0.8 times the body's colour, ambient light of 0.3, and the four directional lights of
// intensity 1 that pyrender chooses of the nine given, as it takes no more: the three raymond lights, 30 degrees off the optical
// axis, and a headlight. (Its point lights stand half a metre around the camera; tens of metres away nothing is left of them.)
// The surface is a Cook-Torrance one as glTF 2.0 describes it, appendix B: GGX distribution, Schlick's Fresnel term, Smith's
// shadowing in Schlick's form. What is seen is (light * colour)^(1 / 2.2) = light^(1 / 2.2) * colour^(1 / 2.2), so the tone is
// light^(1 / 2.2) / RAYMOND_PEAK, and `src/ink.rs` does the rest.
//
// Tones are computed at the vertices and interpolated (Gouraud): a body's triangles are a few pixels large, where this cannot be
// told from lighting every sample, and a software adapter needs about 8 % less time for it.
// Keep the inputs in sync with `src/gpu_data.rs`.

const AMBIENT: f32 = 0.25;
const HEAD: f32 = 0.40;
const KEY: f32 = 0.35;
const KEY_DIRECTION: vec3f = vec3f(-0.4242641, -0.5656854, -0.7071068);

const PI: f32 = 3.14159265;
const RAYMOND_AMBIENT: f32 = 0.3;
const METALNESS: f32 = 0.2;
const ROUGHNESS: f32 = 0.8;
// what a surface that is not metallic reflects head on
const DIELECTRIC: f32 = 0.04;
// `RAYMOND_PEAK` of `src/ink.rs`
const RAYMOND_PEAK: f32 = 1.25;
const HEADLIGHT: vec3f = vec3f(0.0, 0.0, -1.0);
// (sin 30, 0, cos 30) and the same turned by 120 and 240 degrees about the optical axis, y up and towards the camera there
const RAYMOND_0: vec3f = vec3f(0.5, 0.0, -0.8660254);
const RAYMOND_1: vec3f = vec3f(-0.25, -0.4330127, -0.8660254);
const RAYMOND_2: vec3f = vec3f(-0.25, 0.4330127, -0.8660254);

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

// what a white surface of normal `n` reflects towards `v` of a light of intensity 1 that comes from `l`; all are unit vectors
fn reflected(n: vec3f, v: vec3f, l: vec3f) -> f32 {
    let h = normalize(l + v);
    let nl = clamp(dot(n, l), 0.001, 1.0);
    let nv = clamp(abs(dot(n, v)), 0.001, 1.0);
    let nh = clamp(dot(n, h), 0.0, 1.0);
    let vh = clamp(dot(v, h), 0.0, 1.0);

    let head_on = mix(DIELECTRIC, 1.0, METALNESS);
    let fresnel = head_on + (1.0 - head_on) * pow(1.0 - vh, 5.0);
    let k = (ROUGHNESS + 1.0) * (ROUGHNESS + 1.0) / 8.0;
    let shadowing = nl / (nl * (1.0 - k) + k) * nv / (nv * (1.0 - k) + k);
    let alpha_squared = ROUGHNESS * ROUGHNESS * ROUGHNESS * ROUGHNESS;
    let spread = nh * nh * (alpha_squared - 1.0) + 1.0;
    let distribution = alpha_squared / (PI * spread * spread);

    let diffuse = (1.0 - fresnel) * (1.0 - DIELECTRIC) * (1.0 - METALNESS) / PI;
    let specular = fresnel * shadowing * distribution / (4.0 * nl * nv + 0.001);
    return nl * (diffuse + specular);
}

fn raymond_tone(n: vec3f, v: vec3f) -> f32 {
    let lights = reflected(n, v, HEADLIGHT) + reflected(n, v, RAYMOND_0) + reflected(n, v, RAYMOND_1) + reflected(n, v, RAYMOND_2);
    return pow(RAYMOND_AMBIENT + lights, 1.0 / 2.2) / RAYMOND_PEAK;
}

fn on_screen(p: vec3f, c: vec4f) -> vec4f {
    // reversed depth with the far plane at infinity: depth = near / z
    return vec4f(c.x * p.x + c.y * p.z, -(c.z * p.y + c.w * p.z), near_plane, p.z);
}

@vertex
fn vertex_soft(vertex: VertexIn, body: BodyIn) -> Surface {
    let n = vertex.normal_in_camera;
    return Surface(on_screen(vertex.point_in_camera, body.clip_from_camera), vec3f(tone(n), tone(-n), body.slot));
}

@vertex
fn vertex_raymond(vertex: VertexIn, body: BodyIn) -> Surface {
    let p = vertex.point_in_camera;
    let n = vertex.normal_in_camera;
    let v = -normalize(p);
    return Surface(on_screen(p, body.clip_from_camera), vec3f(raymond_tone(n, v), raymond_tone(-n, v), body.slot));
}

@fragment
fn fragment_main(surface: Surface, @builtin(front_facing) front_facing: bool) -> @location(0) vec2f {
    return vec2f(select(surface.lit.y, surface.lit.x, front_facing), surface.lit.z);
}
