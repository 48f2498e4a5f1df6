//! What a detector's table must be: in keeping with the model's inputs and outputs, and with itself. Each fault is one sentence.

use halfpipe_core::Fit;

use super::{BoxFormat, BoxHeads, BoxUnits, CandidateAxis, Columns, DetectorEntry, Heads, InputSize, InputValue, ScoreForm, ScoreKind};
use crate::TensorType;
use crate::catalog::{ModelEntry, PortEntry};
use crate::image::{ChannelOrder, MAX_TARGET, PictureFormat, PixelLayout};

/// MoveNet's heads and their channels.
const MOVENET: [(&str, usize); 6] =
    [("center", 1), ("box_scale", 2), ("box_offset", 2), ("kpt_regress", 34), ("kpt_heatmap", 17), ("kpt_offset", 34)];
/// Most people of a picture that an entry may ask for.
const MOST: u32 = 1000;
/// Types of outputs that hold fractions.
const FLOATS: &[TensorType] = &[TensorType::F32, TensorType::F16];
/// Types of outputs that hold whole numbers.
const NUMBERS: &[TensorType] = &[TensorType::F32, TensorType::F16, TensorType::I32, TensorType::I64, TensorType::U8];

/// Nothing, or what is wrong.
type Check = Result<(), String>;

fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(fault()) }
}

/// Checks a model's detector table against its inputs and outputs; the error is one sentence.
pub fn check(model: &ModelEntry) -> Check {
    let Some(detector) = &model.detector else { return Ok(()) };
    detector.check(model).map_err(|fault| format!("`{}`, detector: {fault}", model.name))
}

impl DetectorEntry {
    fn check(&self, model: &ModelEntry) -> Check {
        let picture = self.check_picture(model)?;
        self.check_other_inputs(model)?;
        for (key, value) in [("score", self.score), ("overlap", self.overlap)] {
            ensure((0.0..=1.0).contains(&value), || format!("`{key}` is {value}, not 0 to 1"))?;
        }
        ensure((1..=MOST).contains(&self.most), || format!("`most` is {}, not 1 to {MOST}", self.most))?;
        match &self.heads {
            Heads::Boxes(heads) => heads.check(&model.outputs, &picture, self.size),
            Heads::Movenet => self.check_movenet(model, picture.ty),
        }
    }

    /// Checks what goes in, and gives it.
    fn check_picture(&self, model: &ModelEntry) -> Result<Picture, String> {
        let Some(input) = model.inputs.iter().find(|p| p.name == self.input) else {
            return Err(format!("there is no input `{}`; it has: {}", self.input, names(&model.inputs)));
        };
        let stands = || format!("the input `{}` is {} {:?}", input.name, input.ty, input.dims);
        ensure(PictureFormat::ELEMENTS.contains(&input.ty), || format!("{}; pictures are f32, f16 or u8", stands()))?;
        let Some([n, height, width]) = sides(self.layout, &input.dims) else {
            let other = PixelLayout::ALL.into_iter().find(|l| sides(*l, &input.dims).is_some());
            let remedy = other.map_or_else(|| "no picture of three channels".to_owned(), |l| format!("write `layout = \"{}\"`", name(l)));
            return Err(format!("{}, which is not laid out as {}: {remedy}", stands(), shape(self.layout)));
        };
        match (input.ty, model.normalization().is_some()) {
            (TensorType::U8, true) => return Err(format!("{}, which takes the frame's levels: remove `mean` and `std`", stands())),
            (TensorType::F32 | TensorType::F16, false) => return Err(format!("{}, which needs the model's `mean` and `std`", stands())),
            _ => {}
        }
        ensure(self.fit != Fit::Stretch || self.fill.is_none(), || "a stretched frame has nothing around it: remove `fill`".into())?;
        self.size.check([height, width])?;
        Ok(Picture { ty: input.ty, n })
    }

