//! Landmarks to joint rotations in closed form.
//!
//! The 33 world landmarks of BlazePose fix the direction of every limb and, through hips, shoulders, ears, palms and
//! feet, most of its twist. What they leave open (twist of a straight limb, bend along the spine) is filled with the
//! smallest turn from the neighbouring bone. The result starts and anchors the fit ([`crate::fit`]).
//!
//! Inside, everything is in body axes; `global[k]` takes the T-pose axes of bone `k` to them.

use crate::axes;
use crate::rig::{Rig, RigError};
use crate::rotation::{self, Mat3, Vec3};
use crate::skeleton::{JOINT_NAMES, JOINT_PARENTS, JOINTS, LANDMARK_NAMES, LANDMARKS, joint as j, landmark as l};

/// Why landmarks give no pose.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LandmarkError {
    /// A number is not finite.
    #[error("landmark {} has a coordinate or visibility that is not a finite number", LANDMARK_NAMES[*.index])]
    NotFinite {
        /// Index of the landmark.
        index: usize,
    },
    /// Landmarks coincide or lie on one line, so that a direction is undefined.
    #[error("the landmarks of the {part} coincide or lie on one line, so it has no direction")]
    Degenerate {
        /// Part of the body.
        part: &'static str,
    },
}

/// Landmarks below this visibility do not turn a foot.
const FOOT_SEEN: f64 = 0.3;
/// Landmarks below this visibility do not twist a hand.
const HAND_SEEN: f64 = 0.5;
/// BlazePose's nose lies below the line of the ears by this angle (radians) when the head is level.
const NOSE_BELOW_EARS: f64 = 0.15;
/// Largest twist that a palm may put on its wrist, radians.
const WRIST_TWIST: f64 = 1.6;

/// The two sides of the body: offset of its landmarks and joints from the left-hand ones, and the sign of its x.
const SIDES: [(usize, f64); 2] = [(0, 1.0), (1, -1.0)];

/// Checks and widens world landmarks: positions as given, visibilities within 0 to 1.
pub(crate) fn checked_world(
    world: &[[f32; 3]; LANDMARKS],
    visibility: &[f32; LANDMARKS],
) -> Result<([Vec3; LANDMARKS], [f64; LANDMARKS]), LandmarkError> {
    for (index, (p, v)) in world.iter().zip(visibility).enumerate() {
        if !(v.is_finite() && p.iter().all(|c| c.is_finite())) {
            return Err(LandmarkError::NotFinite { index });
        }
    }
    Ok((world.map(|p| Vec3::from(p.map(f64::from))), visibility.map(|v| f64::from(v).clamp(0.0, 1.0))))
}

/// Closed-form poses for one rig.
#[derive(Debug, Clone)]
pub struct AnalyticPose {
    /// T-pose direction of each side's thigh, shin and sole (heel to toe).
    legs: [LegDirections; 2],
}

#[derive(Debug, Clone, Copy)]
struct LegDirections {
    thigh: Vec3,
    shin: Vec3,
    sole: Vec3,
}

impl AnalyticPose {
    /// Reads the rest directions of the legs from a rig.
    ///
    /// # Errors
    ///
    /// [`RigError::NoSurfacePoint`] without heels and toes, [`RigError::ZeroLength`] if a leg has none.
    pub fn new(rig: &Rig) -> Result<Self, RigError> {
        let bone = |a: usize, b: usize| {
            let d = rig.joints()[a].bind.tr_mul(&(rig.rest(b) - rig.rest(a)));
            rotation::unit(&d).ok_or(RigError::ZeroLength { from: JOINT_NAMES[a], to: JOINT_NAMES[b] })
        };
        let leg = |side: usize, [heel, toe]: [&'static str; 2]| {
            let at = |name| rig.surface_index(name).map(|i| Vec3::from(rig.surface()[i].rest));
            let sole = rig.joints()[j::LEFT_ANKLE + side].bind.tr_mul(&(at(toe)? - at(heel)?));
            Ok(LegDirections {
                thigh: bone(j::LEFT_HIP + side, j::LEFT_KNEE + side)?,
                shin: bone(j::LEFT_KNEE + side, j::LEFT_ANKLE + side)?,
                sole: rotation::unit(&sole).ok_or(RigError::ZeroLength { from: heel, to: toe })?,
            })
        };
        Ok(Self { legs: [leg(0, ["left_heel", "left_toe"])?, leg(1, ["right_heel", "right_toe"])?] })
    }

    /// Local rotations (SMPL convention, body axes, the root's is the global orientation) from world landmarks in camera
    /// axes, metres. Visibility, 0 to 1, decides whether feet and palms are trusted: a foot that is not seen follows its
    /// shin, a palm its forearm.
    ///
    /// # Errors
    ///
    /// [`LandmarkError`] if a number is not finite or the landmarks of a limb, the torso or the head fix no direction.
    pub fn solve(&self, world: &[[f32; 3]; LANDMARKS], visibility: &[f32; LANDMARKS]) -> Result<[Mat3; JOINTS], LandmarkError> {
        let (world, visibility) = checked_world(world, visibility)?;
        self.solve_checked(&world, &visibility)
    }

