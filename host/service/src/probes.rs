//! What was found in videos when they came in, kept for the jobs on them: the same bytes are looked at once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use halfpipe_media::VideoInfo;

/// Videos remembered at once; where more are waiting, those that came first are looked at again.
const MOST: usize = 256;

/// A version of an object, and what is in it.
#[derive(Debug)]
struct Probe {
    key: String,
    etag: String,
    info: VideoInfo,
}

/// The last videos that this process looked into.
#[derive(Debug, Default)]
pub(crate) struct Probes(Mutex<VecDeque<Probe>>);

impl Probes {
    /// Keeps what was found in the object under `key` with this etag.
    pub(crate) fn keep(&self, key: &str, etag: &str, info: VideoInfo) {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if probes.len() == MOST {
            probes.pop_front();
        }
        probes.push_back(Probe { key: key.to_owned(), etag: etag.to_owned(), info });
    }

    /// What was found in exactly this version of the object, once; none where nobody looked, or which version is not known.
    #[must_use]
    pub(crate) fn take(&self, key: &str, etag: Option<&str>) -> Option<VideoInfo> {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = probes.iter().position(|probe| probe.key == key && Some(probe.etag.as_str()) == etag)?;
        probes.remove(at).map(|probe| probe.info)
    }
}

#[cfg(test)]
mod tests {
    use halfpipe_media::Tools;
    use halfpipe_testkit::places;

    use super::*;

    #[test]
    fn a_video_is_known_by_its_version_and_once() {
        let info = halfpipe_media::probe(&Tools::find().unwrap(), &places::clip("tfjs_pose_squats.mp4")).unwrap();
        let probes = Probes::default();
        probes.keep("uploads/1/a.mp4", "x", info.clone());
        for (key, etag) in [("uploads/1/a.mp4", Some("y")), ("uploads/1/a.mp4", None), ("uploads/2/a.mp4", Some("x"))] {
            assert_eq!(probes.take(key, etag), None, "{key} {etag:?}");
        }
        assert_eq!(probes.take("uploads/1/a.mp4", Some("x")), Some(info.clone()));
        assert_eq!(probes.take("uploads/1/a.mp4", Some("x")), None);
        for i in 0..=MOST {
            probes.keep(&i.to_string(), "x", info.clone());
        }
        assert_eq!(probes.take("0", Some("x")), None, "the oldest has gone");
        assert!(probes.take("1", Some("x")).is_some());
    }
}
