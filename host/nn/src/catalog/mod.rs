//! The model catalog: which models and bodies there are, the files they live in, and what these files must be.
//!
//! The built-in catalog is `models/catalog.toml`; users may add their own files of the same form. Every key is checked, so
//! that a misspelt one is an error rather than a default.

mod check;
mod detector;
mod dirs;
mod verify;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use halfpipe_core::Normalization;
use serde::Deserialize;

use crate::TensorType;

pub use detector::{
    BoxFormat, BoxHeads, BoxUnits, CandidateAxis, Columns, DetectorEntry, Heads, InputSize, InputValue, ScoreForm, ScoreKind,
};
pub(crate) use dirs::env;
pub use dirs::{cache_dir, models_dir};
pub use verify::{PinnedFile, verify};
pub(crate) use verify::{read_verified, read_verified_shared};

/// Why the catalog or a file it names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a catalog.
    #[error("{origin}: {message}")]
    Parse {
        /// The file, or `models/catalog.toml` for the built-in one.
        origin: String,
        /// What is wrong and where.
        message: String,
    },
    /// No model or body has that name.
    #[error("there is no model or body named `{name}` in the catalog; it has: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A model file is not there.
    #[error("the file of `{name}` is missing: {path}; run `make models` or `halfpipe models make`", path = .path.display())]
    Missing {
        /// Model or body.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A model file is not the one the catalog means.
    #[error(
        "{path} is not the file that the catalog means by `{name}`: sha256 {found}… instead of {expected}…; \
         run `make models` or `halfpipe models make` to make it again",
        path = .path.display()
    )]
    Altered {
        /// Model or body.
        name: String,
        /// The file.
        path: PathBuf,
        /// First 12 hex digits by the catalog.
        expected: String,
        /// First 12 hex digits of the file.
        found: String,
    },
    /// Neither `--models`, HALFPIPE_MODELS, XDG_CACHE_HOME nor HOME says where models live.
    #[error("no directory for models is known; give --models, or set HALFPIPE_MODELS, XDG_CACHE_HOME or HOME")]
    NoDirectory,
}

/// One input or output as the catalog states it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortEntry {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    #[serde(rename = "type")]
    pub ty: TensorType,
    /// Size of each dimension; 0 where any size fits.
    pub dims: Vec<usize>,
}

/// A file with weights that an ONNX file refers to (ONNX external data, which models above 2 GB need).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataEntry {
    /// File name inside the models directory; also the `location` by which the ONNX file refers to it.
    pub file: String,
    /// Digest of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
}

/// A model: an ONNX file and what to know about it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Name that guests ask for.
    pub name: String,
    /// File name inside the models directory.
    pub file: String,
    /// Digest of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
    /// Files with weights that it refers to.
    #[serde(default)]
    pub data: Vec<DataEntry>,
    /// SPDX identifier or a sentence.
    pub licence: String,
    /// Who made it.
    pub credit: String,
    /// Package or publication it comes from.
    pub source: String,
    /// Path of the recipe that makes the file.
    pub recipe: String,
    /// One sentence.
    pub summary: String,
    /// Inputs in the graph's order.
    pub inputs: Vec<PortEntry>,
    /// Outputs in the graph's order.
    pub outputs: Vec<PortEntry>,
    /// Input normalisation of image models, RGB: `(value / 255 - mean) / std`.
    #[serde(default)]
    pub mean: Option<[f32; 3]>,
    /// See `mean`; both stand or neither.
    #[serde(default)]
    pub std: Option<[f32; 3]>,
    /// How it is used as a detector of people.
    #[serde(default)]
    pub detector: Option<DetectorEntry>,
}

impl ModelEntry {
    /// Input normalisation of an image model.
    #[must_use]
    pub fn normalization(&self) -> Option<Normalization> {
        Some(Normalization { mean: self.mean?, std: self.std? })
    }
}

