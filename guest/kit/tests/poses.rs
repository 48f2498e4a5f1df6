//! The pose file: what is written is read back, fits the JSON Schema, stays small, and faults are named by line.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::BufReader;

use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::poses::{
    Angles, Axes, Body, Camera, CameraModel, Frame, FrameStatus, Header, JSON_SCHEMA, OpenPosePoints, Person, PersonStatus, Pose,
    PosesReader, PosesWriter, ReadError, Schema, Skeleton, Video, WriteError,
};
use halfpipe_kit::skeleton::openpose::OPENPOSE_NAMES;
use serde_json::{Value, json};

fn header() -> Header {
    Header {
        schema: Schema::V1,
        video: Video { frames: Some(3), width: 1920, height: 1080, frame_rate: 29.97, time_base: Some([1, 30_000]), duration: None },
        camera: Camera { model: CameraModel::Pinhole, focal: 2112.0, center: [960.0, 540.0] },
        axes: Axes::CameraMetres,
        skeleton: Skeleton::default(),
        body: Body { name: "body".into(), shape_names: (0..12).map(|i| format!("shape{i}")).collect() },
        keypoint_names: (0..17).map(|i| format!("keypoint{i}")).collect(),
        landmark_names: (0..33).map(|i| format!("landmark{i}")).collect(),
        openpose_names: vec![],
        settings: serde_json::Map::new(),
        provenance: json!({"host": "0.1.0"}).as_object().unwrap().clone(),
    }
}

/// Digits as many as real data has.
fn value(i: usize, scale: f32) -> f32 {
    ((i as f32 * 12.9898).sin() * 43758.547).fract() * scale
}

fn person(track: u32) -> Person {
    let rotations = std::array::from_fn(|j| {
        let q: [f32; 4] = std::array::from_fn(|k| value(j * 4 + k, 1.0) + 0.01);
        let n = q.iter().map(|v| v * v).sum::<f32>().sqrt();
        q.map(|v| v / n)
    });
    let points = |n: usize, scale: f32| (0..n).map(|i| std::array::from_fn(|k| value(i * 3 + k, scale).abs())).collect::<Vec<[f32; 3]>>();
    Person {
        track,
        status: PersonStatus::Detected,
        bbox: [812.3456, 101.5, 300.256, 800.125],
        score: Some(0.87654),
        presence: Some(0.99),
        confidence: 0.876,
        keypoints2d: points(17, 1500.0),
        landmarks2d: points(33, 1500.0),
        landmarks3d: points(33, -1.0),
        pose: Some(Pose {
            rotations,
            translation: [0.123_456, -0.2, 6.543_21],
            betas: (0..12).map(|i| value(i, 1.0)).collect(),
            joints2d: std::array::from_fn(|i| [value(i, 1500.0).abs(), value(i + 50, 1000.0).abs()]),
            joints3d: std::array::from_fn(|i| [value(i, -1.0), value(i + 7, 1.0), value(i + 9, 1.0) + 6.0]),
            angles: Angles { left_knee: Some(123.41), spine: Some(180.0), ..Angles::default() },
            reprojection_px: Some(3.217),
            openpose: None,
        }),
        mesh_drawn: true,
    }
}

fn file(frames: &[Frame]) -> Vec<u8> {
    file_of(&header(), frames)
}

fn file_of(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PosesWriter::new(header, &mut out).unwrap();
    for frame in frames {
        writer.write(frame, &mut out).unwrap();
    }
    out
}

/// The same with OpenPose's keypoints.
fn openpose_header() -> Header {
    Header { openpose_names: OPENPOSE_NAMES.map(str::to_owned).to_vec(), ..header() }
}

fn openpose_person() -> Person {
    let mut p = person(1);
    let points2d = std::array::from_fn(|i| [value(i, 1500.0), value(i + 5, 900.0)]);
    let points3d = std::array::from_fn(|i| [value(i, 1.0), value(i + 1, 1.0), value(i + 2, 1.0) + 100.0]);
    p.pose.as_mut().unwrap().openpose = Some(OpenPosePoints { points2d, points3d });
    p
}

fn ghost() -> Person {
    Person {
        status: PersonStatus::LowConfidence,
        pose: None,
        mesh_drawn: false,
        presence: Some(0.1),
        landmarks2d: vec![],
        landmarks3d: vec![],
        ..person(7)
    }
}

