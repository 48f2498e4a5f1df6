//! BlazePose: crops, landmark decoding.