/// A body: an ONNX file that turns rotations and shape into vertices, and a rig file with its faces and joints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyEntry {
    /// Name that guests ask for.
    pub name: String,
    /// File name of the ONNX model inside the models directory.
    pub file: String,
    /// Digest of the model file, 64 lower-case hex digits.
    pub sha256: String,
    /// Length of the model file.
    pub bytes: u64,
    /// File name of the rig (safetensors) inside the models directory.
    pub rig: String,
    /// Digest of the rig file.
    pub rig_sha256: String,
    /// Length of the rig file.
    pub rig_bytes: u64,
    /// Number of vertices.
    pub vertices: u32,
    /// Number of triangles.
    pub faces: u32,
    /// SPDX identifier or a sentence.
    pub licence: String,
    /// Who made it.
    pub credit: String,
    /// Package or publication it comes from.
    pub source: String,
    /// Path of the recipe that makes the files.
    pub recipe: String,
    /// One sentence.
    pub summary: String,
    /// Inputs in the graph's order.
    pub inputs: Vec<PortEntry>,
    /// Outputs in the graph's order.
    pub outputs: Vec<PortEntry>,
}

/// A registry package that model files are made from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageEntry {
    /// Name in the registry.
    pub name: String,
    /// Which registry, e.g. `npm` or `pypi`.
    pub registry: String,
    /// Exact version.
    pub version: String,
    /// Digests of the archives that are accepted.
    pub sha256: Vec<String>,
}

/// Any entry that has an ONNX file: a model, or a body (which is a model too).
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A model.
    Model(&'a ModelEntry),
    /// A body.
    Body(&'a BodyEntry),
}

impl<'a> Entry<'a> {
    /// Whom to credit.
    #[must_use]
    pub fn credit(self) -> &'a str {
        match self {
            Self::Model(m) => &m.credit,
            Self::Body(b) => &b.credit,
        }
    }

    /// What it is, one sentence.
    #[must_use]
    pub fn summary(self) -> &'a str {
        match self {
            Self::Model(m) => &m.summary,
            Self::Body(b) => &b.summary,
        }
    }

    /// Size of the .onnx file and its external data in bytes, as the catalog states it.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Model(m) => m.data.iter().fold(m.bytes, |sum, data| sum.saturating_add(data.bytes)),
            Self::Body(b) => b.bytes,
        }
    }

    /// Name that guests ask for.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Model(m) => &m.name,
            Self::Body(b) => &b.name,
        }
    }
    /// The ONNX file.
    #[must_use]
    pub fn onnx(self) -> PinnedFile<'a> {
        match self {
            Self::Model(m) => PinnedFile { name: &m.name, file: &m.file, sha256: &m.sha256 },
            Self::Body(b) => PinnedFile { name: &b.name, file: &b.file, sha256: &b.sha256 },
        }
    }
    /// The files with weights that the ONNX file refers to.
    #[must_use]
    pub fn data(self) -> Vec<PinnedFile<'a>> {
        match self {
            Self::Model(m) => m.data.iter().map(|data| PinnedFile { name: &m.name, file: &data.file, sha256: &data.sha256 }).collect(),
            Self::Body(_) => Vec::new(),
        }
    }
    /// Every file of the entry: the ONNX file with its external data, and a body's rig.
    #[must_use]
    pub fn files(self) -> Vec<PinnedFile<'a>> {
        match self {
            Self::Model(_) => [vec![self.onnx()], self.data()].concat(),
            Self::Body(b) => vec![self.onnx(), b.rig()],
        }
    }
    /// Inputs in the graph's order.
    #[must_use]
    pub fn inputs(self) -> &'a [PortEntry] {
        match self {
            Self::Model(m) => &m.inputs,
            Self::Body(b) => &b.inputs,
        }
    }
    /// Outputs in the graph's order.
    #[must_use]
    pub fn outputs(self) -> &'a [PortEntry] {
        match self {
            Self::Model(m) => &m.outputs,
            Self::Body(b) => &b.outputs,
        }
    }
    /// Licence.
    #[must_use]
    pub fn licence(self) -> &'a str {
        match self {
            Self::Model(m) => &m.licence,
            Self::Body(b) => &b.licence,
        }
    }
}

impl BodyEntry {
    /// The rig file.
    #[must_use]
    pub fn rig(&self) -> PinnedFile<'_> {
        PinnedFile { name: &self.name, file: &self.rig, sha256: &self.rig_sha256 }
    }
}

/// All models, bodies and packages known by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    schema: u32,
    #[serde(default, rename = "model")]
    models: Vec<ModelEntry>,
    #[serde(default, rename = "body")]
    bodies: Vec<BodyEntry>,
    #[serde(default, rename = "package")]
    packages: Vec<PackageEntry>,
    /// Where each entry and each package was read, for those who name another one the same.
    #[serde(skip)]
    origins: HashMap<String, String>,
}

