//! The default pipeline: MoveNet finds people, BlazePose finds landmarks, a body is fitted and drawn.
