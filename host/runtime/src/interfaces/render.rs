//! `halfpipe:scene/meshes` and `halfpipe:scene/render`: bodies and their drawing.

use std::sync::Arc;

use halfpipe_core as core;
use wasmtime::component::Resource;

use crate::bindings::halfpipe::media::frames::Size;
use crate::bindings::halfpipe::scene::meshes::{self, HostMeshBatch, Vec3};
use crate::bindings::halfpipe::scene::render::{self, Drawing, HostCoverage, HostRenderer, Layout, Look, Pinhole, Placement, Shading};
use crate::error::HostError;
use crate::resources::{CoverageHandle, FramesHandle, MeshHandle, RendererHandle, TensorHandle};
use crate::state::{DrawnBatch, JobState};

const fn array(v: Vec3) -> [f32; 3] {
    [v.x, v.y, v.z]
}

impl meshes::Host for JobState {}

impl HostMeshBatch for JobState {
    async fn from_vertices(&mut self, vertices: Resource<TensorHandle>, body: String) -> Result<Resource<MeshHandle>, HostError> {
        self.touch();
        let vertices = self.table.delete(vertices)?.value;
        let topology = self.rig(&body)?.topology();
        Ok(self.table.push(MeshHandle { vertices, topology })?)
    }

    async fn len(&mut self, this: Resource<MeshHandle>) -> wasmtime::Result<u32> {
        self.touch();
        let vertices = self.table.get(&this)?.vertices.wait();
        Ok(vertices.await.map_err(wasmtime::Error::from)?.tensor.dims().first().map_or(0, |n| *n as u32))
    }

    async fn drop(&mut self, this: Resource<MeshHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl render::Host for JobState {}

impl HostRenderer for JobState {
    async fn open(&mut self, size: Size, look: Look) -> Result<Resource<RendererHandle>, HostError> {
        self.touch();
        let look = core::Look {
            layout: match look.layout {
                Layout::Overlay => core::Layout::Overlay,
                Layout::MeshOnly => core::Layout::MeshOnly,
                Layout::SideBySide => core::Layout::SideBySide,
            },
            shading: match look.shading {
                Shading::Soft => core::Shading::Soft,
                Shading::Raymond => core::Shading::Raymond,
            },
            opacity: look.opacity,
            supersample: look.supersample,
        };
        let renderer = self.shared()?.draw.renderer(core::Size::new(size.width, size.height), look)?.with_clock(self.stages.clone());
        Ok(self.table.push(RendererHandle { renderer: Arc::new(renderer) })?)
    }

    async fn output_size(&mut self, this: Resource<RendererHandle>) -> wasmtime::Result<Size> {
        self.touch();
        let size = self.table.get(&this)?.renderer.output_size();
        Ok(Size { width: size.width, height: size.height })
    }

    async fn draw(
        &mut self,
        this: Resource<RendererHandle>,
        frames: Resource<FramesHandle>,
        bodies: Option<Resource<MeshHandle>>,
        placements: Vec<Placement>,
        camera: Pinhole,
    ) -> Result<Drawing, HostError> {
        self.touch();
        let frames = self.table.delete(frames)?;
        let bodies = bodies.map(|b| self.table.delete(b)).transpose()?.map(|b| b.batch(placements.len()));
        let placements: Vec<core::Placement> = placements
            .iter()
            .map(|p| core::Placement {
                frame: p.frame,
                rotation: [array(p.rotation.row0), array(p.rotation.row1), array(p.rotation.row2)],
                translation: array(p.translation),
                colour: core::Rgb(p.colour.r, p.colour.g, p.colour.b),
            })
            .collect();
        let in_frames: Vec<u32> = placements.iter().map(|p| p.frame).collect();
        let first_index = frames.batch.first_index;
        let camera = core::Pinhole { focal: camera.focal, center: [camera.center_x, camera.center_y] };
        let renderer = Arc::clone(&self.table.get(&this)?.renderer);
        let drawing = renderer.draw(frames.batch, bodies, placements, camera).await?;
        self.pace(&drawing.frames.pictures).await;
        if !in_frames.is_empty() {
            self.drawn.push(DrawnBatch { first_index, frames: in_frames, pixels: drawing.coverage.clone() });
        }
        let lease = Arc::new(self.budget.try_take(drawing.frames.bytes())?);
        let frames = self.table.push(FramesHandle { batch: drawing.frames, lease })?;
        let coverage = self.table.push(CoverageHandle { pixels: drawing.coverage })?;
        Ok(Drawing { frames, coverage })
    }

    async fn drop(&mut self, this: Resource<RendererHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostCoverage for JobState {
    async fn pixels(&mut self, this: Resource<CoverageHandle>) -> Result<Vec<u32>, HostError> {
        self.touch();
        let pixels = self.table.get(&this)?.pixels.wait();
        Ok(pixels.await?.to_vec())
    }

    async fn drop(&mut self, this: Resource<CoverageHandle>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
