//! Motion files say what the pose file says: joints and vertices agree within a millimetre, times are true, formats are valid.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod body;
mod bvh;
mod glb;
mod validator;

use halfpipe_kit::axes;
use halfpipe_kit::poses::{Frame, JOINTS, Person, PersonStatus, PosesReader};
use halfpipe_kit::rotation::Vec3;
use halfpipe_motion::{BodyRig, GlbOptions, Motion, MotionError};

use self::bvh::Bvh;
use self::glb::{Glb, usize_of};

/// Half a unit of the pose file's last decimals, through a chain of joints.
const MILLIMETRE: f64 = 0.001;

/// Five even frames from 10 s on: track 1 throughout, track 2 absent at first, then in two parts.
fn two_people(rig: &BodyRig) -> Vec<Frame> {
    let present = [vec![1], vec![1, 2], vec![1], vec![1, 2], vec![1]];
    let frame = |(i, tracks): (usize, Vec<u32>)| {
        let people = tracks.into_iter().map(|t| person(rig, t, i as f64)).collect();
        Frame::new(i as u64, 10.0 + i as f64 * 0.04, people)
    };
    present.into_iter().enumerate().map(frame).collect()
}

fn person(rig: &BodyRig, track: u32, step: f64) -> Person {
    body::person(rig, track, step)
}

fn motion(rig: &BodyRig, frames: &[Frame]) -> Motion {
    Motion::read(&body::file(&body::header(rig), frames)[..]).unwrap()
}

fn glb_bytes(motion: &Motion, rig: &BodyRig) -> Vec<u8> {
    let mut out = Vec::new();
    let summary = motion.write_glb(rig, &GlbOptions::default(), &mut out).unwrap();
    assert_eq!(summary.bytes, out.len() as u64);
    out
}

fn bvh_of(motion: &Motion, rig: &BodyRig, track: Option<u32>) -> (Bvh, halfpipe_motion::BvhSummary) {
    let mut out = Vec::new();
    let summary = motion.write_bvh(rig, track, &mut out).unwrap();
    (Bvh::parse(&String::from_utf8(out).unwrap()), summary)
}

/// What the pose file itself says of a person: joints and vertices in the motion files' axes.
fn truth(rig: &BodyRig, person: &Person) -> (Vec<Vec3>, Vec<Vec3>) {
    let pose = person.pose.as_ref().unwrap();
    let posed = body::forward(rig, &pose.rotations, &pose.betas, pose.translation);
    for (a, b) in posed.joints.iter().zip(pose.joints3d) {
        assert!((a - Vec3::from(b.map(f64::from))).norm() < MILLIMETRE, "the pose file agrees with itself");
    }
    (posed.joints.iter().map(axes::flip).collect(), posed.vertices.iter().map(axes::flip).collect())
}

fn assert_near(name: &str, a: &Vec3, b: &Vec3) {
    assert!((a - b).norm() < MILLIMETRE, "{name}: {a:?} is {} m from {b:?}", (a - b).norm());
}

#[test]
fn joints_and_vertices_agree_in_all_formats_for_all_people() {
    let rig = rig();
    let bytes = body::file(&body::header(&rig), &two_people(&rig));
    let motion = Motion::read(&bytes[..]).unwrap();
    let glb = Glb::parse(&glb_bytes(&motion, &rig));
    let bvh = bvh_of(&motion, &rig, Some(1)).0;
    let mut compared = 0;
    for (i, frame) in PosesReader::new(&bytes[..]).unwrap().map(Result::unwrap).enumerate() {
        let seconds = frame.timestamp - 10.0 + 1e-7; // key times are single precision
        for person in &frame.people {
            let (joints, vertices) = truth(&rig, person);
            let armature = glb.node(None, &format!("track{}", person.track));
            for (k, name) in rig.joint_names.iter().enumerate() {
                let place = glb.world(glb.node(Some(armature), name), seconds).column(3).xyz();
                assert_near(&format!("glb frame {i} track {} {name}", person.track), &place, &joints[k]);
                if person.track == 1 {
                    assert_near(&format!("bvh frame {i} {name}"), &bvh.positions(i)[name.as_str()], &joints[k]);
                }
                compared += 1;
            }
            let skinned = glb.skinned(glb.node(None, &format!("track{}_mesh", person.track)), seconds);
            assert_eq!(skinned.len(), vertices.len());
            for (v, (a, b)) in skinned.iter().zip(&vertices).enumerate() {
                assert_near(&format!("glb frame {i} track {} vertex {v}", person.track), a, b);
            }
        }
    }
    assert_eq!(compared, 7 * JOINTS);
}

