//! From the parts to one video and one pose file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use halfpipe_kit::poses::{Header, PosesWriter};
use halfpipe_media::{SourceFile, Stitch, StopSignal, Tools, list_frames, stitch};
use serde::Serialize;
use serde_json::json;
use tempfile::TempPath;

use crate::identity::{Sight, number, pair};
use crate::parts::Place;
use crate::plan::Plan;
use crate::{Digest, JoinError, Seam};

/// Lines are handed over in pieces of about this size.
const CHUNK: usize = 1 << 18;

/// What is to be joined.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its file, for messages.
    pub plan_path: &'a Path,
    /// The video that was split: its sound is copied, its times are the truth.
    pub source: &'a Path,
    /// The folder with `out_K.mp4` and `poses_K.jsonl` for every window K.
    pub folder: &'a Path,
    /// The video to write.
    pub video: Option<&'a Path>,
    /// The pose file to write.
    pub poses: Option<&'a Path>,
}

/// What came of a join.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JoinReport {
    /// `halfpipe.join/1`.
    pub schema: &'static str,
    /// The plan's id.
    pub plan: Digest,
    /// Frames of the whole.
    pub frames: u64,
    /// Different people in them.
    pub tracks: u32,
    /// Frames by status.
    pub statuses: BTreeMap<String, u64>,
    /// The parts it was made of.
    pub parts: Vec<JoinedPart>,
    /// The seams between them.
    pub seams: Vec<Seam>,
    /// The video, where one was wanted.
    pub video: Option<JoinedVideo>,
    /// One sentence for each thing that the user should know.
    pub warnings: Vec<String>,
}

/// A part that went into the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinedPart {
    /// Its window.
    pub window: u32,
    /// Index of its first own frame.
    pub first_frame: u64,
    /// Number of own frames.
    pub frames: u64,
    /// Digest of its pose file.
    pub poses_sha256: Digest,
    /// Digest of its video, where one was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_sha256: Option<Digest>,
    /// Where its networks ran.
    pub execution_provider: String,
    /// Where its bodies were drawn.
    pub adapter: String,
    /// The ffmpeg it was read and written with.
    pub ffmpeg: String,
}

/// The joined video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinedVideo {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// What the first reading of all parts gave.
struct Found {
    header: Header,
    /// Each window's tracks in the order in which they appear in its own frames.
    appearances: Vec<Vec<u32>>,
    links: Vec<Vec<(u32, u32)>>,
    seams: Vec<Seam>,
    parts: Vec<JoinedPart>,
}

/// Joins the parts of a plan. The outputs appear whole, once everything has been checked, or not at all; parts are left as they are, so
/// a window can be run again and the join be repeated.
///
/// The video's packets are copied, the poses are taken over as they were measured and drawn: nothing is blended at the seams.
///
/// # Errors
/// [`JoinError::Missing`] names windows without a part, [`JoinError::Part`] and [`JoinError::Poses`] a part that does not belong or is
/// broken, each with the command that makes it again; [`JoinError::Source`] where the video is another; those of [`stitch`].
pub fn join(tools: &Tools, request: &Request<'_>, stop: StopSignal) -> Result<JoinReport, JoinError> {
    let Request { plan, plan_path, source, folder, .. } = *request;
    let place = Place { plan, plan_path, source, folder };
    place.check_all_there(request.video.is_some())?;
    if let Some(first) = plan.windows.first() {
        first.check_source(source)?;
    }
    let list = list_frames(tools, source)?;
    if list.pts.len() as u64 != plan.source.frames {
        let what = format!("it has {} frames, not {}", list.pts.len(), plan.source.frames);
        return Err(JoinError::Source { path: source.to_owned(), what });
    }
    let found = look(&place, &list.pts, request.video.is_some())?;
    let numbers = number(&found.appearances, &found.links);
    let header = joined_header(plan, &found);
    let poses = request.poses.map(stage).transpose()?;
    let mut report = JoinReport {
        schema: "halfpipe.join/1",
        plan: plan.id,
        frames: 0,
        tracks: numbers.iter().flat_map(|n| n.values()).copied().max().unwrap_or(0),
        statuses: BTreeMap::new(),
        warnings: warnings(&found),
        parts: found.parts,
        seams: found.seams,
        video: None,
    };
    write_poses(&place, &list.pts, &header, &numbers, poses.as_deref(), &mut report)?;
    let staged_video = request.video.map(stage).transpose()?;
    if let (Some(target), Some(staged)) = (request.video, &staged_video) {
        let parts: Vec<PathBuf> = plan.windows.iter().map(|w| place.video(w.index)).collect();
        let file = SourceFile { path: source.to_owned(), info: list.info.clone() };
        let written = stitch(tools, &Stitch { parts: &parts, source: &file, pts: &list.pts }, staged, stop)?;
        report.warnings.extend(written.warnings);
        report.video = Some(JoinedVideo { path: target.to_owned(), bytes: written.bytes });
    }
    for (staged, target) in [(poses, request.poses), (staged_video, request.video)] {
        if let (Some(staged), Some(target)) = (staged, target) {
            staged.persist(target).map_err(|e| JoinError::io("write", target, e.error))?;
        }
    }
    Ok(report)
}

