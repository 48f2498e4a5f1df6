//! How a person moves in the picture: a Kalman filter for each axis, in real time.

/// Deviation of a measured position, in sizes of the person.
const MEASUREMENT: f64 = 0.02;
/// Deviation of the speed of somebody just seen for the first time, sizes a second.
const FIRST_SPEED: f64 = 2.0;
/// Power of the white acceleration noise, sizes² a second³. Across: people start, stop and turn. Down: gravity is about five sizes
/// (diagonals of a standing person's box) a second², and a take-off changes the speed by three sizes a second within 0.2 s.
const NOISE: [f64; 2] = [2.0, 6.0];
/// Vertical speed dies away with this time, seconds: what goes up comes down. For somebody lost for 0.6 s just after the take-off of a high
/// jump this ends within 0.2 sizes of the parabola, where plain constant velocity is off by 0.7 sizes.
const VERTICAL_DECAY: f64 = 0.35;
/// Faster than this, sizes a second, nobody moves.
const MAX_SPEED: f64 = 10.0;

/// Position and speed along one axis, pixels and seconds, with their covariance.
#[derive(Debug, Clone, Copy)]
struct Axis {
    position: f64,
    speed: f64,
    covariance: [f64; 3],
}

/// A person's motion. Positions count from where the person was first seen.
#[derive(Debug, Clone)]
pub(super) struct Motion {
    axes: [Axis; 2],
    /// Sum of all measured displacements: the last measured position.
    measured: [f64; 2],
}

impl Motion {
    /// Somebody of this size, pixels, at rest as far as is known.
    pub fn new(size: f64) -> Self {
        let axis = Axis { position: 0.0, speed: 0.0, covariance: [(MEASUREMENT * size).powi(2), 0.0, (FIRST_SPEED * size).powi(2)] };
        Self { axes: [axis; 2], measured: [0.0; 2] }
    }

    /// The way from the last measured position to where the person should be `dt` seconds later.
    pub fn shift(&self, dt: f64) -> [f64; 2] {
        std::array::from_fn(|k| self.axes[k].position + self.axes[k].speed * reach(k, dt.max(0.0)).0 - self.measured[k])
    }

    /// Standard deviation of that prediction for a person of this size, pixels: the larger one of both axes.
    pub fn deviation(&self, dt: f64, size: f64) -> f64 {
        let variance = |k: usize| self.axes[k].predicted(k, dt, size).covariance[0];
        variance(0).max(variance(1)).max(0.0).sqrt()
    }

    /// Speed at the last sight, pixels a second.
    pub fn velocity(&self) -> [f64; 2] {
        self.axes.map(|a| a.speed)
    }

    /// The person of this size was seen `moved` pixels from the last sight, `dt` seconds ago.
    pub fn update(&mut self, moved: [f64; 2], dt: f64, size: f64) {
        for (k, axis) in self.axes.iter_mut().enumerate() {
            self.measured[k] += moved[k];
            let mut next = axis.predicted(k, dt, size);
            let [pp, pv, vv] = next.covariance;
            let total = pp + (MEASUREMENT * size).powi(2);
            let (gain, gain_speed) = (pp / total, pv / total);
            let residual = self.measured[k] - next.position;
            next.position += gain * residual;
            next.speed = (next.speed + gain_speed * residual).clamp(-MAX_SPEED * size, MAX_SPEED * size);
            next.covariance = [(1.0 - gain) * pp, (1.0 - gain) * pv, vv - gain_speed * pv];
            *axis = next;
        }
    }
}

impl Axis {
    /// The state `dt` seconds later.
    fn predicted(&self, k: usize, dt: f64, size: f64) -> Self {
        let dt = dt.max(0.0);
        let (reach, kept) = reach(k, dt);
        let noise = NOISE[k] * size * size;
        let [pp, pv, vv] = self.covariance;
        Self {
            position: self.position + self.speed * reach,
            speed: self.speed * kept,
            covariance: [
                pp + 2.0 * reach * pv + reach * reach * vv + noise * dt.powi(3) / 3.0,
                kept * (pv + reach * vv) + noise * dt * dt / 2.0,
                kept * kept * vv + noise * dt,
            ],
        }
    }
}

/// How far a speed of 1 carries along axis `k` within `dt` seconds, and what is left of it then.
fn reach(k: usize, dt: f64) -> (f64, f64) {
    if k == 0 {
        return (dt, 1.0);
    }
    let kept = (-dt / VERTICAL_DECAY).exp();
    (VERTICAL_DECAY * (1.0 - kept), kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_motion_is_predicted_whatever_the_spacing() {
        let mut motion = Motion::new(100.0);
        for dt in [0.033, 0.05, 0.02, 0.04, 0.033, 0.06, 0.033, 0.033, 0.05] {
            motion.update([80.0 * dt, 0.0], dt, 100.0);
        }
        let [x, y] = motion.shift(0.5);
        assert!((x - 40.0).abs() < 3.0 && y.abs() < 0.1, "{x} {y}");
        assert!(motion.deviation(0.5, 100.0) > 3.0 * motion.deviation(0.03, 100.0), "what is long unseen is less sure");
    }

    #[test]
    fn what_goes_up_is_not_expected_to_go_on_rising() {
        let (gravity, flight, lost) = (5.1 * 100.0, 1.2, 0.12);
        let rise = |t: f64| -gravity * t * (flight - t) / 2.0;
        let mut motion = Motion::new(100.0);
        for f in 0..30 {
            let t = f64::from(f) / 30.0 + lost - 1.0;
            let (from, to) = (rise((t - 1.0 / 30.0).max(0.0)), rise(t.max(0.0)));
            motion.update([0.0, to - from], 1.0 / 30.0, 100.0);
        }
        let last = lost - 1.0 / 30.0;
        let way = rise(last + 0.6) - rise(last);
        let off = (motion.shift(0.6)[1] - way).abs();
        assert!(off < 20.0, "off by {off} pixels of a person of 100");
        let straight = (motion.velocity()[1] * 0.6 - way).abs();
        assert!(straight > 60.0, "{straight}");
    }

    #[test]
    fn odd_numbers_do_not_break_it() {
        let mut motion = Motion::new(100.0);
        motion.update([0.0; 2], 0.0, 100.0);
        motion.update([1e6; 2], 1e-9, 100.0);
        motion.update([0.0; 2], -1.0, 100.0);
        assert!(motion.shift(1.0).iter().chain(&motion.velocity()).all(|v| v.is_finite()));
        assert!(motion.velocity()[0].abs() <= 1000.0);
    }
}
