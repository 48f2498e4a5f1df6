//! How bodies are drawn: what options of guests have in common.

use serde::{Deserialize, Serialize};

use crate::host::halfpipe::scene::render::{Layout as WitLayout, Look, Rgb, Shading};

/// Colours of the second and further people.
const FURTHER_COLOURS: [[u8; 3]; 5] = [[219, 179, 158], [179, 219, 168], [217, 166, 217], [217, 209, 153], [153, 209, 217]];

/// What the video shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Bodies over the frame.
    Overlay,
    /// Bodies on a plain background.
    MeshOnly,
    /// Frame left, overlay right.
    SideBySide,
}

/// How the bodies of a job look, and which body they are.
#[derive(Debug, Clone)]
pub struct Style {
    /// Catalog name of the body.
    pub body: String,
    /// What the video shows.
    pub layout: Layout,
    /// How bodies are lit.
    pub shading: Shading,
    /// 0 to 1.
    pub opacity: f32,
    /// Samples along each axis of a pixel; 0 by adapter.
    pub supersample: u8,
    /// sRGB colour of the first person's body; the others' differ unless `one_colour`.
    pub colour: [u8; 3],
    /// All bodies in one colour.
    pub one_colour: bool,
}

impl Style {
    /// What the renderer is told.
    #[must_use]
    pub fn look(&self) -> Look {
        let layout = match self.layout {
            Layout::Overlay => WitLayout::Overlay,
            Layout::MeshOnly => WitLayout::MeshOnly,
            Layout::SideBySide => WitLayout::SideBySide,
        };
        Look { layout, shading: self.shading, opacity: self.opacity, supersample: self.supersample }
    }

    /// Colour of a track's body.
    #[must_use]
    pub fn colour_of(&self, track: u32) -> Rgb {
        let further = (track as usize).saturating_sub(1) % (FURTHER_COLOURS.len() + 1);
        let [r, g, b] = if self.one_colour || further == 0 { self.colour } else { FURTHER_COLOURS[further - 1] };
        Rgb { r, g, b }
    }
}