fn filled_in() -> Person {
    let mut p = Person {
        status: PersonStatus::Interpolated,
        score: None,
        presence: None,
        keypoints2d: vec![],
        landmarks2d: vec![],
        landmarks3d: vec![],
        ..person(1)
    };
    p.pose.as_mut().unwrap().reprojection_px = None;
    p
}

fn every_status() -> Vec<Frame> {
    vec![
        Frame::new(0, 1.4, vec![person(1), ghost()]),
        Frame::new(1, 1.4 + 1.0 / 3.0, vec![]),
        Frame::failed(2, 1.8, "the pose network ran out of memory"),
        Frame::new(5, 1.9, vec![ghost()]),
        Frame::new(6, 2.0, vec![filled_in(), ghost()]),
    ]
}

#[test]
fn what_is_written_is_read_back_to_the_promised_precision() {
    let frames = every_status();
    let written = file(&frames);
    let mut reader = PosesReader::new(&written[..]).unwrap();
    assert_eq!(reader.header(), &header());
    let back: Vec<Frame> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(back.len(), frames.len());
    assert_eq!(reader.line(), 6);
    for (a, b) in frames.iter().zip(&back) {
        assert_eq!((a.index, a.timestamp, a.status, &a.message), (b.index, b.timestamp, b.status, &b.message));
    }
    let statuses: Vec<_> = back.iter().map(|f| f.status).collect();
    use FrameStatus::{Detected, Error, Interpolated, LowConfidence, NoPerson};
    assert_eq!(statuses, [Detected, NoPerson, Error, LowConfidence, Interpolated]);
    let (a, b) = (&frames[0].people[0], &back[0].people[0]);
    let near = |a: &[f32], b: &[f32], tolerance: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance) && a.len() == b.len();
    let (pa, pb) = (a.pose.as_ref().unwrap(), b.pose.as_ref().unwrap());
    assert!(near(&a.bbox, &b.bbox, 0.0051));
    assert!(near(a.landmarks2d.as_flattened(), b.landmarks2d.as_flattened(), 0.0051));
    assert!(near(a.landmarks3d.as_flattened(), b.landmarks3d.as_flattened(), 0.000_051));
    assert!(near(pa.rotations.as_flattened(), pb.rotations.as_flattened(), 0.000_005_1));
    assert!(near(pa.joints3d.as_flattened(), pb.joints3d.as_flattened(), 0.000_051));
    assert!(near(&pa.betas, &pb.betas, 0.000_051));
    assert_eq!((pb.angles.left_knee, pb.angles.spine, pb.angles.left_hip), (Some(123.4), Some(180.0), None));
    // writing what was read changes nothing any more
    assert_eq!(file(&back), written);
}

#[test]
fn a_person_costs_less_than_six_kilobytes_a_frame() {
    let one = file(&[Frame::new(0, 1.0 / 3.0, vec![person(1)])]).len() - file(&[]).len();
    assert!(one < 6000, "{one} bytes");
    assert!(one > 3000, "{one} bytes: the sample is not like real data");
    println!("{one} bytes a frame with one person");
}

#[test]
fn every_line_fits_the_json_schema_and_broken_ones_do_not() {
    let schema = jsonschema::draft202012::new(&serde_json::from_str(JSON_SCHEMA).unwrap()).unwrap();
    let lines: Vec<Value> =
        file(&every_status()).split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    for line in &lines {
        let errors: Vec<String> = schema.iter_errors(line).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}\n{line}");
    }
    let breaks: [(usize, &str, Value); 9] = [
        (0, "/axes", json!("y up")),
        (0, "/skeleton/parents/0", json!("none")),
        (1, "/status", json!("no_person")),
        (1, "/people/0/pose", json!(null)),
        (1, "/people/0/score", json!(1.5)),
        (1, "/people/0/pose/rotations/3", json!([1, 0, 0])),
        (1, "/people/0/pose/joints3d", json!([])),
        (2, "/timestamp", json!(null)),
        (3, "/message", json!("")),
    ];
    for (line, pointer, bad) in breaks {
        let mut broken = lines[line].clone();
        *broken.pointer_mut(pointer).unwrap() = bad;
        assert!(!schema.is_valid(&broken), "line {line} {pointer}");
    }
    let mut extra = lines[1].clone();
    extra["people"][0]["extra"] = json!(1);
    assert!(!schema.is_valid(&extra));
}

