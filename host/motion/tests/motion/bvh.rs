//! Reads a .bvh file and plays it, knowing the format and nothing of the writer.

use std::collections::HashMap;

use halfpipe_kit::rotation::{self, Mat3, Vec3};

struct Joint {
    name: String,
    parent: Option<usize>,
    offset: Vec3,
    channels: Vec<String>,
}

pub struct Bvh {
    joints: Vec<Joint>,
    pub frame_time: f64,
    pub frames: Vec<Vec<f64>>,
}

impl Bvh {
    pub fn parse(text: &str) -> Self {
        let (hierarchy, motion) = text.split_once("MOTION").unwrap();
        let mut words = hierarchy.split_whitespace();
        assert_eq!(words.next(), Some("HIERARCHY"));
        let mut joints: Vec<Joint> = Vec::new();
        // an end site has no channels and no place among the joints
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut next = None;
        while let Some(word) = words.next() {
            match word {
                "ROOT" | "JOINT" => {
                    let parent = open.last().copied().flatten();
                    assert_eq!(word == "ROOT", parent.is_none());
                    joints.push(Joint { name: words.next().unwrap().into(), parent, offset: Vec3::zeros(), channels: vec![] });
                    next = Some(joints.len() - 1);
                }
                "End" => {
                    assert_eq!(words.next(), Some("Site"));
                    next = None;
                }
                "{" => open.push(next),
                "}" => assert!(open.pop().is_some()),
                "OFFSET" => {
                    let offset = Vec3::from_fn(|_, _| words.next().unwrap().parse().unwrap());
                    if let Some(joint) = open.last().copied().flatten() {
                        joints[joint].offset = offset;
                    }
                }
                "CHANNELS" => {
                    let count: usize = words.next().unwrap().parse().unwrap();
                    let joint = open.last().copied().flatten().unwrap();
                    joints[joint].channels = (0..count).map(|_| words.next().unwrap().to_string()).collect();
                }
                other => panic!("{other}"),
            }
        }
        assert!(open.is_empty());
        let mut lines = motion.trim().lines();
        let count: usize = lines.next().unwrap().strip_prefix("Frames:").unwrap().trim().parse().unwrap();
        let frame_time = lines.next().unwrap().strip_prefix("Frame Time:").unwrap().trim().parse().unwrap();
        let frames: Vec<Vec<f64>> = lines.map(|l| l.split_whitespace().map(|w| w.parse().unwrap()).collect()).collect();
        assert_eq!(frames.len(), count);
        let channels: usize = joints.iter().map(|j| j.channels.len()).sum();
        assert!(frames.iter().all(|f| f.len() == channels));
        Self { joints, frame_time, frames }
    }

    pub fn names(&self) -> Vec<&str> {
        self.joints.iter().map(|j| j.name.as_str()).collect()
    }

    /// Joint positions of a frame, by name.
    pub fn positions(&self, frame: usize) -> HashMap<&str, Vec3> {
        let mut values = self.frames[frame].iter();
        let mut world: Vec<(Mat3, Vec3)> = Vec::new();
        for joint in &self.joints {
            let (mut turn, mut shift) = (Mat3::identity(), joint.offset);
            for channel in &joint.channels {
                let v = *values.next().unwrap();
                let axis = match &channel[..1] {
                    "X" => Vec3::x(),
                    "Y" => Vec3::y(),
                    _ => Vec3::z(),
                };
                match &channel[1..] {
                    "position" => shift += axis * v,
                    "rotation" => turn *= rotation::exp(&(axis * v.to_radians())),
                    other => panic!("{other}"),
                }
            }
            let (parent_turn, parent_place) = joint.parent.map_or((Mat3::identity(), Vec3::zeros()), |p| world[p]);
            world.push((parent_turn * turn, parent_place + parent_turn * shift));
        }
        self.joints.iter().zip(world).map(|(j, (_, place))| (j.name.as_str(), place)).collect()
    }
}
