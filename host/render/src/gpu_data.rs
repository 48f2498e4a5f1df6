//! The structs that cross to the GPU. Keep in sync with `shader/body.wgsl`; a test below compares the two.

use bytemuck::{Pod, Zeroable};

/// One vertex of a placed body (`VertexIn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct BodyVertex {
    /// Metres, camera axes (x right, y down, z forward).
    pub(crate) point_in_camera: [f32; 3],
    /// Unit normal in camera axes as signed normalised 16-bit numbers; the fourth pads to a vertex format that exists.
    pub(crate) normal_in_camera: [i16; 4],
}

/// One body of a patch (`BodyIn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct BodyInstance {
    /// `(sx, ox, sy, oy)`: `clip.xy = (sx * x + ox * z, -(sy * y + oy * z))` and `clip.w = z`.
    pub(crate) clip_from_camera: [f32; 4],
    /// The body's slot in its patch, 1..=255, divided by 255.
    pub(crate) slot: f32,
}

/// Bytes of one sample of the target: tone and slot.
pub(crate) const SAMPLE_BYTES: usize = 2;
/// The target's format: tone in the first channel, slot in the second.
pub(crate) const SAMPLE_FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rg8Unorm;
/// The depth buffer's format; depth is `near / z`, 1 at the near plane and 0 at infinity.
pub(crate) const DEPTH_FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Depth32Float;
/// Nothing nearer than this is drawn, metres. The shader's `near_plane`.
pub(crate) const NEAR_PLANE_METRES: f32 = 0.05;

/// Where the fields of [`BodyVertex`] go.
pub(crate) const VERTEX_ATTRIBUTES: [wgpu::VertexAttribute; 2] = wgpu::vertex_attr_array![0 => Float32x3, 1 => Snorm16x4];
/// Where the fields of [`BodyInstance`] go.
pub(crate) const INSTANCE_ATTRIBUTES: [wgpu::VertexAttribute; 2] = wgpu::vertex_attr_array![2 => Float32x4, 3 => Float32];

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::naga;

    /// `(location, number of components)` of every input of the shader's vertex stage.
    fn shader_inputs() -> Vec<(u32, u32)> {
        let module = naga::front::wgsl::parse_str(crate::body_pass::SHADER).unwrap();
        let entry = module.entry_points.iter().find(|e| e.stage == naga::ShaderStage::Vertex).unwrap();
        let mut inputs = Vec::new();
        for argument in &entry.function.arguments {
            let naga::TypeInner::Struct { members, .. } = &module.types[argument.ty].inner else { panic!("inputs come in structs") };
            for member in members {
                let Some(naga::Binding::Location { location, .. }) = member.binding else { panic!("every member has a location") };
                let components = match module.types[member.ty].inner {
                    naga::TypeInner::Scalar(_) => 1,
                    naga::TypeInner::Vector { size, .. } => size as u32,
                    ref other => panic!("{other:?} is no vertex attribute"),
                };
                inputs.push((location, components));
            }
        }
        inputs
    }

    #[test]
    fn attributes_fill_the_structs_and_match_the_shader() {
        let end = |a: &[wgpu::VertexAttribute]| a.iter().map(|a| a.offset + a.format.size()).max().unwrap() as usize;
        assert_eq!(end(&VERTEX_ATTRIBUTES), size_of::<BodyVertex>());
        assert_eq!(end(&INSTANCE_ATTRIBUTES), size_of::<BodyInstance>());

        // a normal is read as three of its four components, which the vertex stage may do
        let expected = [(0, 3), (1, 3), (2, 4), (3, 1)];
        assert_eq!(shader_inputs(), expected);
        let locations = VERTEX_ATTRIBUTES.iter().chain(&INSTANCE_ATTRIBUTES).map(|a| a.shader_location);
        assert!(locations.eq(expected.map(|(location, _)| location)));
    }
}