#[test]
fn the_schema_names_exactly_the_fields_that_are_written() {
    let schema: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
    let frames = [Frame::new(0, 1.0, vec![openpose_person()]), Frame::failed(1, 1.8, "the pose network ran out of memory")];
    let written = file_of(&openpose_header(), &frames);
    let lines: Vec<Value> = written.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let pose = &lines[1]["people"][0]["pose"];
    for (described, sample) in [
        (&schema["$defs"]["header"], &lines[0]),
        (&schema["$defs"]["frame"], &lines[2]), // the one with a message
        (&schema["$defs"]["person"], &lines[1]["people"][0]),
        (&schema["$defs"]["pose"], pose),
        (&schema["$defs"]["pose"]["properties"]["openpose"], &pose["openpose"]),
    ] {
        assert_eq!(keys(&described["properties"]), keys(sample), "{described}");
    }
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(lines.iter().all(|l| validator.is_valid(l)));
}

#[test]
fn openpose_keypoints_are_read_back_and_belong_to_files_that_name_them() {
    let frames = [Frame::new(0, 1.0, vec![openpose_person()])];
    let written = file_of(&openpose_header(), &frames);
    let back: Vec<Frame> = PosesReader::new(&written[..]).unwrap().map(Result::unwrap).collect();
    let points = |f: &Frame| f.people[0].pose.as_ref().unwrap().openpose.clone().unwrap();
    let (a, b) = (points(&frames[0]), points(&back[0]));
    assert!(a.points2d.as_flattened().iter().zip(b.points2d.as_flattened()).all(|(a, b)| (a - b).abs() <= 0.0051));
    assert!(a.points3d.as_flattened().iter().zip(b.points3d.as_flattened()).all(|(a, b)| (a - b).abs() <= 0.000_06));
    let without = file(&[]);
    assert!(!String::from_utf8(without).unwrap().contains("openpose"), "files of pipelines without them lack the field");

    let refused = |header: &Header, person: Person| {
        let mut out = Vec::new();
        PosesWriter::new(header, &mut out).and_then(|mut w| w.write(&Frame::new(0, 0.0, vec![person]), &mut out)).unwrap_err().to_string()
    };
    let rule = "people[0].pose.openpose must be there where the header has openpose_names, and only there";
    assert!(refused(&header(), openpose_person()).contains(rule));
    assert!(refused(&openpose_header(), person(1)).contains(rule));
    let mut smpl = openpose_header();
    smpl.openpose_names[..24].clone_from_slice(&smpl.skeleton.joint_names);
    assert!(refused(&smpl, openpose_person()).contains("openpose_names must be OpenPose's 25 names in its order"));
    let mut nan = openpose_person();
    nan.pose.as_mut().unwrap().openpose.as_mut().unwrap().points3d[3][0] = f32::NAN;
    assert!(refused(&openpose_header(), nan).contains("pose.openpose.points3d holds a number that is not finite"));
}

#[test]
fn openpose_keypoints_of_a_body_are_placed_and_projected_like_its_joints() {
    let camera = Pinhole { focal: 25_000.0, center: [640.0, 360.0] };
    let points = std::array::from_fn(|i| [0.1 * i as f64, 0.5, -0.2]);
    let OpenPosePoints { points2d, points3d } = OpenPosePoints::placed(&points, [0.5, 1.0, 100.0], &camera);
    assert_eq!(points3d[3], [0.8, 0.5, 100.2], "body axes have y up and z to the front");
    let [u, v] = camera.project(&[0.8, 0.5, 100.2].into()).unwrap();
    assert!((f64::from(points2d[3][0]) - u).abs() < 1e-3 && (f64::from(points2d[3][1]) - v).abs() < 1e-3);
    let behind = OpenPosePoints::placed(&points, [0.0, 0.0, -3.0], &camera);
    assert!(behind.points2d.as_flattened().iter().all(|v| v.is_finite()));
}