    fn check_other_inputs(&self, model: &ModelEntry) -> Check {
        for name in self.other_inputs.keys() {
            let known = *name != self.input && model.inputs.iter().any(|p| p.name == *name);
            ensure(known, || format!("`other_inputs` has `{name}`, which is no other input; the model has: {}", names(&model.inputs)))?;
        }
        for port in model.inputs.iter().filter(|p| p.name != self.input) {
            let Some(value) = self.other_inputs.get(&port.name) else {
                let values = "\"ones\", \"height_width\" or \"width_height\"";
                return Err(format!("say in `other_inputs` what the input `{}` is given: {values}", port.name));
            };
            let fits = match value {
                // free: how many pictures, and last their height and width
                InputValue::Ones => (1..port.dims.len()).all(|i| port.dims[i] != 0 || port.dims.len() >= 3 && i + 2 >= port.dims.len()),
                InputValue::HeightWidth | InputValue::WidthHeight => matches!(port.dims[..], [2] | [_, 2]),
            };
            let types = [TensorType::F32, TensorType::F16, TensorType::I32, TensorType::I64, TensorType::U8];
            ensure(fits && types.contains(&port.ty), || {
                format!("the input `{}` is {} {:?}, which cannot be given {value:?}", port.name, port.ty, port.dims)
            })?;
        }
        Ok(())
    }

    fn check_movenet(&self, model: &ModelEntry, ty: TensorType) -> Check {
        let plain = self.layout == PixelLayout::Nchw && self.channels == ChannelOrder::Rgb && ty == TensorType::F32;
        ensure(plain, || "MoveNet's heads go with an input of f32 in RGB order, `layout = \"nchw\"`".into())?;
        for (name, channels) in MOVENET {
            let port = port(&model.outputs, name)?;
            let fits = port.ty == TensorType::F32 && port.dims.len() == 4 && [0, channels].contains(&port.dims[1]);
            ensure(fits, || format!("the output `{name}` is not f32 [n, {channels}, height, width]"))?;
        }
        Ok(())
    }
}

/// The picture's input.
struct Picture {
    ty: TensorType,
    /// How many pictures a run has; 0 for any number.
    n: usize,
}

impl InputSize {
    /// `dims` are the input's height and width as the catalog states them, 0 where free.
    fn check(self, dims: [usize; 2]) -> Check {
        let side = |value: u32| (1..=MAX_TARGET).contains(&value);
        match self {
            Self::Fixed { width, height } => {
                ensure(side(width) && side(height), || format!("its size is {width}x{height}, not 1 to {MAX_TARGET} along each side"))?;
                let fits = dims.iter().zip([height, width]).all(|(stated, side)| *stated == 0 || *stated == side as usize);
                ensure(fits, || format!("its size is {width}x{height}, but its input's height and width are {dims:?}"))
            }
            Self::Flexible { multiple, long_side } => {
                let whole = side(multiple) && side(long_side) && long_side % multiple == 0;
                ensure(whole, || format!("`long_side` is {long_side}, not a multiple of `multiple` ({multiple}) up to {MAX_TARGET}"))?;
                ensure(dims == [0, 0], || format!("its size is flexible, but its input's height and width are {dims:?}; write `fixed`"))
            }
        }
    }
}

/// Some columns of an output, with what they are for.
struct Used<'a> {
    key: &'static str,
    columns: &'a Columns,
    port: &'a PortEntry,
    /// How many columns; all from the first on where none.
    width: Option<u32>,
}

impl BoxHeads {
    fn check(&self, outputs: &[PortEntry], picture: &Picture, size: InputSize) -> Check {
        let used = self.used(outputs)?;
        let rank = used[0].port.dims.len();
        ensure((2..=4).contains(&rank), || {
            format!("the output `{}` has the dimensions {:?}, not [n, candidates, columns]", used[0].port.name, used[0].port.dims)
        })?;
        ensure(rank == 2 || self.frames.is_some() || used[0].port.dims[..rank - 3].iter().all(|d| [0, 1].contains(d)), || {
            format!("the output `{}` has the dimensions {:?}, of which the first must be 1", used[0].port.name, used[0].port.dims)
        })?;
        ensure(rank > 2 || self.frames.is_some() || picture.n <= 1, || {
            format!("a run has {} pictures, but the boxes {:?} do not say of which they are", picture.n, used[0].port.dims)
        })?;
        for part in &used {
            part.check(rank)?;
        }
        for (i, one) in used.iter().enumerate() {
            for other in &used[..i] {
                together(one, other, rank)?;
            }
        }
        self.check_scores(&used, rank)?;
        self.check_count(outputs)?;
        self.check_grids(&used[0], size, rank)
    }