/// Folder of further catalogs inside the models directory.
pub const FURTHER: &str = "catalog.d";

const BUILTIN: &str = include_str!("../../../../models/catalog.toml");

impl Catalog {
    /// The catalog that is built in.
    ///
    /// # Errors
    /// [`CatalogError::Parse`] where `models/catalog.toml` is wrong; a test keeps that from happening.
    pub fn builtin() -> Result<Self, CatalogError> {
        Self::parse(BUILTIN, "models/catalog.toml")
    }

    /// A catalog from a file of the same form.
    ///
    /// # Errors
    /// [`CatalogError`] where the file cannot be read or is not a catalog.
    pub fn load(path: &Path) -> Result<Self, CatalogError> {
        let text = std::fs::read_to_string(path).map_err(|source| CatalogError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// A catalog from text; `origin` names it in errors.
    ///
    /// # Errors
    /// [`CatalogError::Parse`] with the first thing that is wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Self, CatalogError> {
        let wrong = |message: String| CatalogError::Parse { origin: origin.to_owned(), message };
        let mut catalog: Self = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        check::all(&catalog).map_err(wrong)?;
        catalog.origins = catalog.keys().map(|key| (key, origin.to_owned())).collect();
        Ok(catalog)
    }

    /// What a program works with: the built-in catalog, then `catalog.d/*.toml` in the models directory by name, then the file
    /// `more`. Files of `catalog.d` whose names start with a dot are left out.
    ///
    /// # Errors
    /// [`CatalogError`] where a file cannot be read or is not a catalog, or where two of them know something by the same name.
    pub fn installed(models_dir: &Path, more: Option<&Path>) -> Result<Self, CatalogError> {
        let further = further(&models_dir.join(FURTHER))?;
        let mut files = further.iter().map(PathBuf::as_path).chain(more);
        files.try_fold(Self::builtin()?, |catalog, file| catalog.merge(Self::load(file)?))
    }

    /// Adds the entries of `other`.
    ///
    /// # Errors
    /// [`CatalogError::Parse`] where both know a model, a body or a package by the same name; it says where both were read.
    pub fn merge(mut self, other: Self) -> Result<Self, CatalogError> {
        for key in other.keys() {
            if let (Some(mine), Some(origin)) = (self.origins.get(&key), other.origins.get(&key)) {
                let message = format!("`{key}` is in {mine} already; rename one or remove it");
                return Err(CatalogError::Parse { origin: origin.clone(), message });
            }
        }
        self.models.extend(other.models);
        self.bodies.extend(other.bodies);
        self.packages.extend(other.packages);
        self.origins.extend(other.origins);
        Ok(self)
    }

    /// The names of all entries, and the names of all packages after that of their registry.
    fn keys(&self) -> impl Iterator<Item = String> {
        let packages = self.packages.iter().map(|p| format!("{} {}", p.registry, p.name));
        self.entries().map(|e| e.name().to_owned()).chain(packages)
    }

    /// All models, without the bodies.
    #[must_use]
    pub fn models(&self) -> &[ModelEntry] {
        &self.models
    }

    /// All bodies.
    #[must_use]
    pub fn bodies(&self) -> &[BodyEntry] {
        &self.bodies
    }

    /// All packages that files are made from.
    #[must_use]
    pub fn packages(&self) -> &[PackageEntry] {
        &self.packages
    }

    /// All models and bodies.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.models.iter().map(Entry::Model).chain(self.bodies.iter().map(Entry::Body))
    }

    /// The model or body of that name.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], which lists what there is.
    pub fn entry(&self, name: &str) -> Result<Entry<'_>, CatalogError> {
        self.entries().find(|e| e.name() == name).ok_or_else(|| CatalogError::Unknown {
            name: name.to_owned(),
            known: self.entries().map(Entry::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The body of that name.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], which lists the bodies.
    pub fn body(&self, name: &str) -> Result<&BodyEntry, CatalogError> {
        self.bodies.iter().find(|b| b.name == name).ok_or_else(|| CatalogError::Unknown {
            name: name.to_owned(),
            known: self.bodies.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The catalogs in a folder, by name; none where there is no such folder.
fn further(folder: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let fail = |source: std::io::Error| CatalogError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    files.retain(|path| path.extension().is_some_and(|e| e == "toml") && !hidden(path));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
