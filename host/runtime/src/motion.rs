//! .glb and .bvh from the poses a guest wrote: the host's part, because meshes never enter a guest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use halfpipe_kit::poses::PosesReader;
use halfpipe_motion::{GlbOptions, Motion, MotionError};
use halfpipe_nn::{BodyRig, Catalog};

use crate::error::RuntimeError;
use crate::grants::{self, Staged};
use crate::report::Warning;

/// The motion files to make.
#[derive(Debug, Clone, Copy, Default)]
pub struct MotionFiles<'a> {
    /// Skinned, animated glTF.
    pub glb: Option<&'a Path>,
    /// Biovision motion of the longest track; further tracks beside it.
    pub bvh: Option<&'a Path>,
}

/// Staged files and what the user should know of them.
pub(crate) struct Exported {
    /// By role: `glb`, `bvh`, `bvh.track2`, ...
    pub staged: BTreeMap<String, Staged>,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

/// Makes motion files from a finished pose file, with the body that its header names. They appear together or not at all.
///
/// # Errors
/// [`RuntimeError::Catalog`] and [`RuntimeError::Nn`] where the body is not here, [`RuntimeError::Motion`] where the poses are not what
/// they should be, [`RuntimeError::Output`] where a file cannot be written.
pub fn export_files(catalog: &Catalog, models_dir: &Path, poses: &Path, files: MotionFiles<'_>) -> Result<Vec<Warning>, RuntimeError> {
    let unreadable = |e: std::io::Error| RuntimeError::Output { path: poses.to_owned(), message: e.to_string() };
    let reader = PosesReader::new(BufReader::new(File::open(poses).map_err(unreadable)?)).map_err(MotionError::from)?;
    let entry = catalog.body(&reader.header().body.name)?;
    let rig = BodyRig::load(entry, models_dir)?;
    let made = export(files, "motion", &rig, &entry.licence, poses)?;
    grants::publish(&made.staged)?;
    Ok(made.warnings)
}

/// Stages the motion files that are asked for.
///
/// # Errors
/// [`RuntimeError::Motion`] where the poses are not what they should be, [`RuntimeError::Output`] where a file cannot be written.
pub(crate) fn export(files: MotionFiles<'_>, job: &str, rig: &BodyRig, licence: &str, poses: &Path) -> Result<Exported, RuntimeError> {
    let body = body(rig)?;
    let unreadable = |e: std::io::Error| RuntimeError::Output { path: poses.to_owned(), message: e.to_string() };
    let motion = Motion::read(BufReader::new(File::open(poses).map_err(unreadable)?))?;
    let mut made = Exported { staged: BTreeMap::new(), warnings: Vec::new() };
    if let Some(target) = files.glb {
        let options = GlbOptions { copyright: Some(format!("body {}: {licence}", rig.name)), ..GlbOptions::default() };
        let staged = write(target, job, |out| motion.write_glb(&body, &options, out).map(|_| ()))?;
        made.staged.insert("glb".into(), staged);
    }
    if let Some(target) = files.bvh {
        let stem = target.file_stem().and_then(|s| s.to_str()).unwrap_or("motion");
        for (i, (track, name)) in motion.bvh_files(stem).into_iter().enumerate() {
            // the first file is the longest track and has the name that was asked for
            let target = if i == 0 { target.to_owned() } else { target.with_file_name(name) };
            let mut summary = None;
            let staged = write(&target, job, |out| {
                summary = Some(motion.write_bvh(&body, track, out)?);
                Ok(())
            })?;
            let role = if i == 0 { "bvh".to_owned() } else { format!("bvh.track{}", track.unwrap_or_default()) };
            if summary.is_some_and(|s| s.resampled) {
                let message = format!("{} holds evenly spaced frames, interpolated from the video's uneven ones", target.display());
                made.warnings.push(Warning { code: "bvh_resampled".into(), message });
            }
            made.staged.insert(role, staged);
        }
    }
    Ok(made)
}

/// Stages one file.
fn write(target: &Path, job: &str, fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), MotionError>) -> Result<Staged, RuntimeError> {
    let mut staged = Staged::new(target, job)?;
    let fault = |e: std::io::Error| RuntimeError::Output { path: target.to_owned(), message: e.to_string() };
    let mut out = BufWriter::new(File::create(&staged.path).map_err(fault)?);
    fill(&mut out)?;
    out.flush().map_err(fault)?;
    staged.bytes = std::fs::metadata(&staged.path).map_err(fault)?.len();
    staged.created = true;
    staged.finished = true;
    Ok(staged)
}

/// The rig as motion files need it.
fn body(rig: &BodyRig) -> Result<halfpipe_motion::BodyRig, RuntimeError> {
    let wrong = || RuntimeError::BadInput(format!("the body {} has not the 24 joints that motion files need", rig.name));
    Ok(halfpipe_motion::BodyRig {
        name: rig.name.clone(),
        shape_names: rig.shape_names.clone(),
        joint_names: rig.joint_names.clone().try_into().map_err(|_| wrong())?,
        parents: rig.parents.iter().map(|p| p.map_or(-1, |p| p as i32)).collect::<Vec<_>>().try_into().map_err(|_| wrong())?,
        joints: rig.j_template.clone().try_into().map_err(|_| wrong())?,
        joint_shapes: rig.j_shapedirs.clone(),
        bind: rig.bind_rotation.clone().try_into().map_err(|_| wrong())?,
        vertices: rig.v_template.clone(),
        vertex_shapes: rig.shapedirs.clone(),
        faces: rig.faces.clone(),
        skin_joints: rig.skin_index.clone(),
        skin_weights: rig.skin_weight.clone(),
    })
}
