//! The pictures that go out: copied from the frames only where something is drawn, and put together as the layout wants.

use std::sync::Arc;

use halfpipe_core::{Colour, Layout, Picture, Size};

/// The background of [`Layout::MeshOnly`]: a neutral grey.
const BACKGROUND_GREY: f32 = 128.0;

/// One batch's pictures while bodies are drawn into them.
pub(crate) struct Canvas {
    layout: Layout,
    /// The frames as they came in, or the plain background.
    sources: Vec<Arc<Picture>>,
    /// Those that something was drawn into.
    drawn: Vec<Option<Picture>>,
}

impl Canvas {
    pub(crate) fn new(layout: Layout, pictures: Vec<Arc<Picture>>, size: Size, colour: Colour) -> Self {
        let drawn = pictures.iter().map(|_| None).collect();
        let sources = if layout == Layout::MeshOnly {
            let background = Arc::new(Picture::filled(size, colour.from_rgb([BACKGROUND_GREY; 3]).map(|v| v.round() as u8)));
            vec![background; pictures.len()]
        } else {
            pictures
        };
        Self { layout, sources, drawn }
    }

    /// The picture to draw frame `i` into.
    pub(crate) fn frame_mut(&mut self, i: usize) -> &mut Picture {
        let (source, layout) = (&mut self.sources[i], self.layout);
        self.drawn[i].get_or_insert_with(|| {
            if layout == Layout::Overlay {
                // a frame that nobody else holds is drawn into in place; what is left behind is never looked at again
                let nothing = Arc::new(Picture::filled(Size::new(0, 0), [0; 3]));
                Arc::unwrap_or_clone(std::mem::replace(source, nothing))
            } else {
                Picture::clone(source)
            }
        })
    }

    /// The pictures that go out. Frames of an overlay without bodies are the very same as came in.
    pub(crate) fn finish(self) -> Vec<Arc<Picture>> {
        let layout = self.layout;
        let finish = |(source, drawn): (Arc<Picture>, Option<Picture>)| match (layout, drawn) {
            (Layout::SideBySide, Some(drawn)) => Arc::new(side_by_side(&source, &drawn)),
            (Layout::SideBySide, None) => Arc::new(side_by_side(&source, &source)),
            (_, Some(drawn)) => Arc::new(drawn),
            (_, None) => source,
        };
        self.sources.into_iter().zip(self.drawn).map(finish).collect()
    }
}

/// Two pictures of one size, side by side.
///
/// At an odd width the right picture starts in the middle of a chroma sample, so each of its chroma samples, and the one at the
/// seam, is the mean of the two that it covers half of each.
fn side_by_side(left: &Picture, right: &Picture) -> Picture {
    let size = left.size();
    let (width, chroma_width) = (size.width as usize, size.chroma().width as usize);
    let mut out = Picture::filled(Size::new(size.width * 2, size.height), [0; 3]);
    let [luma, out_cb, out_cr] = out.planes_mut();
    let ([left_y, left_cb, left_cr], [right_y, right_cb, right_cr]) = (left.planes(), right.planes());

    for (row, (l, r)) in luma.chunks_exact_mut(2 * width).zip(left_y.chunks_exact(width).zip(right_y.chunks_exact(width))) {
        row[..width].copy_from_slice(l);
        row[width..].copy_from_slice(r);
    }
    for (out, left, right) in [(out_cb, left_cb, right_cb), (out_cr, left_cr, right_cr)] {
        let rows = left.chunks_exact(chroma_width).zip(right.chunks_exact(chroma_width));
        // the doubled width is even: as many chroma samples a row as a frame has luma samples
        for (row, (l, r)) in out.chunks_exact_mut(width).zip(rows) {
            let (start, end) = row.split_at_mut(width / 2);
            start.copy_from_slice(&l[..width / 2]);
            if width.is_multiple_of(2) {
                end.copy_from_slice(r);
            } else {
                end[0] = l[chroma_width - 1].midpoint(r[0]);
                for (sample, pair) in end[1..].iter_mut().zip(r.array_windows::<2>()) {
                    *sample = pair[0].midpoint(pair[1]);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfpipe_core::{Matrix, Range};

    const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Full };

    fn picture(size: Size, start: u8) -> Picture {
        Picture::from_data(size, (0..size.picture_bytes()).map(|i| start + i as u8).collect()).unwrap()
    }

    #[test]
    fn untouched_frames_are_the_same_allocation() {
        let size = Size::new(4, 2);
        let pictures = vec![Arc::new(picture(size, 0)), Arc::new(picture(size, 50))];
        let mut canvas = Canvas::new(Layout::Overlay, pictures.clone(), size, COLOUR);
        canvas.frame_mut(1).planes_mut()[0][0] = 255;
        let out = canvas.finish();
        assert!(Arc::ptr_eq(&out[0], &pictures[0]));
        assert_eq!(pictures[1].planes()[0][0], 50, "a frame that others hold is copied first");
        assert_eq!((out[1].planes()[0][0], out[1].planes()[0][1]), (255, 51));
    }

    #[test]
    fn an_even_pair_is_copied() {
        let size = Size::new(2, 2);
        let out = side_by_side(&picture(size, 0), &picture(size, 100));
        assert_eq!(out.planes()[0], [0, 1, 100, 101, 2, 3, 102, 103]);
        assert_eq!((out.planes()[1], out.planes()[2]), (&[4, 104][..], &[5, 105][..]));
    }

    #[test]
    fn an_odd_pair_shares_the_chroma_at_its_seam() {
        let size = Size::new(3, 1);
        let left = Picture::from_data(size, vec![1, 2, 3, 10, 20, 0, 0]).unwrap();
        let right = Picture::from_data(size, vec![4, 5, 6, 40, 60, 8, 8]).unwrap();
        let out = side_by_side(&left, &right);
        assert_eq!(out.size(), Size::new(6, 1));
        assert_eq!(out.planes()[0], [1, 2, 3, 4, 5, 6]);
        assert_eq!(out.planes()[1], [10, 30, 50]);
        assert_eq!(out.planes()[2], [0, 4, 8]);
    }

    #[test]
    fn mesh_only_starts_from_plain_grey() {
        let size = Size::new(2, 2);
        let frame = Arc::new(picture(size, 7));
        let out = Canvas::new(Layout::MeshOnly, vec![Arc::clone(&frame), frame], size, COLOUR).finish();
        assert_eq!(*out[0], Picture::filled(size, [128; 3]));
        assert!(Arc::ptr_eq(&out[0], &out[1]));
    }
}
