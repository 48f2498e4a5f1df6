//! Keys over time: joint rotations, the pelvis' way, and when a person is there at all.

use gltf_json::accessor::Accessor;
use gltf_json::animation::{Animation, Channel, Interpolation, Property, Sampler, Target};
use gltf_json::validation::Checked::Valid;
use gltf_json::{Index, scene};
use halfpipe_kit::poses::JOINTS;

use super::buffer::Document;
use crate::motion::Track;

/// Adds one person's channels to `animation`.
pub(super) fn add_track(
    document: &mut Document,
    animation: &mut Animation,
    track: &Track,
    times: &[f32],
    armature: Index<scene::Node>,
    joints: &[Index<scene::Node>; JOINTS],
) {
    let input: Vec<[f32; 1]> = track.keys.iter().map(|k| [times[k.frame as usize]]).collect();
    let input = document.floats(&input, None, true);
    for (j, node) in joints.iter().enumerate() {
        let values: Vec<[f32; 4]> = track.keys.iter().map(|k| k.rotations[j]).collect();
        let output = document.floats(&values, None, false);
        add(animation, *node, Property::Rotation, Interpolation::Linear, input, output);
    }
    let way: Vec<[f32; 3]> = track.keys.iter().map(|k| k.pelvis).collect();
    let output = document.floats(&way, None, false);
    add(animation, joints[0], Property::Translation, Interpolation::Linear, input, output);

    let presence = presence(track, times.len());
    if presence.iter().any(|(_, there)| !there) {
        let input: Vec<[f32; 1]> = presence.iter().map(|(frame, _)| [times[*frame]]).collect();
        let scales: Vec<[f32; 3]> = presence.iter().map(|(_, there)| [f32::from(u8::from(*there)); 3]).collect();
        let input = document.floats(&input, None, true);
        let output = document.floats(&scales, None, false);
        add(animation, armature, Property::Scale, Interpolation::Step, input, output);
    }
}

/// Frame times since the first as glTF stores them: single precision, strictly increasing. Frames closer than single precision
/// can tell move by its smallest step.
pub(super) fn input_times(times: &[f64]) -> Vec<f32> {
    let mut last = None;
    times
        .iter()
        .map(|t| {
            let time = (*t as f32).max(last.map_or(0.0, f32::next_up));
            last = Some(time);
            time
        })
        .collect()
}

/// The frames at which a person comes or goes, from frame 0 on.
fn presence(track: &Track, frames: usize) -> Vec<(usize, bool)> {
    let mut there = vec![false; frames];
    for key in &track.keys {
        there[key.frame as usize] = true;
    }
    (0..frames).filter(|i| *i == 0 || there[*i] != there[i - 1]).map(|i| (i, there[i])).collect()
}

fn add(
    animation: &mut Animation,
    node: Index<scene::Node>,
    path: Property,
    interpolation: Interpolation,
    input: Index<Accessor>,
    output: Index<Accessor>,
) {
    let sampler = Index::push(
        &mut animation.samplers,
        Sampler { extensions: None, extras: None, input, interpolation: Valid(interpolation), output },
    );
    let target = Target { extensions: None, extras: None, node, path: Valid(path) };
    animation.channels.push(Channel { sampler, target, extensions: None, extras: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_always_increase() {
        let times = input_times(&[0.0, 1e-12, 0.5, 3000.0, 3_000.000_001, 3_000.000_002]);
        assert_eq!(times[2], 0.5);
        assert!(times.windows(2).all(|w| w[0] < w[1]), "{times:?}");
        assert!((times[5] - 3000.0).abs() < 0.001);
    }
}
