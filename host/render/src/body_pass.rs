//! The body pass: draws a sheet's bodies into a target of tone and slot, and copies the patches out.

use halfpipe_core::Shading;

use crate::device::Gpu;
use crate::gpu_data::{BodyInstance, BodyVertex, DEPTH_FORMAT, INSTANCE_ATTRIBUTES, NEAR_PLANE_METRES, SAMPLE_FORMAT, VERTEX_ATTRIBUTES};
use crate::scratch::Target;
use crate::sheet::Sheet;
use crate::topology::Faces;

pub(crate) const SHADER: &str = include_str!("shader/body.wgsl");

/// The pipelines that all renderers of a lane share.
#[derive(Debug)]
pub(crate) struct BodyPass {
    soft: Pipelines,
    raymond: Pipelines,
}

/// The pipelines of one shading.
#[derive(Debug)]
struct Pipelines {
    /// Draws the faces that are seen from outside.
    outsides: wgpu::RenderPipeline,
    /// Draws every face.
    both_sides: wgpu::RenderPipeline,
}

/// What a sheet is drawn from and to.
pub(crate) struct SheetResources<'a> {
    pub(crate) shading: Shading,
    pub(crate) target: &'a Target,
    /// The sheet's vertices.
    pub(crate) vertices: &'a wgpu::Buffer,
    /// The sheet's bodies.
    pub(crate) bodies: &'a wgpu::Buffer,
    pub(crate) faces: &'a Faces,
    /// Vertices of one body.
    pub(crate) vertices_per_body: u32,
    pub(crate) readback: &'a wgpu::Buffer,
}

impl BodyPass {
    pub(crate) fn new(gpu: &Gpu) -> Self {
        let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("body.wgsl"),
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor { label: Some("body"), ..Default::default() });
        let buffers = [
            Some(wgpu::VertexBufferLayout {
                array_stride: size_of::<BodyVertex>() as u64,
                step_mode: wgpu::VertexStepMode::Vertex,
                attributes: &VERTEX_ATTRIBUTES,
            }),
            Some(wgpu::VertexBufferLayout {
                array_stride: size_of::<BodyInstance>() as u64,
                step_mode: wgpu::VertexStepMode::Instance,
                attributes: &INSTANCE_ATTRIBUTES,
            }),
        ];
        let pipeline = |vertex_stage, cull_mode| {
            gpu.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
                label: Some("body"),
                layout: Some(&layout),
                vertex: wgpu::VertexState {
                    module: &module,
                    entry_point: Some(vertex_stage),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &[("near_plane", f64::from(NEAR_PLANE_METRES))],
                        ..Default::default()
                    },
                    buffers: &buffers,
                },
                primitive: wgpu::PrimitiveState { cull_mode, ..Default::default() },
                depth_stencil: Some(wgpu::DepthStencilState {
                    format: DEPTH_FORMAT,
                    depth_write_enabled: Some(true),
                    depth_compare: Some(wgpu::CompareFunction::Greater),
                    stencil: wgpu::StencilState::default(),
                    bias: wgpu::DepthBiasState::default(),
                }),
                multisample: wgpu::MultisampleState::default(),
                fragment: Some(wgpu::FragmentState {
                    module: &module,
                    entry_point: Some("fragment_main"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    targets: &[Some(SAMPLE_FORMAT.into())],
                }),
                multiview_mask: None,
                cache: None,
            })
        };
        let pipelines =
            |vertex_stage| Pipelines { outsides: pipeline(vertex_stage, Some(wgpu::Face::Back)), both_sides: pipeline(vertex_stage, None) };
        Self { soft: pipelines("vertex_soft"), raymond: pipelines("vertex_raymond") }
    }

    /// Records the drawing of `sheet` and the copying of its patches.
    pub(crate) fn record(&self, gpu: &Gpu, sheet: &Sheet, with: &SheetResources<'_>) -> wgpu::CommandBuffer {
        let Pipelines { outsides, both_sides } = match with.shading {
            Shading::Soft => &self.soft,
            Shading::Raymond => &self.raymond,
        };
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("sheet") });
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("bodies"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &with.target.samples_view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::TRANSPARENT), store: wgpu::StoreOp::Store },
                })],
                depth_stencil_attachment: Some(wgpu::RenderPassDepthStencilAttachment {
                    view: &with.target.depth_view,
                    depth_ops: Some(wgpu::Operations { load: wgpu::LoadOp::Clear(0.0), store: wgpu::StoreOp::Discard }),
                    stencil_ops: None,
                }),
                ..Default::default()
            });
            pass.set_vertex_buffer(0, with.vertices.slice(..));
            pass.set_vertex_buffer(1, with.bodies.slice(..));
            pass.set_index_buffer(with.faces.indices.slice(..), wgpu::IndexFormat::Uint32);
            for patch in &sheet.patches {
                let [x, y] = patch.at;
                let [width, height] = patch.size;
                pass.set_viewport(x as f32, y as f32, width as f32, height as f32, 0.0, 1.0);
                pass.set_scissor_rect(x, y, width, height);
                // bodies do not share their vertices, so each is a draw of its own with one instance
                for (body, drawn) in (patch.first_body..).zip(&patch.bodies) {
                    pass.set_pipeline(if drawn.solid { outsides } else { both_sides });
                    let base_vertex = (body * with.vertices_per_body) as i32;
                    pass.draw_indexed(0..with.faces.index_count, base_vertex, body..body + 1);
                }
            }
        }
        for patch in &sheet.patches {
            let [x, y] = patch.at;
            let [width, height] = patch.size;
            encoder.copy_texture_to_buffer(
                wgpu::TexelCopyTextureInfo {
                    texture: &with.target.samples,
                    mip_level: 0,
                    origin: wgpu::Origin3d { x, y, z: 0 },
                    aspect: wgpu::TextureAspect::All,
                },
                wgpu::TexelCopyBufferInfo {
                    buffer: with.readback,
                    layout: wgpu::TexelCopyBufferLayout { offset: patch.offset, bytes_per_row: Some(patch.stride), rows_per_image: None },
                },
                wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            );
        }
        encoder.finish()
    }
}
