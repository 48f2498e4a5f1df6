//! Sheets: patches of one or more frames laid out side by side, to be drawn in one pass and read back together.

use crate::gpu_data::{BodyInstance, BodyVertex, SAMPLE_BYTES};
use crate::patch::{Patch, Rect};

/// A sheet takes patches until it is this wide and high, samples. One larger patch gets a sheet of its own.
const SHEET_SIDE: u32 = 1024;
/// Targets are made in steps of this many samples, so that sheets of nearly the same size share one.
const TARGET_STEP: [u32; 2] = [128, 64];

/// A patch with its place on a sheet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlacedPatch {
    /// Frame within the batch.
    pub(crate) frame: usize,
    /// Which part of the frame, pixels.
    pub(crate) rect: Rect,
    /// The body drawn in each slot, from slot 1.
    pub(crate) bodies: Vec<PlacedBody>,
    /// Top left corner on the sheet, samples.
    pub(crate) at: [u32; 2],
    /// Width and height on the sheet, samples.
    pub(crate) size: [u32; 2],
    /// The first of its bodies among the sheet's.
    pub(crate) first_body: u32,
    /// Where it is in the read-back buffer, bytes.
    pub(crate) offset: u64,
    /// Bytes from row to row in the read-back buffer.
    pub(crate) stride: u32,
}

/// A body of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedBody {
    /// Whose it is.
    pub(crate) placement: usize,
    /// Whether its inside cannot be seen, so that half of its faces need not be drawn.
    pub(crate) solid: bool,
}

/// What is drawn in one pass.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) patches: Vec<PlacedPatch>,
    /// Vertices of all bodies, one body after another.
    pub(crate) vertices: Vec<BodyVertex>,
    /// One for each body.
    pub(crate) bodies: Vec<BodyInstance>,
    /// Bytes of the read-back buffer.
    pub(crate) read_bytes: u64,
    /// Samples used so far.
    used: [u32; 2],
    /// The next free place and the height of the row of patches it is in.
    cursor: [u32; 2],
    row_height: u32,
}

impl Sheet {
    /// Whether there is room for the patch. `supersample` is the number of samples along a pixel's side. An empty sheet takes any.
    pub(crate) fn fits(&self, patch: &Patch, supersample: u32) -> bool {
        let size = patch_size(patch, supersample);
        let (at, _) = self.next_place(size);
        self.patches.is_empty() || (at[0] + size[0] <= SHEET_SIDE && at[1] + size[1] <= SHEET_SIDE)
    }

    /// Takes the patch and returns its index among the patches; its bodies are still to be added.
    pub(crate) fn place(&mut self, frame: usize, patch: &Patch, supersample: u32) -> usize {
        let size = patch_size(patch, supersample);
        let (at, row_height) = self.next_place(size);
        self.cursor = [at[0] + size[0], at[1]];
        self.row_height = row_height.max(size[1]);
        self.used = [self.used[0].max(at[0] + size[0]), self.used[1].max(at[1] + size[1])];

        let stride = (size[0] * SAMPLE_BYTES as u32).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        self.patches.push(PlacedPatch {
            frame,
            rect: patch.rect,
            bodies: Vec::with_capacity(patch.bodies.len()),
            at,
            size,
            first_body: self.bodies.len() as u32,
            offset: self.read_bytes,
            stride,
        });
        self.read_bytes += u64::from(stride) * u64::from(size[1]);
        self.patches.len() - 1
    }

    /// Where a patch of `size` samples would stand, and the height of the row it would join.
    fn next_place(&self, size: [u32; 2]) -> ([u32; 2], u32) {
        if self.cursor[0] > 0 && self.cursor[0] + size[0] > SHEET_SIDE {
            ([0, self.cursor[1] + self.row_height], 0)
        } else {
            (self.cursor, self.row_height)
        }
    }

    /// Width and height of the target it needs, samples, at most `max_side` each.
    pub(crate) fn target_size(&self, max_side: u32) -> [u32; 2] {
        [0, 1].map(|k| self.used[k].next_multiple_of(TARGET_STEP[k]).min(max_side))
    }

    /// Makes it empty, keeping its memory.
    pub(crate) fn clear(&mut self) {
        let Self { patches, vertices, bodies, read_bytes, used, cursor, row_height } = self;
        patches.clear();
        vertices.clear();
        bodies.clear();
        (*read_bytes, *used, *cursor, *row_height) = (0, [0; 2], [0; 2], 0);
    }
}

fn patch_size(patch: &Patch, supersample: u32) -> [u32; 2] {
    [patch.rect.width * supersample, patch.rect.height * supersample]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(width: u32, height: u32) -> Patch {
        Patch { rect: Rect { x: 2, y: 4, width, height }, bodies: vec![0] }
    }

    #[test]
    fn patches_stand_side_by_side_and_then_in_a_new_row() {
        let mut sheet = Sheet::default();
        for (frame, p) in [patch(400, 300), patch(400, 500), patch(400, 500)].iter().enumerate() {
            assert!(sheet.fits(p, 1));
            assert_eq!(sheet.place(frame, p, 1), frame);
        }
        assert_eq!(sheet.patches.iter().map(|p| p.at).collect::<Vec<_>>(), [[0, 0], [400, 0], [0, 500]]);
        assert_eq!(sheet.target_size(8192), [896, 1024]);
        assert!(sheet.fits(&patch(600, 500), 1));
        assert!(!sheet.fits(&patch(400, 530), 1), "too high for what is left");
        assert!(!sheet.fits(&patch(630, 30), 1), "too wide for this row, and there is no room for another");
        assert_eq!((sheet.patches[1].offset, sheet.patches[1].stride), (1024 * 300, 1024));
        assert_eq!(sheet.read_bytes, 1024 * 1300);
    }

    #[test]
    fn a_patch_larger_than_a_sheet_has_one_of_its_own() {
        let mut sheet = Sheet::default();
        assert!(sheet.fits(&patch(1768, 994), 2));
        assert_eq!(sheet.place(0, &patch(1768, 994), 2), 0);
        assert_eq!(sheet.target_size(8192), [3584, 1988_u32.next_multiple_of(64)]);
        assert_eq!(sheet.target_size(3540), [3540, 1988_u32.next_multiple_of(64)]);
        assert!(!sheet.fits(&patch(2, 2), 2));
        sheet.clear();
        assert_eq!(sheet.place(1, &patch(2, 2), 2), 0);
        assert_eq!((sheet.patches[0].at, sheet.patches[0].offset), ([0, 0], 0));
    }
}
