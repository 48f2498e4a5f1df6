//! Gauss-Newton refinement of a pose on 2D and 3D landmarks.
