//! Which rectangles of a frame are drawn: bounds of bodies, rounded to whole chroma samples, and bodies that share a rectangle.

use glam::Vec2;
use halfpipe_core::{Pinhole, Size};

/// A rectangle of a frame. The corner is even, and so are the sides except where the frame itself ends at an odd one, so that no
/// chroma sample belongs to two rectangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Rect {
    /// The rectangle around screen bounds (pixels) and one pixel more on each side, for soft silhouettes; `None` where it is
    /// outside of the frame.
    pub(crate) fn around(low: Vec2, high: Vec2, frame: Size) -> Option<Self> {
        let ends = |low: f32, high: f32, side: u32| {
            let low = (low - 1.0).floor().clamp(0.0, side as f32) as u32;
            let high = (high + 1.0).ceil().clamp(0.0, side as f32) as u32;
            (low < high).then(|| (low & !1, (high.next_multiple_of(2)).min(side)))
        };
        let (left, right) = ends(low.x, high.x, frame.width)?;
        let (top, bottom) = ends(low.y, high.y, frame.height)?;
        Some(Self { x: left, y: top, width: right - left, height: bottom - top })
    }

    fn right(self) -> u32 {
        self.x + self.width
    }

    fn bottom(self) -> u32 {
        self.y + self.height
    }

    fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    fn meets(self, other: Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    fn union(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Self { x, y, width: self.right().max(other.right()) - x, height: self.bottom().max(other.bottom()) - y }
    }

    /// The projection onto this rectangle alone: `(sx, ox, sy, oy)` of [`crate::gpu_data::BodyInstance`].
    pub(crate) fn clip_from_camera(self, camera: &Pinhole) -> [f32; 4] {
        // pixels from the start of a side map to -1..=1
        let axis = |start: u32, side: u32, center: f32| {
            let clip_per_pixel = 2.0 / side as f32;
            (camera.focal * clip_per_pixel, (center - start as f32) * clip_per_pixel - 1.0)
        };
        let (sx, ox) = axis(self.x, self.width, camera.center[0]);
        let (sy, oy) = axis(self.y, self.height, camera.center[1]);
        [sx, ox, sy, oy]
    }
}

/// Bodies of one frame that are drawn together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) rect: Rect,
    /// Indices into the list that [`group`] was given. A body's slot is its position here plus one.
    pub(crate) bodies: Vec<usize>,
}

/// Groups the bodies of a frame, each with its rectangle: rectangles that meet become one, so that depth is decided between all
/// bodies that may hide each other; the rest stay apart, so that nothing is drawn between bodies far from each other.
pub(crate) fn group(rects: &[Option<Rect>]) -> Vec<Patch> {
    let mut patches: Vec<Patch> = Vec::new();
    for (body, rect) in rects.iter().enumerate() {
        let Some(rect) = *rect else { continue };
        let mut patch = Patch { rect, bodies: vec![body] };
        // a patch that has grown may meet others that its parts did not
        while let Some(i) = patches.iter().position(|other| other.rect.meets(patch.rect)) {
            let other = patches.swap_remove(i);
            patch.rect = patch.rect.union(other.rect);
            patch.bodies.extend(other.bodies);
        }
        patches.push(patch);
    }
    for patch in &mut patches {
        patch.bodies.sort_unstable();
    }
    // large first, so that a sheet's shelves fill well
    patches.sort_by_key(|p| std::cmp::Reverse(p.rect.area()));
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn rectangles_are_even_except_at_an_odd_frames_end() {
        let frame = Size::new(101, 51);
        assert_eq!(Rect::around(Vec2::new(10.5, 7.5), Vec2::new(20.5, 9.2), frame), Some(rect(8, 6, 14, 6)));
        assert_eq!(Rect::around(Vec2::new(-1e30, -4.0), Vec2::new(1e30, 99.0), frame), Some(rect(0, 0, 101, 51)));
        assert_eq!(Rect::around(Vec2::new(102.5, 0.0), Vec2::new(130.0, 9.0), frame), None);
        assert_eq!(Rect::around(Vec2::new(-30.0, 0.0), Vec2::new(-1.5, 9.0), frame), None);
        assert_eq!(Rect::around(Vec2::new(1.0, f32::NEG_INFINITY), Vec2::new(1.0, f32::INFINITY), frame), Some(rect(0, 0, 2, 51)));
    }

    #[test]
    fn bodies_that_may_hide_each_other_share_a_patch() {
        let rects = [Some(rect(0, 0, 10, 10)), Some(rect(40, 0, 10, 20)), None, Some(rect(8, 8, 10, 10)), Some(rect(18, 0, 22, 2))];
        // the last one meets none: it only touches its neighbours
        let patches = group(&rects);
        let found: Vec<_> = patches.iter().map(|p| (p.rect, p.bodies.clone())).collect();
        assert_eq!(found, [(rect(0, 0, 18, 18), vec![0, 3]), (rect(40, 0, 10, 20), vec![1]), (rect(18, 0, 22, 2), vec![4])]);
    }

    #[test]
    fn a_grown_patch_swallows_what_it_reaches() {
        let rects = [Some(rect(0, 0, 10, 10)), Some(rect(14, 0, 2, 2)), Some(rect(8, 0, 12, 10))];
        let patches = group(&rects);
        assert_eq!(patches, [Patch { rect: rect(0, 0, 20, 10), bodies: vec![0, 1, 2] }]);
    }

    #[test]
    fn the_projection_maps_the_rectangle_to_the_clip_square() {
        let camera = Pinhole { focal: 300.0, center: [33.0, 21.0] };
        let r = rect(10, 20, 40, 30);
        let [sx, ox, sy, oy] = r.clip_from_camera(&camera);
        // the point that the pinhole projects to (50, 20), the rectangle's top right corner
        let z = 3.0;
        let (x, y) = ((50.0 - 33.0) * z / 300.0, (20.0 - 21.0) * z / 300.0);
        let clip = [(sx * x + ox * z) / z, -(sy * y + oy * z) / z];
        assert!((clip[0] - 1.0).abs() < 1e-5 && (clip[1] - 1.0).abs() < 1e-5, "{clip:?}");
    }
}
