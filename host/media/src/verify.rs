//! Opens a finished output and checks that it is what was to be written.

use std::path::Path;

use halfpipe_core::{Rational, Size};

use crate::container::fault_of_mp4;
use crate::probe::{Contents, WHAT_PACKETS, probe_packets};
use crate::spares::SpareProbe;
use crate::{Container, MediaError, Tools};

/// What an output must be.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// Number of frames.
    pub frames: u64,
    /// Their size in the file, see [`crate::Written::size`].
    pub size: Size,
    /// Their timestamps, where these are to be compared.
    pub times: Option<ExpectedTimes<'a>>,
}

/// Timestamps that an output must have.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedTimes<'a> {
    /// Seconds per tick.
    pub time_base: Rational,
    /// Ticks, in order of presentation, one for each frame.
    pub pts: &'a [i64],
}

/// Checks a finished output; its ffprobe may be started while the output is still being written.
#[derive(Default)]
pub struct Verifier {
    spare: Option<SpareProbe>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("started", &self.spare.is_some()).finish()
    }
}

impl Verifier {
    /// Starts ffprobe, so that [`verify`](Self::verify) need not wait 50 ms for the dynamic linker. Where it cannot be started, that
    /// tells why.
    #[must_use]
    pub fn start(tools: &Tools) -> Self {
        Self { spare: SpareProbe::start(tools, &WHAT_PACKETS).ok() }
    }

    /// [`verify`], once.
    ///
    /// # Errors
    /// The same.
    pub fn verify(self, tools: &Tools, path: &Path, expect: Expect<'_>) -> Result<(), MediaError> {
        check(tools, path, expect, self.spare)
    }
}

/// Checks that the video at `path` opens, is H.264 in yuv420p of the right size, has exactly as many frames and, in MP4 and
/// MOV, that its index comes first. Reads all of it, but decodes only its start.
///
/// # Errors
/// [`MediaError::Verify`] with the first difference; those of [`crate::probe`] where it does not open.
pub fn verify(tools: &Tools, path: &Path, expect: Expect<'_>) -> Result<(), MediaError> {
    check(tools, path, expect, None)
}

fn check(tools: &Tools, path: &Path, expect: Expect<'_>, spare: Option<SpareProbe>) -> Result<(), MediaError> {
    let wrong = |what: String| Err(MediaError::Verify { path: path.to_owned(), what });
    if Container::of(path)? != Container::Mkv
        && let Some(fault) = fault_of_mp4(path).map_err(|e| MediaError::io("read", path, e))?
    {
        return wrong(fault);
    }
    let Contents { info, packets, mut pts } = probe_packets(tools, path, expect.times.is_some(), spare)?;
    if (info.codec.as_str(), info.pixel_format.as_str()) != ("h264", "yuv420p") {
        return wrong(format!("it is {} in {}, not h264 in yuv420p", info.codec, info.pixel_format));
    }
    if info.format.size != expect.size {
        return wrong(format!("its frames are {}, not {}", info.format.size, expect.size));
    }
    if packets != expect.frames {
        return wrong(format!("it has {packets} frames, not {}", expect.frames));
    }
    if let Some(times) = expect.times {
        pts.sort_unstable();
        let ticks = info.format.time_base;
        let same = |found: &Option<i64>, pts: &i64| found.is_some_and(|found| ticks_from(*pts, times.time_base, ticks) == found);
        if pts.len() != times.pts.len() {
            return wrong(format!("it has {} timestamps, not {}", pts.len(), times.pts.len()));
        }
        if let Some(i) = pts.iter().zip(times.pts).position(|(found, pts)| !same(found, pts)) {
            let (num, den) = (times.time_base.num, times.time_base.den);
            return wrong(format!(
                "frame {i} is at {:?} ticks of {}/{}, not at {} of {num}/{den}",
                pts[i], ticks.num, ticks.den, times.pts[i]
            ));
        }
    }
    Ok(())
}

/// Ticks of another time base, rounded to the nearest.
fn ticks_from(pts: i64, from: Rational, to: Rational) -> i64 {
    let num = i128::from(pts) * i128::from(from.num) * i128::from(to.den);
    let den = i128::from(from.den) * i128::from(to.num);
    i64::try_from((num + den / 2).div_euclid(den)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rounded_to_the_nearest() {
        let ms = Rational::new(1, 1000);
        assert_eq!(ticks_from(512, Rational::new(1, 15360), ms), 33);
        assert_eq!(ticks_from(3, Rational::new(1001, 30000), Rational::new(1, 30000)), 3003);
        assert_eq!(ticks_from(-512, Rational::new(1, 15360), ms), -33);
    }
}