    /// All columns that are used, those of the boxes first.
    fn used<'a>(&'a self, outputs: &'a [PortEntry]) -> Result<Vec<Used<'a>>, String> {
        let width = match self.score_kind {
            ScoreKind::Single => Some(1),
            ScoreKind::PerClass => self.class_count,
        };
        let all = [
            ("boxes", Some(&self.boxes), Some(4), FLOATS),
            ("scores", Some(&self.scores), width, FLOATS),
            ("objectness", self.objectness.as_ref(), Some(1), FLOATS),
            ("classes", self.classes.as_ref(), Some(1), NUMBERS),
            ("frames", self.frames.as_ref(), Some(1), NUMBERS),
        ];
        let given = all.into_iter().filter_map(|(key, columns, width, types)| columns.map(|columns| (key, columns, width, types)));
        let used = given.map(|(key, columns, width, types)| {
            let port = port(outputs, &columns.output)?;
            typed(port, types)?;
            Ok(Used { key, columns, port, width })
        });
        used.collect()
    }

    fn check_scores(&self, used: &[Used<'_>], rank: usize) -> Check {
        let single = self.score_kind == ScoreKind::Single;
        ensure(single || self.classes.is_none(), || {
            "`classes` goes with `score_kind = \"single\"` only: where there is a score a class, `person` says which counts".into()
        })?;
        ensure(!single || self.class_count.is_none(), || "`class_count` goes with `score_kind = \"per_class\"` only: remove it".into())?;
        ensure(!single || self.score_form != ScoreForm::Softmax, || {
            "a softmax is over one score a class: write `score_kind = \"per_class\"`, or `score_form = \"logit\"`".into()
        })?;
        let alone = single && self.classes.is_none();
        ensure(!alone || self.person == 0, || {
            format!(
                "`person` is {}, but without `classes` a single score is a person's: write `person = 0`, or name `classes`",
                self.person
            )
        })?;
        let known = self.class_count.or_else(|| used[1].columns_from_first(rank));
        match known {
            Some(classes) if !single && self.person >= classes => {
                Err(format!("`person` is {}, but there are scores of {classes} classes, counted from 0", self.person))
            }
            _ => Ok(()),
        }
    }

    fn check_count(&self, outputs: &[PortEntry]) -> Check {
        let Some(name) = &self.count else { return Ok(()) };
        ensure(self.frames.is_none(), || {
            "`count` is for outputs with as many rows a picture, `frames` for one list of rows: remove one".into()
        })?;
        let port = port(outputs, name)?;
        typed(port, NUMBERS)?;
        ensure(matches!(port.dims[..], [] | [_] | [_, 0 | 1]), || {
            format!("the output `{name}` has the dimensions {:?}, not one number a picture", port.dims)
        })
    }

    fn check_grids(&self, boxes: &Used<'_>, size: InputSize, rank: usize) -> Check {
        let Some(coarsest) = self.grids.iter().max() else { return Ok(()) };
        let raw = self.format == BoxFormat::Cxcywh && self.units == BoxUnits::Pixels;
        ensure(raw, || "`grids` are for raw boxes with `format = \"cxcywh\"` and `units = \"pixels\"`".into())?;
        let sides = match size {
            InputSize::Fixed { width, height } => [width, height],
            InputSize::Flexible { multiple, long_side } => [multiple, long_side],
        };
        let whole = !self.grids.contains(&0) && sides.iter().all(|side| side % coarsest == 0);
        ensure(whole, || format!("the input's sides {sides:?} are not whole numbers of cells of `grids` {:?}", self.grids))?;
        if let (InputSize::Fixed { width, height }, Some(candidates)) = (size, boxes.candidates(rank)) {
            let cells = self.grids.iter().map(|side| (width / side) as usize * (height / side) as usize).sum::<usize>();
            ensure(cells == candidates, || {
                format!(
                    "`grids` {:?} have {cells} cells in {width}x{height}, but `{}` has {candidates} candidates",
                    self.grids, boxes.port.name
                )
            })?;
        }
        Ok(())
    }
}

impl Used<'_> {
    /// Whether the output has a dimension of columns, given the boxes' number of dimensions.
    fn has_columns(&self, rank: usize) -> bool {
        self.port.dims.len() == rank
    }

