//! Byte ranges and entity tags of requests (RFC 9110, sections 13 and 14).

use std::ops::Range;

/// What a Range header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Everything: there is no range that is understood.
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// None that exist.
    Beyond,
}

/// Reads a Range header for an object of `size` bytes. Several ranges, other units and what is malformed are ignored, as the
/// standard allows.
pub fn parse(text: &str, size: u64) -> Asked {
    let Some((unit, spec)) = text.trim().split_once('=') else { return Asked::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::Whole };
    let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u64>().unwrap_or(u64::MAX));
    let (first, last) = (first.trim(), last.trim());
    let (Some(from), Some(to)) = (number(first), number(last)) else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || (first.is_empty() && last.is_empty()) {
        return Asked::Whole;
    }
    let part = if first.is_empty() {
        // the last `to` bytes
        size.saturating_sub(to)..size
    } else if last.is_empty() {
        from..size
    } else if to < from {
        return Asked::Whole;
    } else {
        from..to.saturating_add(1).min(size)
    };
    if part.is_empty() { Asked::Beyond } else { Asked::Part(part) }
}

/// Whether a list of entity tags has `tag`, compared weakly.
pub fn has_tag(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, asked) in [
            ("bytes=0-3", Asked::Part(0..4)),
            ("bytes=8-", Asked::Part(8..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=5-99", Asked::Part(5..10)),
            ("Bytes = 1-1", Asked::Part(1..2)),
            ("bytes=10-", Asked::Beyond),
            ("bytes=99999999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=0-1,4-5", Asked::Whole),
            ("bytes=4-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(parse(text, 10), asked, "{text:?}");
        }
        assert_eq!(parse("bytes=0-", 0), Asked::Beyond);
    }

    #[test]
    fn tags() {
        assert!(has_tag("\"a\"", "\"a\"") && has_tag("W/\"a\"", "\"a\"") && has_tag("\"b\", \"a\"", "\"a\"") && has_tag("*", "\"a\""));
        assert!(!has_tag("\"b\"", "\"a\"") && !has_tag("a", "\"a\""));
    }
}
