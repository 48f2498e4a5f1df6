//! Names and parents of the joints, keypoints and landmarks.
