//! A window gives exactly the frames that start in it, as they are in the whole video.

use halfpipe_media::{MediaError, Window};

use crate::common::{Scratch, decode, frame_times, round_trip};

#[test]
fn frames_in_the_window_and_no_others() {
    let dir = Scratch::new();
    dir.clip("-f lavfi -i testsrc2=s=160x90:r=30:d=6 -c:v libx264 -g 50 -bf 3 clip.mp4");
    dir.ffmpeg("-i clip.mp4 -c copy -output_ts_offset 10.5 late.mp4");
    dir.ffmpeg("-i clip.mp4 -c copy clip.mkv");
    dir.ffmpeg("-i clip.mp4 -c copy clip.ts");
    for name in ["clip.mp4", "late.mp4", "clip.mkv", "clip.ts"] {
        let whole = decode(&dir.path(name), None).unwrap();
        let (times, origin) = (whole.seconds(), whole.seconds()[0]);
        for (from, to) in [(0.0, 1.0), (1.0, 2.5), (times[37] - origin, times[38] - origin), (3.34, 5.01), (5.9, 100.0), (-5.0, 0.02)] {
            let window = Window::new(origin + from, origin + to).unwrap();
            let part = decode(&dir.path(name), Some(window)).unwrap();
            let inside = |t: f64| window.start_secs <= t && t < window.end_secs;
            let wanted: Vec<usize> = (0..times.len()).filter(|&i| inside(times[i])).collect();
            assert_eq!(part.pts, wanted.iter().map(|&i| whole.pts[i]).collect::<Vec<_>>(), "{name} {window:?}");
            for (picture, &i) in part.pictures.iter().zip(&wanted) {
                assert!(*picture == whole.pictures[i], "frame {i} of {name} differs in {window:?}");
            }
            assert_eq!(part.report.warnings(), [""; 0], "{name} {window:?}");
        }
    }
}

#[test]
fn a_window_round_trip_keeps_the_times() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=160x90:r=30:d=4 -output_ts_offset 7.7 -c:v libx264 in.mp4");
    let window = Window::new(8.9, 10.1).unwrap();
    round_trip(&clip, &dir.path("out.mp4"), Some(window)).unwrap();
    let inside = |t: &String| (8.9..10.1).contains(&t.parse::<f64>().unwrap());
    let wanted: Vec<String> = frame_times(&clip).into_iter().filter(inside).collect();
    assert_eq!(wanted.len(), 36);
    assert_eq!(frame_times(&dir.path("out.mp4")), wanted);
}

#[test]
fn a_window_without_a_frame_is_an_error() {
    let dir = Scratch::new();
    let clip = dir.clip("-f lavfi -i testsrc2=s=160x90:r=10:d=2 -c:v libx264 in.mp4");
    for (from, to) in [(5.0, 6.0), (-3.0, -1.0), (0.21, 0.29), (1e6, 2e6)] {
        let error = decode(&clip, Some(Window::new(from, to).unwrap())).err().unwrap();
        assert!(matches!(error, MediaError::EmptyWindow { .. }), "{error}");
        assert!(error.to_string().contains("runs from 0.000 s to 2.000 s"), "{error}");
    }
    let backwards = Window { start_secs: 1.0, end_secs: 0.5, part: None };
    assert!(matches!(decode(&clip, Some(backwards)), Err(MediaError::InvalidArgument { .. })));
}
