//! Binary glTF 2.0 (Khronos): skinned bodies that move as the people in the video did.
//!
//! One scene holds the video's camera at the origin and, for each track, a node `track<N>` (its extras tell how many frames were
//! measured or filled in) above a tree of 24 joint nodes, and a skinned mesh `track<N>_mesh` shaped by the mean of the track's
//! betas. Faces and skin weights are stored once. One animation moves all: a rotation channel for each joint and a translation
//! channel for the pelvis, with keys at the frames in which the track has a pose. glTF has no visibility channel, so while a track
//! has no pose its node `track<N>` is scaled to 0 (STEP keys).
//!
//! The scene's extras hold the first frame's timestamp (animation time 0), the number of frames and the pose file's provenance.

mod animation;
mod buffer;
mod mesh;

use std::io::Write;

use gltf_json::animation::Animation;
use gltf_json::asset::Asset;
use gltf_json::camera::{Camera, Perspective, Type};
use gltf_json::extras::RawValue;
use gltf_json::scene::{Node, Scene, UnitQuaternion};
use gltf_json::validation::Checked::Valid;
use gltf_json::{Extras, Index};
use halfpipe_kit::poses::{Header, JOINTS};
use serde_json::json;

use self::buffer::Document;
use crate::MotionError;
use crate::motion::{Motion, Track};
use crate::rig::{BodyRig, Shaped};

/// Distance of the camera's near plane, metres.
const NEAR: f32 = 0.05;

/// How a .glb file looks and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlbOptions {
    /// sRGB colour of the bodies.
    pub colour: [u8; 3],
    /// The tool that made the file, with its version.
    pub generator: String,
    /// The body's copyright notice and licence, which must travel with its mesh.
    pub copyright: Option<String>,
}

impl Default for GlbOptions {
    fn default() -> Self {
        Self { colour: [166, 189, 219], generator: concat!("halfpipe ", env!("CARGO_PKG_VERSION")).into(), copyright: None }
    }
}

/// What a .glb file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlbSummary {
    /// People in it.
    pub tracks: usize,
    /// Its size.
    pub bytes: u64,
}

impl Motion {
    /// Writes everybody's motion as one .glb file. Without people the file is valid and holds the camera alone.
    ///
    /// # Errors
    /// [`MotionError::Rig`] and [`MotionError::OtherBody`] where the rig is broken or not the poses' own, [`MotionError::TooLarge`]
    /// beyond 4 GiB, [`MotionError::Write`] where `out` fails.
    pub fn write_glb(&self, rig: &BodyRig, options: &GlbOptions, mut out: impl Write) -> Result<GlbSummary, MotionError> {
        rig.check()?;
        rig.check_header(&self.header)?;
        let mut document = Document::default();
        document.root.asset =
            Asset { generator: Some(options.generator.clone()), copyright: options.copyright.clone(), ..Asset::default() };
        let mut nodes = vec![camera(&mut document, &self.header)];
        if !self.tracks.is_empty() {
            let shared = mesh::SharedMesh::new(&mut document, rig, options.colour);
            let times = animation::input_times(&self.times);
            let mut motion = Animation { extensions: None, extras: None, channels: vec![], name: Some("motion".into()), samplers: vec![] };
            for track in &self.tracks {
                let name = format!("track{}", track.id);
                let shaped = rig.shaped(&track.betas);
                let joints = joints(&mut document, rig, &shaped, track);
                let armature = document.root.push(Node {
                    name: Some(name.clone()),
                    children: Some(vec![joints[0]]),
                    extras: track_extras(track)?,
                    ..Node::default()
                });
                let mesh_name = format!("{name}_mesh");
                let mesh = Some(shared.person(&mut document, &mesh_name, rig, &shaped));
                let skin = Some(mesh::skin(&mut document, &name, &shaped, &joints));
                let body = document.root.push(Node { name: Some(mesh_name), mesh, skin, ..Node::default() });
                nodes.extend([armature, body]);
                animation::add_track(&mut document, &mut motion, track, &times, armature, &joints);
            }
            document.root.push(motion);
        }
        let extras = self.scene_extras()?;
        let scene = document.root.push(Scene { extensions: None, extras, name: Some("video".into()), nodes });
        document.root.scene = Some(scene);
        let bytes = document.write(&mut out)?;
        Ok(GlbSummary { tracks: self.tracks.len(), bytes })
    }

    fn scene_extras(&self) -> Result<Extras, MotionError> {
        raw(&json!({
            "start_time": self.start,
            "frames": self.times.len(),
            "frame_rate": self.header.video.frame_rate,
            "settings": self.header.settings,
            "provenance": self.header.provenance,
        }))
    }
}

/// Joint nodes that stand in the track's first pose while no animation plays.
fn joints(document: &mut Document, rig: &BodyRig, shaped: &Shaped, track: &Track) -> [Index<Node>; JOINTS] {
    let first = &track.keys[0];
    let base = document.root.nodes.len() as u32;
    let index = |k: usize| Index::new(base + k as u32);
    for k in 0..JOINTS {
        let children: Vec<_> = (0..JOINTS).filter(|c| rig.parents[*c] == k as i32).map(index).collect();
        let offset = shaped.offsets[k];
        let translation = if k == 0 { first.pelvis } else { [offset.x as f32, offset.y as f32, offset.z as f32] };
        document.root.push(Node {
            name: Some(rig.joint_names[k].clone()),
            children: (!children.is_empty()).then_some(children),
            rotation: Some(UnitQuaternion(first.rotations[k])),
            translation: Some(translation),
            ..Node::default()
        });
    }
    std::array::from_fn(index)
}

/// The video's camera. glTF's looks along -z with y up, which is what flipped camera axes give, so it stands unturned at the origin.
fn camera(document: &mut Document, header: &Header) -> Index<Node> {
    let (width, height) = (header.video.width as f32, header.video.height as f32);
    let perspective = Perspective {
        aspect_ratio: Some(width / height),
        yfov: 2.0 * (height / (2.0 * header.camera.focal)).atan(),
        zfar: None,
        znear: NEAR,
        extensions: None,
        extras: None,
    };
    let camera = document.root.push(Camera {
        name: Some("camera".into()),
        orthographic: None,
        perspective: Some(perspective),
        type_: Valid(Type::Perspective),
        extensions: None,
        extras: None,
    });
    document.root.push(Node { name: Some("camera".into()), camera: Some(camera), ..Node::default() })
}

fn track_extras(track: &Track) -> Result<Extras, MotionError> {
    let [detected, interpolated, low_confidence] = track.counts;
    raw(&json!({
        "track": track.id,
        "frames_detected": detected,
        "frames_interpolated": interpolated,
        "frames_low_confidence": low_confidence,
        "betas": track.betas,
    }))
}

fn raw(value: &serde_json::Value) -> Result<Extras, MotionError> {
    Ok(Some(RawValue::from_string(value.to_string())?))
}