#[test]
fn values_that_are_not_finite_are_refused_before_anything_is_written() {
    let mut out = Vec::new();
    let mut writer = PosesWriter::new(&header(), &mut out).unwrap();
    let before = out.len();
    let mut p = person(1);
    p.pose.as_mut().unwrap().joints3d[5][1] = f32::NAN;
    let error = writer.write(&Frame::new(0, 0.0, vec![p]), &mut out).unwrap_err();
    assert!(matches!(error, WriteError::Fault(_)));
    assert_eq!(error.to_string(), "not written to the pose file: frame 0: people[0].pose.joints3d holds a number that is not finite");
    assert_eq!(out.len(), before);
}

/// The error that reading a file gives after `edit` changed the JSON of its line `line` (from 1).
fn broken(line: usize, edit: impl Fn(&mut Value)) -> String {
    let mut lines: Vec<Value> =
        file(&every_status()).split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    edit(&mut lines[line - 1]);
    let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    match PosesReader::new(text.as_bytes()) {
        Err(e) => e.to_string(),
        Ok(r) => r.filter_map(Result::err).map(|e| e.to_string()).collect::<Vec<_>>().join("; "),
    }
}

#[test]
fn faults_name_the_line_the_field_and_the_rule() {
    let cases: [(usize, &str, Value, &str); 12] = [
        (1, "/video/frame_rate", json!(0.0), "line 1 of the pose file breaks a rule: header: video.frame_rate must be finite and above 0"),
        (1, "/skeleton/parents/5", json!(5), "header: skeleton.parents must make joint 0 the root"),
        (1, "/schema", json!("halfpipe.poses/9"), "line 1 of the pose file is not a valid header: unknown variant `halfpipe.poses/9`"),
        (1, "/type", json!("frame"), "line 1 of the pose file is not a valid header"),
        (2, "/people/0/pose/rotations/4", json!([1.0, 1.0, 0.0, 0.0]), "people[0].pose.rotations of joint 4 has length 1.41"),
        (2, "/people/0/pose/betas", json!([0.0]), "people[0].pose.betas has 1 entries, the header names 12"),
        (2, "/people/0/landmarks2d", json!([[1, 2, 0.5]]), "people[0].landmarks2d has 1 entries, the header names 33"),
        (2, "/people/1/track", json!(1), "people[1].track 1 occurs twice"),
        (2, "/people/1/mesh_drawn", json!(true), "mesh_drawn cannot be true without a pose"),
        (3, "/timestamp", json!(1.4), "line 3 of the pose file breaks a rule: frame 1: timestamp 1.4 must be later"),
        (5, "/index", json!(2), "line 5 of the pose file breaks a rule: frame 2: index must be above"),
        (6, "/status", json!("detected"), "status is Detected, but its people make it Interpolated"),
    ];
    for (line, pointer, bad, expected) in cases {
        let error = broken(line, |v| *v.pointer_mut(pointer).unwrap() = bad.clone());
        assert!(error.contains(expected), "{pointer}: {error}");
    }
    assert!(broken(3, |v| v["extra"] = json!(1)).contains("line 3 of the pose file is not a valid frame: unknown field `extra`"));
    assert!(broken(2, |v| v["message"] = json!("x")).contains("message belongs to status error only"));
    assert_eq!(broken(2, |_| {}), "");
}

#[test]
fn a_file_cut_short_is_an_error_with_its_line_and_an_empty_one_says_so() {
    let whole = file(&every_status());
    let cut = &whole[..whole.len() - 40];
    let items: Vec<_> = PosesReader::new(cut).unwrap().collect();
    assert_eq!(items.len(), 5, "the reader ends after the error");
    assert!(matches!(items[4], Err(ReadError::Json { line: 6, .. })));
    assert!(matches!(PosesReader::new(&b""[..]), Err(ReadError::Empty)));
    let endless = BufReader::new(std::io::Read::take(std::io::repeat(b'x'), 20 << 20));
    assert!(matches!(PosesReader::new(endless), Err(ReadError::TooLong { line: 1 })));
    assert_eq!(PosesReader::new(&file(&[])[..]).unwrap().count(), 0);
}

#[test]
fn angles_keep_the_names_they_are_measured_by() {
    let degrees = std::array::from_fn(|i| Some(10.0 * i as f64));
    let json = serde_json::to_value(Angles::from(degrees)).unwrap();
    for (i, (name, _)) in halfpipe_kit::angles::ANGLE_JOINTS.iter().enumerate() {
        assert_eq!(json[name], json!(10.0 * i as f64), "{name}");
    }
}
