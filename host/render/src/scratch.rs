//! What a renderer keeps on the device and on the CPU from batch to batch: targets, buffers, scratch space. Freed with the renderer.

use glam::Vec3A;

use crate::blend::Blender;
use crate::device::Gpu;
use crate::gpu_data::{DEPTH_FORMAT, SAMPLE_FORMAT};
use crate::readback::ReadbackBelt;
use crate::sheet::Sheet;

/// Targets kept at once; bodies seldom change their size so fast that more are of use.
const TARGETS_KEPT: usize = 3;

/// A render target of tone and slot with its depth buffer.
#[derive(Debug)]
pub(crate) struct Target {
    size: [u32; 2],
    pub(crate) samples: wgpu::Texture,
    pub(crate) samples_view: wgpu::TextureView,
    pub(crate) depth_view: wgpu::TextureView,
}

impl Target {
    fn new(gpu: &Gpu, size: [u32; 2]) -> Self {
        let texture = |label, format, usage| {
            gpu.device.create_texture(&wgpu::TextureDescriptor {
                label: Some(label),
                size: wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage,
                view_formats: &[],
            })
        };
        let samples = texture("tone and slot", SAMPLE_FORMAT, wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC);
        let depth = texture("depth", DEPTH_FORMAT, wgpu::TextureUsages::RENDER_ATTACHMENT);
        Self { size, samples_view: samples.create_view(&Default::default()), depth_view: depth.create_view(&Default::default()), samples }
    }
}

/// Targets of recent sizes, the last used at the end. The device works in order, so one may be used again before it is read back.
#[derive(Debug, Default)]
pub(crate) struct Targets(Vec<Target>);

impl Targets {
    /// A target of exactly this size, samples.
    pub(crate) fn of_size(&mut self, gpu: &Gpu, size: [u32; 2]) -> &Target {
        let target = match self.0.iter().position(|t| t.size == size) {
            Some(i) => self.0.remove(i),
            None => {
                if self.0.len() == TARGETS_KEPT {
                    self.0.remove(0);
                }
                Target::new(gpu, size)
            }
        };
        self.0.push_mut(target)
    }
}

/// A vertex buffer that grows.
#[derive(Debug, Default)]
pub(crate) struct UploadBuffer(Option<wgpu::Buffer>);

impl UploadBuffer {
    /// Writes `data` to its start, for what is submitted next.
    pub(crate) fn write<T: bytemuck::Pod>(&mut self, gpu: &Gpu, label: &str, data: &[T]) -> &wgpu::Buffer {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let fitting = self.0.take().filter(|b| b.size() >= bytes.len() as u64);
        let buffer = self.0.insert(fitting.unwrap_or_else(|| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: (bytes.len() as u64).next_power_of_two(),
                usage: wgpu::BufferUsages::VERTEX | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        }));
        gpu.queue.write_buffer(buffer, 0, bytes);
        buffer
    }
}

/// Everything a renderer keeps.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) targets: Targets,
    pub(crate) vertices: UploadBuffer,
    pub(crate) bodies: UploadBuffer,
    pub(crate) readback: ReadbackBelt,
    pub(crate) sheet: Sheet,
    pub(crate) blender: Blender,
    /// Points of the bodies of one frame, camera axes.
    pub(crate) points: Vec<Vec<Vec3A>>,
    /// Vertex normals while they are summed up.
    pub(crate) normals: Vec<Vec3A>,
}