/// A hidden file beside the target that goes away unless it is put in its place. Its name says whose it is, as those of jobs do.
fn stage(target: &Path) -> Result<TempPath, JoinError> {
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let extension = target.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let file = tempfile::Builder::new()
        .prefix(&format!(".halfpipe-{}-join-part-", std::process::id()))
        .suffix(&extension)
        // as any file of the user's; the umask takes its part off
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder);
    Ok(file.map_err(|e| JoinError::io("write", target, e))?.into_temp_path())
}

/// Reads all parts once: checks them, notes who appears when, and pairs the tracks of neighbours.
fn look(place: &Place<'_>, pts: &[i64], videos: bool) -> Result<Found, JoinError> {
    let windows = &place.plan.windows;
    let mut header: Option<Header> = None;
    let (mut appearances, mut links, mut seams, mut parts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // what the window before saw of the frames that this one sees too
    let mut tail: BTreeMap<u64, Vec<Sight>> = BTreeMap::new();
    for (k, window) in windows.iter().enumerate() {
        let mut reader = place.open(window, pts)?;
        if let Some(first) = &header {
            place.check_alike(window, first, reader.header(), videos)?;
        }
        let text = |name: &str| reader.header().provenance.get(name).and_then(|v| v.as_str()).unwrap_or("unknown").to_owned();
        parts.push(JoinedPart {
            window: window.index,
            first_frame: window.first_frame,
            frames: window.frames,
            poses_sha256: Digest::of_file(&place.poses(window.index))?,
            video_sha256: videos.then(|| Digest::of_file(&place.video(window.index))).transpose()?,
            execution_provider: text("execution_provider"),
            adapter: text("adapter"),
            ffmpeg: text("ffmpeg"),
        });
        header.get_or_insert_with(|| reader.header().clone());
        let before_ends = k.checked_sub(1).map_or(0, |before| windows[before].context_after_frame());
        let next_starts = windows.get(k + 1).map_or(u64::MAX, |next| next.context_first_frame);
        let (mut head, mut next_tail): (Vec<Vec<Sight>>, BTreeMap<u64, Vec<Sight>>) = (Vec::new(), BTreeMap::new());
        let (mut order, mut known) = (Vec::new(), BTreeSet::new());
        while let Some(frame) = reader.next()? {
            let sights: Vec<Sight> = frame.people.iter().map(Sight::of).collect();
            if (window.first_frame..window.after_frame()).contains(&frame.index) {
                // whoever is new in the same frame has been followed longer by the lower number
                let new: BTreeSet<u32> = sights.iter().map(|s| s.track).filter(|track| known.insert(*track)).collect();
                order.extend(new);
            }
            if frame.index >= next_starts {
                next_tail.insert(frame.index, sights.clone());
            }
            if frame.index < before_ends {
                head.push(sights);
            }
        }
        appearances.push(order);
        if k > 0 {
            let first_shared = window.context_first_frame;
            let shared: Vec<(Vec<Sight>, Vec<Sight>)> =
                head.into_iter().zip(first_shared..).filter_map(|(later, frame)| Some((tail.remove(&frame)?, later))).collect();
            let pairs = pair(&shared);
            seams.push(Seam::of(window.index, window.first_frame, first_shared, &shared, &pairs));
            links.push(pairs);
        }
        tail = next_tail;
    }
    let header = header.ok_or_else(|| JoinError::Plan { path: place.plan_path.to_owned(), what: "it has no window".into() })?;
    Ok(Found { header, appearances, links, seams, parts })
}

/// The header of the joined file: that of the parts, with all of them in its provenance.
fn joined_header(plan: &Plan, found: &Found) -> Header {
    let mut header = found.header.clone();
    header.provenance.remove("window");
    header.provenance.insert("joined".into(), json!({ "plan": plan.id, "parts": found.parts }));
    header
}

fn warnings(found: &Found) -> Vec<String> {
    let mut warnings = Vec::new();
    for (what, of) in [("networks ran", (|p| &p.execution_provider) as fn(&JoinedPart) -> &String), ("bodies were drawn", |p| &p.adapter)] {
        let places: BTreeSet<&String> = found.parts.iter().map(of).collect();
        if places.len() > 1 {
            let places: Vec<&str> = places.into_iter().map(String::as_str).collect();
            warnings.push(format!("the parts' {what} on different devices, so they may differ slightly: {}", places.join("; ")));
        }
    }
    if found.seams.iter().any(|seam| seam.shared_frames == 0) {
        warnings.push("windows without overlap saw no frame both, so everybody has another number behind the seam".into());
    }
    let coloured = found.header.settings.get("one_colour").and_then(serde_json::Value::as_bool) == Some(false);
    if coloured && found.links.iter().flatten().any(|(a, b)| a != b) {
        warnings.push(
            "bodies were drawn in a colour for each number, but windows count by themselves, so somebody changes colour at a seam".into(),
        );
    }
    warnings
}

/// Reads all parts again and writes their own frames with the joined numbers; counts them either way.
fn write_poses(
    place: &Place<'_>,
    pts: &[i64],
    header: &Header,
    numbers: &[BTreeMap<u32, u32>],
    target: Option<&Path>,
    report: &mut JoinReport,
) -> Result<(), JoinError> {
    let fault = |e| JoinError::io("write", target.unwrap_or_else(|| Path::new("poses")), e);
    let mut text = Vec::new();
    let mut writer = PosesWriter::new(header, &mut text)?;
    let mut out = target.map(|t| File::create(t).map(BufWriter::new)).transpose().map_err(fault)?;
    for (window, numbers) in place.plan.windows.iter().zip(numbers) {
        let mut reader = place.open(window, pts)?;
        while let Some(mut frame) = reader.next()? {
            if !(window.first_frame..window.after_frame()).contains(&frame.index) {
                continue;
            }
            for person in &mut frame.people {
                let Some(number) = numbers.get(&person.track) else {
                    return Err(place.fault(&place.poses(window.index), window.index, "it changed while it was read".into()));
                };
                person.track = *number;
            }
            report.frames += 1;
            let status = serde_json::to_value(frame.status).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            *report.statuses.entry(status).or_default() += 1;
            writer.write(&frame, &mut text)?;
            if text.len() > CHUNK {
                if let Some(out) = &mut out {
                    out.write_all(&text).map_err(fault)?;
                }
                text.clear();
            }
        }
    }
    if let Some(mut out) = out {
        out.write_all(&text).and_then(|()| out.flush()).map_err(fault)?;
    }
    Ok(())
}