fn rig() -> BodyRig {
    body::rig()
}

#[test]
fn the_head_is_up_and_the_scene_has_the_videos_camera() {
    // a point seen above the picture's centre is above the camera in the file, one in front is at negative z
    let rig = rig();
    let frames = two_people(&rig);
    let glb = Glb::parse(&glb_bytes(&motion(&rig, &frames), &rig));
    let pelvis = glb.world(glb.node(None, "pelvis"), 0.0).column(3).xyz();
    let camera_axes = frames[0].people[0].pose.as_ref().unwrap().joints3d[0];
    assert_near("pelvis", &pelvis, &Vec3::new(f64::from(camera_axes[0]), -f64::from(camera_axes[1]), -f64::from(camera_axes[2])));
    assert!(pelvis.z < -3.0);
    let perspective = &glb.list("cameras")[0]["perspective"];
    let yfov = perspective["yfov"].as_f64().unwrap();
    assert!((720.0 / 2.0 / (yfov / 2.0).tan() - 1408.0).abs() < 0.01, "{yfov}");
    assert!((perspective["aspectRatio"].as_f64().unwrap() - 1280.0 / 720.0).abs() < 1e-6);
}

#[test]
fn rotations_take_the_short_way_between_frames() {
    let rig = rig();
    let glb = Glb::parse(&glb_bytes(&motion(&rig, &two_people(&rig)), &rig));
    for name in &rig.joint_names {
        let (times, values, interpolation) = glb.sampler(glb.node(None, name), "rotation").unwrap();
        assert_eq!((times.len(), interpolation.as_str()), (5, "LINEAR"));
        for pair in values.windows(2) {
            let dot: f64 = pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum();
            assert!(dot > 0.0, "{name}: {pair:?}");
        }
    }
}

#[test]
fn key_times_are_the_videos_own_counted_from_its_first_frame() {
    let rig = rig();
    let stamps = [100.0, 100.010, 100.050, 100.075, 100.2];
    let frames: Vec<Frame> =
        stamps.iter().enumerate().map(|(i, t)| Frame::new(i as u64 * 3, *t, vec![person(&rig, 1, i as f64)])).collect();
    let motion = motion(&rig, &frames);
    let glb = Glb::parse(&glb_bytes(&motion, &rig));
    let (times, ..) = glb.sampler(glb.node(None, "pelvis"), "translation").unwrap();
    assert_eq!(times.len(), 5);
    for (t, stamp) in times.iter().zip(stamps) {
        assert!((t - (stamp - 100.0)).abs() < 1e-6, "{times:?}");
    }
    let extras = &glb.list("scenes")[0]["extras"];
    assert_eq!((extras["start_time"].as_f64(), extras["frames"].as_u64()), (Some(100.0), Some(5)));
    assert_eq!(extras["provenance"]["guest"], "overlay@0.1.0");

    // BVH has one frame time: the average, with frames in between interpolated
    let (bvh, summary) = bvh_of(&motion, &rig, Some(1));
    assert!(summary.resampled);
    assert_eq!((summary.frames, summary.filled, summary.start), (5, 0, 100.0));
    assert!((summary.frame_time - 0.05).abs() < 1e-9 && (bvh.frame_time - 0.05).abs() < 1e-9);
    for i in 0..5 {
        let seconds = i as f64 * 0.05 + 1e-7;
        for name in &rig.joint_names {
            let expected = glb.world(glb.node(None, name), seconds).column(3).xyz();
            assert_near(&format!("frame {i} {name}"), &bvh.positions(i)[name.as_str()], &expected);
        }
    }
}

#[test]
fn timestamps_rounded_to_milliseconds_count_as_even() {
    let rig = rig();
    let frames: Vec<Frame> =
        (0..7).map(|i| Frame::new(i, (i as f64 * 1000.0 / 30.0).round() / 1000.0, vec![person(&rig, 1, i as f64)])).collect();
    let (bvh, summary) = bvh_of(&motion(&rig, &frames), &rig, Some(1));
    assert!(!summary.resampled);
    for (i, frame) in frames.iter().enumerate() {
        let joints = truth(&rig, &frame.people[0]).0;
        for (k, name) in rig.joint_names.iter().enumerate() {
            assert_near(name, &bvh.positions(i)[name.as_str()], &joints[k]);
        }
    }
}