    pub(crate) fn solve_checked(&self, world: &[Vec3; LANDMARKS], visibility: &[f64; LANDMARKS]) -> Result<[Mat3; JOINTS], LandmarkError> {
        let p = world.map(|v| axes::flip(&v));
        let mut global = [Mat3::identity(); JOINTS];
        torso(&p, &mut global)?;
        for (side, sign) in SIDES {
            arm(&p, visibility, side, sign, &mut global)?;
            leg(&p, visibility, side, &self.legs[side], &mut global)?;
        }
        Ok(std::array::from_fn(|k| match JOINT_PARENTS[k] {
            None => global[k],
            Some(parent) => global[parent].tr_mul(&global[k]),
        }))
    }
}

/// Pelvis from the hips, chest from the shoulders, the spine in thirds between them, the head from ears and nose.
fn torso(p: &[Vec3; LANDMARKS], global: &mut [Mat3; JOINTS]) -> Result<(), LandmarkError> {
    let hips = p[l::LEFT_HIP] - p[l::RIGHT_HIP];
    let shoulders = p[l::LEFT_SHOULDER] - p[l::RIGHT_SHOULDER];
    let up = (p[l::LEFT_SHOULDER] + p[l::RIGHT_SHOULDER] - p[l::LEFT_HIP] - p[l::RIGHT_HIP]) / 2.0;
    let pelvis = frame_along_x(&hips, &up).ok_or(LandmarkError::Degenerate { part: "hips" })?;
    let chest = frame_along_y(&shoulders, &up).ok_or(LandmarkError::Degenerate { part: "shoulders" })?;
    let ears = p[l::LEFT_EAR] - p[l::RIGHT_EAR];
    let nose = p[l::NOSE] - (p[l::LEFT_EAR] + p[l::RIGHT_EAR]) / 2.0;
    let head = frame_along_x(&ears, &nose.cross(&ears)).ok_or(LandmarkError::Degenerate { part: "head" })?
        * rotation::exp(&Vec3::new(-NOSE_BELOW_EARS, 0.0, 0.0));
    global[j::PELVIS] = pelvis;
    global[j::SPINE1] = rotation::slerp(&pelvis, &chest, 1.0 / 3.0);
    global[j::SPINE2] = rotation::slerp(&pelvis, &chest, 2.0 / 3.0);
    for k in [j::SPINE3, j::LEFT_COLLAR, j::RIGHT_COLLAR] {
        global[k] = chest;
    }
    global[j::NECK] = rotation::slerp(&chest, &head, 0.5);
    global[j::HEAD] = head;
    Ok(())
}

/// Upper arm and forearm by their directions; the plane of a bent elbow gives the upper arm's twist, the palm the rest.
fn arm(
    p: &[Vec3; LANDMARKS],
    visibility: &[f64; LANDMARKS],
    side: usize,
    sign: f64,
    global: &mut [Mat3; JOINTS],
) -> Result<(), LandmarkError> {
    let degenerate = || LandmarkError::Degenerate { part: ["left arm", "right arm"][side] };
    let chest = global[j::SPINE3];
    let wrist = p[l::LEFT_WRIST + side];
    let upper = rotation::unit(&(p[l::LEFT_ELBOW + side] - p[l::LEFT_SHOULDER + side])).ok_or_else(degenerate)?;
    let fore = rotation::unit(&(wrist - p[l::LEFT_ELBOW + side])).ok_or_else(degenerate)?;

    // y of the arm: as the smallest turn from the T pose leaves it, or the elbow's hinge where the elbow is bent enough
    let swung = rotation::between(&(chest.column(0) * sign), &upper).ok_or_else(degenerate)? * chest;
    let hinge = upper.cross(&fore) * -sign;
    let bent = ((hinge.norm() - 0.15) / 0.3).clamp(0.0, 1.0);
    let y: Vec3 = swung.column(1) * (1.0 - bent) + rotation::unit(&hinge).map_or_else(Vec3::zeros, |h| h * bent);
    let arm = frame_along_x(&(upper * sign), &y).ok_or_else(degenerate)?;
    let forearm = rotation::between(&upper, &fore).ok_or_else(degenerate)? * arm;

    // palm: its direction turns the wrist, its width (pinky to index) twists wrist and, by half, forearm
    let (pinky, index) = (p[l::LEFT_PINKY + side], p[l::LEFT_INDEX + side]);
    let palm = (pinky + index) / 2.0 - wrist;
    let hand_part = || LandmarkError::Degenerate { part: ["left hand", "right hand"][side] };
    let hand = rotation::between(&fore, &palm).ok_or_else(hand_part)? * forearm;
    let x: Vec3 = hand.column(0).into();
    let width = (index - pinky) - x * (index - pinky).dot(&x);
    let twist = if width.norm() > 1e-3 && visibility[l::LEFT_INDEX + side] > HAND_SEEN {
        let z: Vec3 = hand.column(2).into();
        z.cross(&width).dot(&x).atan2(z.dot(&width)).clamp(-WRIST_TWIST, WRIST_TWIST)
    } else {
        0.0
    };
    global[j::LEFT_SHOULDER + side] = arm;
    global[j::LEFT_ELBOW + side] = rotation::exp(&(fore * (sign * twist * 0.5))) * forearm;
    let hand = rotation::exp(&(x * twist)) * hand;
    global[j::LEFT_WRIST + side] = hand;
    global[j::LEFT_HAND + side] = hand;
    Ok(())
}

