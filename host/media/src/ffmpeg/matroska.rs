//! A stream of raw frames that carries their timestamps into ffmpeg: the least Matroska (RFC 9559) that does it.
//!
//! One track of uncompressed I420, a clock of nanoseconds, a segment of unknown size, one cluster for each frame.

use halfpipe_core::{Rational, Size};

/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

// element identifiers, RFC 8794 and RFC 9559
const EBML: u32 = 0x1A45_DFA3;
const DOC_TYPE: u32 = 0x4282;
const DOC_TYPE_VERSION: u32 = 0x4287;
const DOC_TYPE_READ_VERSION: u32 = 0x4285;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x002A_D7B1;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_UID: u32 = 0x73C5;
const TRACK_TYPE: u32 = 0x83;
const FLAG_LACING: u32 = 0x9C;
const DEFAULT_DURATION: u32 = 0x0023_E383;
const CODEC_ID: u32 = 0x86;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;
const UNCOMPRESSED_FOURCC: u32 = 0x002E_B524;
const CLUSTER: u32 = 0x1F43_B675;
const TIMESTAMP: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;

/// Track number 1, no offset to the cluster, a key frame.
const BLOCK_HEAD: [u8; 4] = [0x81, 0, 0, 0x80];

/// Everything before the first frame. `frame_rate` only guides the encoder; the frames' timestamps are the truth.
pub fn header(size: Size, frame_rate: Rational) -> Vec<u8> {
    let duration = NANOS * i128::from(frame_rate.den) / i128::from(frame_rate.num).max(1);
    let video =
        [unsigned(PIXEL_WIDTH, size.width.into()), unsigned(PIXEL_HEIGHT, size.height.into()), element(UNCOMPRESSED_FOURCC, b"I420")];
    let track = [
        unsigned(TRACK_NUMBER, 1),
        unsigned(TRACK_UID, 1),
        unsigned(TRACK_TYPE, 1),
        unsigned(FLAG_LACING, 0),
        unsigned(DEFAULT_DURATION, u64::try_from(duration).unwrap_or(1).max(1)),
        element(CODEC_ID, b"V_UNCOMPRESSED"),
        element(VIDEO, &video.concat()),
    ];
    let kind = [element(DOC_TYPE, b"matroska"), unsigned(DOC_TYPE_VERSION, 4), unsigned(DOC_TYPE_READ_VERSION, 2)];
    let mut bytes = element(EBML, &kind.concat());
    push_id(&mut bytes, SEGMENT);
    // unknown size: it ends where the stream ends
    bytes.extend([0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend(element(INFO, &unsigned(TIMESTAMP_SCALE, 1)));
    bytes.extend(element(TRACKS, &element(TRACK_ENTRY, &track.concat())));
    bytes
}

/// What comes before the `length` bytes of the frame at `nanos`.
pub fn frame_head(nanos: u64, length: usize) -> Vec<u8> {
    let time = unsigned(TIMESTAMP, nanos);
    let mut block = Vec::with_capacity(48);
    push_id(&mut block, SIMPLE_BLOCK);
    push_size(&mut block, BLOCK_HEAD.len() + length);
    block.extend(BLOCK_HEAD);
    let mut bytes = Vec::with_capacity(64);
    push_id(&mut bytes, CLUSTER);
    push_size(&mut bytes, time.len() + block.len() + length);
    bytes.extend(time);
    bytes.extend(block);
    bytes
}

/// A timestamp in nanoseconds, rounded to the nearest; `None` below 0 and past what the clock can hold.
pub fn nanos(pts: i64, time_base: Rational) -> Option<u64> {
    let (num, den) = (i128::from(pts) * i128::from(time_base.num) * NANOS, i128::from(time_base.den));
    let rounded = (num + den / 2).div_euclid(den);
    u64::try_from(rounded).ok().filter(|&n| i64::try_from(n).is_ok())
}

/// Whether nanoseconds tell all ticks apart, so that a timestamp comes back exactly.
pub fn can_carry(time_base: Rational) -> bool {
    time_base.num > 0 && time_base.den > 0 && i128::from(time_base.num) * NANOS >= 2 * i128::from(time_base.den)
}

fn element(id: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 12);
    push_id(&mut bytes, id);
    push_size(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

fn unsigned(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

fn push_id(bytes: &mut Vec<u8>, id: u32) {
    let skip = (id.leading_zeros() / 8) as usize;
    bytes.extend_from_slice(&id.to_be_bytes()[skip..]);
}

/// A size in its eight-byte form.
fn push_size(bytes: &mut Vec<u8>, size: usize) {
    bytes.extend_from_slice(&(0x0100_0000_0000_0000 | size as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_back_from_nanoseconds() {
        for (num, den) in [(1, 15360), (1, 90000), (1001, 30000), (1, 1_200_000), (1, 500_000_000)] {
            let time_base = Rational::new(num, den);
            assert!(can_carry(time_base));
            for pts in [0, 1, 2, 3, 77_307, 123_456_789, 400_000_000] {
                // the rounding of ffmpeg's av_rescale_q
                let ns = i128::from(nanos(pts, time_base).unwrap());
                let unit = NANOS * i128::from(num);
                assert_eq!((ns * i128::from(den) * 2 + unit) / (2 * unit), i128::from(pts), "{num}/{den}");
            }
        }
        assert!(!can_carry(Rational::new(1, 1_000_000_000)));
        assert_eq!(nanos(-1, Rational::new(1, 1000)), None);
        assert_eq!(nanos(i64::MAX, Rational::new(1, 1000)), None);
    }

    #[test]
    fn a_cluster_is_as_long_as_it_says() {
        let head = frame_head(5, 100);
        assert_eq!(head[..4], CLUSTER.to_be_bytes());
        let size = u64::from_be_bytes(head[4..12].try_into().unwrap()) & 0x00FF_FFFF_FFFF_FFFF;
        assert_eq!(size as usize, head.len() - 12 + 100);
        assert!(head.ends_with(&BLOCK_HEAD));
    }
}
