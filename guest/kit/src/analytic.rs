//! Landmarks to joint rotations in closed form.