#[test]
fn an_absent_person_vanishes_and_comes_back() {
    let rig = rig();
    let glb = Glb::parse(&glb_bytes(&motion(&rig, &two_people(&rig)), &rig));
    let armature = glb.node(None, "track2");
    let (times, scales, interpolation) = glb.sampler(armature, "scale").unwrap();
    assert_eq!(interpolation, "STEP");
    let expected = [(0.0, 0.0), (0.04, 1.0), (0.08, 0.0), (0.12, 1.0), (0.16, 0.0)];
    assert_eq!(times.len(), expected.len());
    for ((t, scale), (due, visible)) in times.iter().zip(&scales).zip(expected) {
        assert!((t - due).abs() < 1e-6);
        assert_eq!(scale, &vec![visible; 3]);
    }
    assert!(glb.sampler(glb.node(None, "track1"), "scale").is_none(), "nothing to say of somebody who is always there");
    let spread = |seconds: f64| {
        let v = glb.skinned(glb.node(None, "track2_mesh"), seconds);
        v.iter().map(|p| (p - v[0]).norm()).fold(0.0, f64::max)
    };
    assert_eq!(spread(0.09), 0.0);
    assert!(spread(0.13) > 0.3);
}

#[test]
fn a_bvh_file_spans_its_person_and_says_what_it_filled_in() {
    let rig = rig();
    let frames = two_people(&rig);
    let motion = motion(&rig, &frames);
    assert_eq!(motion.bvh_files("run"), [(Some(1), "run.bvh".to_string()), (Some(2), "run.track2.bvh".to_string())]);
    let (bvh, summary) = bvh_of(&motion, &rig, Some(2));
    assert_eq!((summary.track, summary.frames, summary.filled, summary.resampled), (Some(2), 3, 1, false));
    assert!((summary.start - 10.04).abs() < 1e-9);
    let (before, after) = (truth(&rig, &frames[1].people[1]).0[0], truth(&rig, &frames[3].people[1]).0[0]);
    assert_near("half way", &bvh.positions(1)["pelvis"], &((before + after) / 2.0));
    let mut names = bvh.names();
    assert_eq!(names[0], "pelvis");
    names.sort_unstable();
    let mut due: Vec<&str> = rig.joint_names.iter().map(String::as_str).collect();
    due.sort_unstable();
    assert_eq!(names, due);
}

#[test]
fn names_and_counts_tell_where_poses_come_from() {
    let rig = rig();
    let mut frames = two_people(&rig);
    frames[2].people[0].status = PersonStatus::Interpolated;
    frames[4].people[0].status = PersonStatus::LowConfidence;
    let frames: Vec<Frame> = frames.into_iter().map(|f| Frame::new(f.index, f.timestamp, f.people)).collect();
    let motion = motion(&rig, &frames);
    assert_eq!(motion.tracks().iter().map(|t| (t.id(), t.poses())).collect::<Vec<_>>(), [(1, 5), (2, 2)]);
    let glb = Glb::parse(&glb_bytes(&motion, &rig));
    let extras = &glb.list("nodes")[glb.node(None, "track1")]["extras"];
    let counts = ["frames_detected", "frames_interpolated", "frames_low_confidence"].map(|k| extras[k].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 1]);
    let skin = &glb.list("skins")[1];
    let names: Vec<&str> =
        skin["joints"].as_array().unwrap().iter().map(|j| glb.list("nodes")[usize_of(j)]["name"].as_str().unwrap()).collect();
    assert_eq!(names, rig.joint_names.each_ref().map(String::as_str));
    // faces and weights are stored once, positions for each shape
    let attributes = |m: usize| &glb.list("meshes")[m]["primitives"][0];
    assert_eq!(attributes(0)["indices"], attributes(1)["indices"]);
    assert_eq!(attributes(0)["attributes"]["WEIGHTS_0"], attributes(1)["attributes"]["WEIGHTS_0"]);
    assert_ne!(attributes(0)["attributes"]["POSITION"], attributes(1)["attributes"]["POSITION"]);
}