    fn check(&self, rank: usize) -> Check {
        let (name, dims) = (&self.port.name, &self.port.dims);
        let alone = dims.len() + 1 == rank;
        ensure(self.has_columns(rank) || alone, || {
            format!("the output `{name}` (`{}`) has {} dimensions where the boxes have {rank}", self.key, dims.len())
        })?;
        ensure(!alone || self.columns.column == 0 && matches!(self.width, Some(1)), || {
            format!("the output `{name}` (`{}`) has the dimensions {dims:?} and so one column, not those asked for", self.key)
        })?;
        let (first, width) = (u64::from(self.columns.column), u64::from(self.width.unwrap_or(1)));
        match self.all_columns(rank) {
            Some(columns) if first + width > columns as u64 => {
                Err(format!("`{}` takes columns {first} to {} of the output `{name}`, which has {columns}", self.key, first + width - 1))
            }
            _ => Ok(()),
        }
    }

    /// Columns of the output, where the catalog states them.
    fn all_columns(&self, rank: usize) -> Option<usize> {
        if !self.has_columns(rank) {
            return Some(1);
        }
        let back = if self.columns.candidates == CandidateAxis::Last { 2 } else { 1 };
        self.port.dims.len().checked_sub(back).map(|i| self.port.dims[i]).filter(|d| *d != 0)
    }

    /// Columns from the first that counts, where the catalog states them.
    fn columns_from_first(&self, rank: usize) -> Option<u32> {
        u32::try_from(self.all_columns(rank)?).ok()?.checked_sub(self.columns.column)
    }

    /// Candidates, where the catalog states them.
    fn candidates(&self, rank: usize) -> Option<usize> {
        let last = self.columns.candidates == CandidateAxis::Last || !self.has_columns(rank);
        let back = if last { 1 } else { 2 };
        self.port.dims.len().checked_sub(back).map(|i| self.port.dims[i]).filter(|d| *d != 0)
    }
}

/// Checks two uses of outputs against each other.
fn together(one: &Used<'_>, other: &Used<'_>, rank: usize) -> Check {
    let (a, b) = (one.key, other.key);
    if one.port.name != other.port.name {
        return match (one.candidates(rank), other.candidates(rank)) {
            (Some(mine), Some(theirs)) if mine != theirs => {
                Err(format!("the output `{}` (`{a}`) has {mine} candidates, but `{}` (`{b}`) {theirs}", one.port.name, other.port.name))
            }
            _ => Ok(()),
        };
    }
    ensure(one.columns.candidates == other.columns.candidates, || {
        format!("`{a}` and `{b}` are of the output `{}`: give both the same `candidates`", one.port.name)
    })?;
    let range = |used: &Used<'_>| {
        let first = u64::from(used.columns.column);
        (first, used.width.map_or(u64::MAX, |width| first + u64::from(width)))
    };
    let ((start, end), (their_start, their_end)) = (range(one), range(other));
    ensure(end <= their_start || their_end <= start, || {
        format!("`{a}` and `{b}` both take column {} of the output `{}`", start.max(their_start), one.port.name)
    })
}

/// Number of pictures, height and width of a tensor in that layout, 0 where free; none where its dimensions are others.
fn sides(layout: PixelLayout, dims: &[usize]) -> Option<[usize; 3]> {
    match (layout, dims) {
        (PixelLayout::Nchw, &[n, 0 | 3, height, width]) | (PixelLayout::Nhwc, &[n, height, width, 0 | 3]) => Some([n, height, width]),
        (PixelLayout::Chw, &[0 | 3, height, width]) | (PixelLayout::Hwc, &[height, width, 0 | 3]) => Some([1, height, width]),
        _ => None,
    }
}

/// The catalog's name of a layout.
const fn name(layout: PixelLayout) -> &'static str {
    match layout {
        PixelLayout::Nchw => "nchw",
        PixelLayout::Nhwc => "nhwc",
        PixelLayout::Chw => "chw",
        PixelLayout::Hwc => "hwc",
    }
}

const fn shape(layout: PixelLayout) -> &'static str {
    match layout {
        PixelLayout::Nchw => "[n, 3, height, width]",
        PixelLayout::Nhwc => "[n, height, width, 3]",
        PixelLayout::Chw => "[3, height, width]",
        PixelLayout::Hwc => "[height, width, 3]",
    }
}

fn typed(port: &PortEntry, types: &[TensorType]) -> Check {
    ensure(types.contains(&port.ty), || {
        let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("the output `{}` is {}, not one of {types}", port.name, port.ty)
    })
}

fn port<'a>(ports: &'a [PortEntry], name: &str) -> Result<&'a PortEntry, String> {
    ports.iter().find(|p| p.name == name).ok_or_else(|| format!("there is no output `{name}`; it has: {}", names(ports)))
}

fn names(ports: &[PortEntry]) -> String {
    ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
}
