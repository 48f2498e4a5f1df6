//! The closed form: what landmarks fix is met exactly, what they leave open is filled plausibly.

use halfpipe_kit::analytic::AnalyticPose;
use halfpipe_kit::camera::Pinhole;
use halfpipe_kit::rig::Rig;
use halfpipe_kit::rig::testrig::{self, Person, Random};
use halfpipe_kit::rotation::{self, Mat3, Vec3};
use halfpipe_kit::skeleton::{JOINT_NAMES, JOINTS, joint, landmark};

fn seen(rig: &Rig, local: &[Mat3; JOINTS]) -> Person {
    let betas = vec![0.0; rig.shape_names().len()];
    testrig::observe(rig, &betas, local, &Vec3::new(0.0, 0.0, 4.0), &Pinhole::for_size(640, 480))
}

#[test]
fn the_t_pose_comes_back_as_no_rotation() {
    let rig = testrig::humanoid();
    let p = seen(&rig, &[Mat3::identity(); JOINTS]);
    let local = AnalyticPose::new(&rig).unwrap().solve(&p.world, &p.visibility).unwrap();
    for (k, r) in local.iter().enumerate() {
        // the made-up head and palms are not BlazePose's, and a straight spine is not quite
        let loose =
            JOINT_NAMES[k].contains("head") || ["neck", "left_wrist", "right_wrist", "left_elbow", "right_elbow"].contains(&JOINT_NAMES[k]);
        let angle = rotation::log(r).norm();
        assert!(angle < if loose { 0.6 } else { 0.12 }, "{} turned by {angle}", JOINT_NAMES[k]);
    }
}

#[test]
fn limbs_point_where_the_landmarks_do() {
    let rig = testrig::humanoid();
    let solver = AnalyticPose::new(&rig).unwrap();
    let shaped = rig.shaped(&vec![0.0; rig.shape_names().len()]).unwrap();
    let mut random = Random(31);
    for _ in 0..100 {
        let turn = rotation::exp(&Vec3::new(random.signed(), random.signed(), random.signed()).scale(3.0));
        let truth = testrig::pose(&mut random, &turn);
        let p = seen(&rig, &truth);
        let local = solver.solve(&p.world, &p.visibility).unwrap();
        let (want, got) = (shaped.pose(&truth), shaped.pose(&local));
        for (a, b) in [
            (joint::LEFT_HIP, joint::LEFT_KNEE),
            (joint::RIGHT_KNEE, joint::RIGHT_ANKLE),
            (joint::LEFT_SHOULDER, joint::LEFT_ELBOW),
            (joint::RIGHT_ELBOW, joint::RIGHT_WRIST),
        ] {
            let angle = (want.joints[b] - want.joints[a]).angle(&(got.joints[b] - got.joints[a]));
            assert!(angle < 0.05, "{} is off by {angle} rad", JOINT_NAMES[a]);
        }
        // a bent knee's hinge fixes the twist of the thigh; the pelvis comes from the hips
        assert!(rotation::angle_between(&want.global[joint::PELVIS], &got.global[joint::PELVIS]) < 0.35);
        for (r, name) in local.iter().zip(JOINT_NAMES) {
            assert!(rotation::is_rotation(r, 1e-9), "{name}");
        }
    }
}

#[test]
fn turning_the_person_turns_the_root_alone() {
    let rig = testrig::humanoid();
    let solver = AnalyticPose::new(&rig).unwrap();
    let local = testrig::pose(&mut Random(5), &Mat3::identity());
    let p = seen(&rig, &local);
    let still = solver.solve(&p.world, &p.visibility).unwrap();
    for turn in [Vec3::new(0.0, 3.0, 0.0), Vec3::new(2.0, 0.5, -1.0), Vec3::new(0.0, 0.0, 3.1)] {
        let turn = rotation::exp(&turn);
        let mut turned = local;
        turned[joint::PELVIS] = turn * local[joint::PELVIS];
        let p = seen(&rig, &turned);
        let now = solver.solve(&p.world, &p.visibility).unwrap();
        assert!(rotation::angle_between(&now[0], &(turn * still[0])) < 1e-5);
        for k in 1..JOINTS {
            assert!(rotation::angle_between(&now[k], &still[k]) < 1e-4, "{}", JOINT_NAMES[k]);
        }
    }
}

#[test]
fn hidden_feet_and_palms_are_not_trusted() {
    let rig = testrig::humanoid();
    let solver = AnalyticPose::new(&rig).unwrap();
    let mut local = [Mat3::identity(); JOINTS];
    local[joint::LEFT_ANKLE] = rotation::exp(&Vec3::new(0.5, 0.0, 0.0));
    let mut p = seen(&rig, &local);
    let angle = |p: &Person| rotation::log(&solver.solve(&p.world, &p.visibility).unwrap()[joint::LEFT_ANKLE]).norm();
    assert!(angle(&p) > 0.4);
    p.visibility[landmark::LEFT_HEEL] = 0.1;
    assert_eq!(angle(&p), 0.0);
    let elbow = |p: &Person| solver.solve(&p.world, &p.visibility).unwrap()[joint::RIGHT_ELBOW];
    let trusted = elbow(&p);
    p.visibility[landmark::RIGHT_INDEX] = 0.1;
    assert!(rotation::angle_between(&trusted, &elbow(&p)) > 0.02, "the palm twists the forearm while it is seen");
}