#[test]
fn a_video_without_people_gives_readable_files() {
    let rig = rig();
    let ghost = Person { status: PersonStatus::LowConfidence, pose: None, mesh_drawn: false, ..person(&rig, 1, 0.0) };
    for frames in [vec![], vec![Frame::new(0, 0.5, vec![]), Frame::failed(1, 0.6, "no memory"), Frame::new(2, 0.7, vec![ghost])]] {
        let motion = motion(&rig, &frames);
        assert_eq!((motion.frames(), motion.tracks().len()), (frames.len(), 0));
        let glb = Glb::parse(&glb_bytes(&motion, &rig));
        assert_eq!((glb.list("animations").len(), glb.list("meshes").len(), glb.list("nodes").len()), (0, 0, 1));
        assert_eq!(glb.list("scenes")[0]["extras"]["frames"], frames.len());
        assert_eq!(motion.bvh_files("run"), [(None, "run.bvh".to_string())]);
        let (bvh, summary) = bvh_of(&motion, &rig, None);
        assert_eq!((summary.track, summary.frames), (None, 1));
        assert_near("pelvis", &bvh.positions(0)["pelvis"], &Vec3::from(rig.joints[0].map(f64::from)));
    }
}

#[test]
fn a_single_pose_is_a_motion() {
    let rig = rig();
    let motion = motion(&rig, &[Frame::new(7, 3.0, vec![person(&rig, 4, 0.0)])]);
    let (bvh, summary) = bvh_of(&motion, &rig, Some(4));
    assert_eq!((bvh.frames.len(), summary.frame_time, summary.start), (1, 1.0 / 25.0, 3.0));
    let reports = validator::validate(&[("single.glb", glb_bytes(&motion, &rig))]);
    assert_eq!(reports.len(), 1);
}

#[test]
fn broken_input_is_refused_with_a_reason() {
    let rig = rig();
    let good = String::from_utf8(body::file(&body::header(&rig), &two_people(&rig))).unwrap();
    // NaN has no place in JSON; what broken writers put there instead is refused by its line
    for bad in ["NaN", "null", "1e999"] {
        let text = good.replacen("\"translation\":[-0.2,", &format!("\"translation\":[{bad},"), 1);
        assert_ne!(text, good);
        let error = Motion::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 3 of the pose file"), "{error}");
    }
    let motion = motion(&rig, &two_people(&rig));
    let glb = |rig: &BodyRig| motion.write_glb(rig, &GlbOptions::default(), Vec::new()).unwrap_err().to_string();
    let mut other = rig.clone();
    other.name = "another".into();
    assert!(glb(&other).contains("the rig of another: names differ"));
    let mut other = rig.clone();
    other.joint_names.swap(3, 4);
    assert!(glb(&other).contains("joints differ"));
    let mut torn = rig.clone();
    torn.faces[5][1] = 144;
    assert!(glb(&torn).contains("face 5 is no triangle of its 144 vertices"));
    let mut flat = rig.clone();
    flat.bind[7] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]];
    assert!(glb(&flat).contains("bind of joint 7 is not a rotation"));
    let mut light = rig.clone();
    light.skin_weights[9] = [0.5, 0.0, 0.0, 0.0];
    assert!(glb(&light).contains("the skin of vertex 9"));
    let mut lost = rig.clone();
    lost.vertices[0][0] = f32::NAN;
    assert!(glb(&lost).contains("not finite"));
    let mut cyclic = rig.clone();
    cyclic.parents[3] = 9;
    assert!(glb(&cyclic).contains("joint 3 has parent 9"));
    let error = motion.write_bvh(&rig, Some(9), Vec::new()).unwrap_err();
    assert!(matches!(&error, MotionError::UnknownTrack { track: 9, known } if known == &[1, 2]), "{error}");
}

#[test]
fn the_khronos_validator_finds_nothing_to_say() {
    let rig = rig();
    let people = motion(&rig, &two_people(&rig));
    let nobody = motion(&rig, &[Frame::new(0, 0.0, vec![])]);
    let reports = validator::validate(&[("people.glb", glb_bytes(&people, &rig)), ("nobody.glb", glb_bytes(&nobody, &rig))]);
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["info"]["animationCount"], 1);
    assert_eq!(reports[0]["info"]["totalVertexCount"], 2 * 144);
    assert_eq!(reports[1]["info"]["animationCount"], 0);
}
