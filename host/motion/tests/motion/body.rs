//! A small body with a mesh of 144 vertices and a rest pose that is no T pose, pose files of it, and plain forward kinematics.

use halfpipe_kit::axes;
use halfpipe_kit::poses::{
    Angles, Axes, Body, Camera, CameraModel, Frame, Header, JOINTS, Person, PersonStatus, Pose, PosesWriter, Schema, Skeleton, Video,
};
use halfpipe_kit::rotation::{self, Mat3, Vec3};
use halfpipe_motion::BodyRig;

/// Digits without a pattern in -1..1, the same every time.
pub fn noise(seed: usize) -> f64 {
    ((seed as f64 + 1.0) * 12.9898).sin() * 43_758.545_3 % 1.0
}

fn noise3(seed: usize, scale: f64) -> [f32; 3] {
    std::array::from_fn(|c| (noise(seed * 3 + c) * scale) as f32)
}

pub fn rig() -> BodyRig {
    let skeleton = Skeleton::default();
    let mut joints = [[0.0f32; 3]; JOINTS];
    joints[0] = [0.01, -0.02, 0.03];
    for k in 1..JOINTS {
        let (parent, step) = (joints[skeleton.parents[k] as usize], noise3(k + 100, 0.3));
        joints[k] = std::array::from_fn(|c| parent[c] + step[c]);
    }
    let bind = std::array::from_fn(|k| axes::rows(&rotation::exp(&Vec3::from(noise3(k + 200, 0.8).map(f64::from)))));
    let (mut vertices, mut faces, mut skin_joints, mut skin_weights) = (vec![], vec![], vec![], vec![]);
    for (k, joint) in joints.iter().enumerate() {
        // an octahedron around each joint, bound to it and to its parent
        let base = vertices.len() as u32;
        for (axis, sign) in [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0), (2, 1.0), (2, -1.0)] {
            let mut v = *joint;
            v[axis] += sign * 0.05;
            vertices.push(v);
            let parent = skeleton.parents[k].max(0) as u16;
            skin_joints.push([k as u16, parent, 0, 0]);
            skin_weights.push([0.75, 0.25, 0.0, 0.0]);
        }
        for x in [0, 1] {
            for y in [2, 3] {
                for z in [4, 5] {
                    let outward = (x + y + z) % 2 == 0;
                    faces.push(if outward { [base + x, base + y, base + z] } else { [base + x, base + z, base + y] });
                }
            }
        }
    }
    let shapes = |count: usize, seed: usize| (0..count).map(|i| (noise(i + seed) * 0.02) as f32).collect::<Vec<f32>>();
    BodyRig {
        name: "test-body".into(),
        shape_names: vec!["height".into(), "weight".into()],
        joint_names: skeleton.joint_names,
        parents: skeleton.parents,
        joints,
        joint_shapes: shapes(JOINTS * 3 * 2, 1000),
        bind,
        vertex_shapes: shapes(vertices.len() * 3 * 2, 5000),
        vertices,
        faces,
        skin_joints,
        skin_weights,
    }
}

pub fn header(rig: &BodyRig) -> Header {
    Header {
        schema: Schema::V1,
        video: Video { frames: None, width: 1280, height: 720, frame_rate: 25.0, time_base: None, duration: None },
        camera: Camera { model: CameraModel::Pinhole, focal: 1408.0, center: [640.0, 360.0] },
        axes: Axes::CameraMetres,
        skeleton: Skeleton { joint_names: rig.joint_names.clone(), parents: rig.parents },
        body: Body { name: rig.name.clone(), shape_names: rig.shape_names.clone() },
        keypoint_names: vec![],
        landmark_names: vec![],
        openpose_names: vec![],
        settings: serde_json::Map::new(),
        provenance: serde_json::json!({"guest": "overlay@0.1.0"}).as_object().unwrap().clone(),
    }
}

/// Joints and vertices of a posed body, metres, camera axes.
pub struct Posed {
    pub joints: [Vec3; JOINTS],
    pub vertices: Vec<Vec3>,
}

/// Poses a body by the formula of the body model, straight from the numbers of a pose file.
pub fn forward(rig: &BodyRig, rotations: &[[f32; 4]; JOINTS], betas: &[f32], translation: [f32; 3]) -> Posed {
    let shape = |rest: [f32; 3], shapes: &[f32], i: usize| {
        let k = betas.len();
        Vec3::from_fn(|c, _| f64::from(rest[c]) + (0..k).map(|s| f64::from(shapes[(i * 3 + c) * k + s]) * f64::from(betas[s])).sum::<f64>())
    };
    let joints: [Vec3; JOINTS] = std::array::from_fn(|k| shape(rig.joints[k], &rig.joint_shapes, k));
    let (mut global, mut place) = ([Mat3::identity(); JOINTS], [Vec3::zeros(); JOINTS]);
    for k in 0..JOINTS {
        let local = rotation::from_quaternion(&rotations[k].map(f64::from)).unwrap();
        if let Ok(p) = usize::try_from(rig.parents[k]) {
            global[k] = global[p] * local;
            place[k] = place[p] + global[p] * axes::from_rows(&rig.bind[p]).transpose() * (joints[k] - joints[p]);
        } else {
            (global[k], place[k]) = (local, joints[k]);
        }
    }
    let vertices = (0..rig.vertices.len()).map(|i| {
        let v = shape(rig.vertices[i], &rig.vertex_shapes, i);
        rig.skin_joints[i].iter().zip(rig.skin_weights[i]).fold(Vec3::zeros(), |sum, (k, w)| {
            let k = usize::from(*k);
            sum + (global[k] * axes::from_rows(&rig.bind[k]).transpose() * (v - joints[k]) + place[k]) * f64::from(w)
        })
    });
    let translation = Vec3::from(translation.map(f64::from));
    let vertices = vertices.map(|v| axes::camera_from_body(&v, &translation)).collect();
    Posed { joints: place.map(|p| axes::camera_from_body(&p, &translation)), vertices }
}

/// A person in a pose that depends on track and step, moving on as steps grow.
pub fn person(rig: &BodyRig, track: u32, step: f64) -> Person {
    let seed = track as usize * 1000;
    let rotations: [[f32; 4]; JOINTS] = std::array::from_fn(|k| {
        let axis = Vec3::from_fn(|c, _| noise(seed + k * 3 + c));
        let q = rotation::to_quaternion(&rotation::exp(&(axis * (0.5 + 0.3 * step))));
        // signs as a solver may leave them
        q.map(|v| if (k + step as usize).is_multiple_of(3) { -v } else { v } as f32)
    });
    let betas = vec![0.5, -1.0 + track as f32 * 0.25];
    let translation = [0.1 * step as f32 - 0.3, 0.05, 4.0 + track as f32];
    let joints3d = forward(rig, &rotations, &betas, translation).joints.map(|p| [p.x as f32, p.y as f32, p.z as f32]);
    Person {
        track,
        status: PersonStatus::Detected,
        bbox: [10.0, 20.0, 30.0, 40.0],
        score: Some(0.9),
        presence: Some(0.9),
        confidence: 0.9,
        keypoints2d: vec![],
        landmarks2d: vec![],
        landmarks3d: vec![],
        pose: Some(Pose {
            rotations,
            translation,
            betas,
            joints2d: [[0.0; 2]; JOINTS],
            joints3d,
            angles: Angles::default(),
            reprojection_px: None,
            openpose: None,
        }),
        mesh_drawn: true,
    }
}

pub fn file(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PosesWriter::new(header, &mut out).unwrap();
    for frame in frames {
        writer.write(frame, &mut out).unwrap();
    }
    out
}
