//! One-Euro smoothing.
//!
//! The One-Euro filter (Casiez, Roussel, Vogel: "1 € Filter", CHI 2012) is a low-pass whose cut-off rises with speed: what stands still is
//! held steady, what moves fast is followed. Everything here runs on the frames' own timestamps, whatever their spacing. Options for
//! landmarks are those of MediaPipe's and TensorFlow.js' pose pipelines.

mod body;
mod landmarks;

pub use body::{BodyOptions, BodySmoothers, SmoothRotation};
pub use landmarks::{LandmarkOptions, LandmarkSmoother, Smoothers};

use std::f64::consts::TAU;

/// What a One-Euro filter does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneEuroOptions {
    /// Cut-off for a value that stands still, hertz, above 0. Lower is steadier.
    pub min_cutoff: f64,
    /// Hertz of cut-off for each unit per second of speed (after scaling). Higher follows faster.
    pub beta: f64,
    /// Cut-off for the speed itself, hertz, above 0.
    pub derivative_cutoff: f64,
    /// After a pause longer than this many seconds the filter starts anew: what was before says nothing about jitter now.
    pub reset_after: f64,
}

impl OneEuroOptions {
    /// For the body's position in camera space, metres: depth found from one camera jitters by centimetres from frame to frame, while
    /// people move by metres a second. Standing still the cut-off is 0.5 Hz, at 2 m/s it is about 5 Hz.
    #[must_use]
    pub fn translation() -> Self {
        Self { min_cutoff: 0.5, beta: 2.0, derivative_cutoff: 1.0, reset_after: 0.5 }
    }
}

/// `N` values that move together, each filtered along its own axis.
#[derive(Debug, Clone)]
pub struct SmoothVec<const N: usize> {
    options: OneEuroOptions,
    state: Option<State<N>>,
}

/// What is known after the last value.
#[derive(Debug, Clone)]
struct State<const N: usize> {
    time: f64,
    raw: [f64; N],
    speed: [f64; N],
    smooth: [f64; N],
}

impl<const N: usize> SmoothVec<N> {
    /// A filter that has seen nothing.
    #[must_use]
    pub fn new(options: OneEuroOptions) -> Self {
        Self { options, state: None }
    }

    /// Forgets everything: the next value comes out as it goes in.
    pub fn reset(&mut self) {
        self.state = None;
    }

    /// The smoothed value at `time` (seconds). `scale` is the size of the thing in the values' unit (1 where they are metres): speeds are
    /// measured in sizes a second, so that the near and the far are smoothed alike.
    ///
    /// The first value, and one after a long pause or a step back in time, comes out as it goes in. A second value at the same time
    /// changes nothing, and neither does a value that is no number: the last smoothed one is given again.
    pub fn apply(&mut self, time: f64, values: [f64; N], scale: f64) -> [f64; N] {
        let usable = time.is_finite() && values.iter().all(|v| v.is_finite());
        let Some(state) = &mut self.state else {
            if usable {
                self.state = Some(State { time, raw: values, speed: [0.0; N], smooth: values });
            }
            return values;
        };
        let dt = time - state.time;
        if !usable || dt == 0.0 {
            return state.smooth;
        }
        if dt < 0.0 || dt > self.options.reset_after {
            *state = State { time, raw: values, speed: [0.0; N], smooth: values };
            return values;
        }
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        let speed_alpha = alpha(self.options.derivative_cutoff, dt);
        for (i, value) in values.into_iter().enumerate() {
            let speed = (value - state.raw[i]) / scale / dt;
            state.speed[i] += speed_alpha * (speed - state.speed[i]);
            let cutoff = self.options.min_cutoff + self.options.beta * state.speed[i].abs();
            state.smooth[i] += alpha(cutoff, dt) * (value - state.smooth[i]);
        }
        (state.time, state.raw) = (time, values);
        state.smooth
    }
}

/// Weight of a new sample in a first-order low-pass with this cut-off (hertz) after `dt` seconds.
fn alpha(cutoff: f64, dt: f64) -> f64 {
    let r = TAU * cutoff.max(0.0) * dt;
    r / (r + 1.0)
}