/// Thigh and shin by their directions; the knee's hinge gives the twist where it is bent, pelvis and foot where it is not.
fn leg(
    p: &[Vec3; LANDMARKS],
    visibility: &[f64; LANDMARKS],
    side: usize,
    rest: &LegDirections,
    global: &mut [Mat3; JOINTS],
) -> Result<(), LandmarkError> {
    let degenerate = || LandmarkError::Degenerate { part: ["left leg", "right leg"][side] };
    let pelvis = global[j::PELVIS];
    let (knee, heel, toe) = (l::LEFT_KNEE + side, l::LEFT_HEEL + side, l::LEFT_FOOT_INDEX + side);
    let thigh = rotation::unit(&(p[knee] - p[l::LEFT_HIP + side])).ok_or_else(degenerate)?;
    let shin = rotation::unit(&(p[l::LEFT_ANKLE + side] - p[knee])).ok_or_else(degenerate)?;
    let sole = p[toe] - p[heel];

    // x of the leg (to the body's left): as the smallest turn leaves it, pulled half way to what the foot says, and the
    // knee's hinge where the knee is bent the way knees bend
    let swung = rotation::between(&(pelvis * rest.thigh), &thigh).ok_or_else(degenerate)? * pelvis;
    let swung_x: Vec3 = swung.column(0).into();
    let foot_x = if sole.norm() > 1e-3 { rotation::unit(&sole.cross(&shin)) } else { None };
    let straight = foot_x.filter(|x| x.dot(&swung_x) > 0.0).map_or(swung_x, |x| (swung_x + x).normalize());
    let hinge = thigh.cross(&shin);
    let bent = ((hinge.norm() - 0.2) / 0.4).clamp(0.0, 1.0);
    let x = if hinge.norm() > 1e-3 && hinge.dot(&swung_x) > 0.0 {
        rotation::unit(&(straight * (1.0 - bent) + hinge.normalize() * bent)).ok_or_else(degenerate)?
    } else {
        straight
    };
    let upper = align(&rest.thigh, &thigh, &x).ok_or_else(degenerate)?;
    let lower = align(&rest.shin, &shin, &upper.column(0).into()).ok_or_else(degenerate)?;
    let foot = if visibility[toe] > FOOT_SEEN && visibility[heel] > FOOT_SEEN {
        rotation::between(&(lower * rest.sole), &sole).ok_or(LandmarkError::Degenerate { part: ["left foot", "right foot"][side] })? * lower
    } else {
        lower
    };
    global[j::LEFT_HIP + side] = upper;
    global[j::LEFT_KNEE + side] = lower;
    global[j::LEFT_ANKLE + side] = foot;
    global[j::LEFT_FOOT + side] = foot;
    Ok(())
}

/// The rotation that takes direction `rest` to `now` and x as near as it can to `x`.
fn align(rest: &Vec3, now: &Vec3, x: &Vec3) -> Option<Mat3> {
    let frame = |along: &Vec3, x: &Vec3| {
        let side = rotation::normal(x, along)?;
        Some(Mat3::from_columns(&[*along, side.cross(along), side]))
    };
    Some(frame(now, x)? * frame(rest, &Vec3::x())?.transpose())
}

/// Right-handed axes with x along `x` and y as near as it can to `y`.
fn frame_along_x(x: &Vec3, y: &Vec3) -> Option<Mat3> {
    let (x, z) = (rotation::unit(x)?, rotation::normal(x, y)?);
    Some(Mat3::from_columns(&[x, z.cross(&x), z]))
}

/// Right-handed axes with y along `y` and x as near as it can to `x`.
fn frame_along_y(x: &Vec3, y: &Vec3) -> Option<Mat3> {
    let (y, z) = (rotation::unit(y)?, rotation::normal(x, y)?);
    Some(Mat3::from_columns(&[y.cross(&z), y, z]))
}
