//! A body as data: joints, shape directions, surface landmarks, forward kinematics.
