//! Index buffers of the topologies in use: one for each, kept as long as somebody holds the topology.

use std::sync::{Arc, Weak};

use halfpipe_core::Topology;

use crate::device::Gpu;
use crate::error::RenderError;

/// The faces of one topology on the device.
#[derive(Debug)]
pub(crate) struct Faces {
    pub(crate) indices: wgpu::Buffer,
    pub(crate) index_count: u32,
    /// Whether they bound a solid, so that their insides cannot be seen from outside.
    pub(crate) closed: bool,
}

/// All topologies seen by a lane that are still alive.
#[derive(Debug, Default)]
pub(crate) struct TopologyCache(Vec<(Weak<Topology>, Arc<Faces>)>);

impl TopologyCache {
    /// The faces of `topology`, uploaded if they are not there yet. Faces that name missing vertices are an error.
    pub(crate) fn faces(&mut self, gpu: &Gpu, topology: &Arc<Topology>) -> Result<Arc<Faces>, RenderError> {
        self.forget_dead();
        // a weak handle keeps the address taken, so equal addresses are the same topology
        if let Some((_, faces)) = self.0.iter().find(|(held, _)| std::ptr::eq(held.as_ptr(), Arc::as_ptr(topology))) {
            return Ok(Arc::clone(faces));
        }
        check(topology)?;
        let bytes: &[u8] = bytemuck::cast_slice(&topology.faces);
        let indices = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("faces"),
            size: bytes.len() as u64,
            usage: wgpu::BufferUsages::INDEX | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        gpu.queue.write_buffer(&indices, 0, bytes);
        // what the device refused must not be kept for later batches
        gpu.faults.check()?;
        let faces = Arc::new(Faces { indices, index_count: topology.faces.len() as u32 * 3, closed: is_closed(&topology.faces) });
        self.0.push((Arc::downgrade(topology), Arc::clone(&faces)));
        Ok(faces)
    }

    /// Frees the buffers of topologies that nobody holds any more.
    pub(crate) fn forget_dead(&mut self) {
        self.0.retain(|(held, _)| held.strong_count() > 0);
    }
}

fn check(topology: &Topology) -> Result<(), RenderError> {
    let vertices = topology.vertices;
    for (face, corners) in topology.faces.iter().enumerate() {
        if let Some(&vertex) = corners.iter().find(|&&v| v >= vertices) {
            return Err(RenderError::Face { face, vertex, vertices });
        }
    }
    Ok(())
}

/// Whether every edge is passed once in each direction: two faces meet there, and they are turned the same way.
fn is_closed(faces: &[[u32; 3]]) -> bool {
    let edges = || faces.iter().flat_map(|&[a, b, c]| [(a, b), (b, c), (c, a)]);
    // as one number an edge is compared at once: a body has forty thousand
    let sorted = |edges: &mut dyn Iterator<Item = (u32, u32)>| {
        let mut edges: Vec<u64> = edges.map(|(from, to)| u64::from(from) << 32 | u64::from(to)).collect();
        edges.sort_unstable();
        edges
    };
    let there = sorted(&mut edges());
    there.array_windows().all(|[a, b]| a != b) && there == sorted(&mut edges().map(|(from, to)| (to, from)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{AdapterChoice, Backend, open};

    #[test]
    fn a_topology_is_uploaded_once_and_freed_with_its_last_handle() {
        let gpu = open(AdapterChoice::Software, &[Backend::Vulkan, Backend::Gl], Ok).unwrap();
        let mut cache = TopologyCache::default();
        let a = Arc::new(Topology { vertices: 3, faces: vec![[0, 1, 2]] });
        let b = Arc::new(Topology::clone(&a));
        let first = cache.faces(&gpu, &a).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.faces(&gpu, &a).unwrap()));
        assert!(!Arc::ptr_eq(&first, &cache.faces(&gpu, &b).unwrap()), "an equal topology is another one");
        drop(a);
        cache.forget_dead();
        assert_eq!(cache.0.len(), 1);
        assert_eq!(Arc::strong_count(&first), 1);
    }

    #[test]
    fn a_tetrahedron_is_closed_until_a_face_is_missing_or_turned() {
        let faces = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]];
        assert!(is_closed(&faces));
        assert!(!is_closed(&faces[1..]));
        assert!(!is_closed(&[faces[0], faces[1], faces[2], [1, 3, 2]]));
        assert!(!is_closed(&faces.repeat(2)));
    }

    #[test]
    fn a_face_without_its_vertex_is_refused() {
        let topology = Topology { vertices: 3, faces: vec![[0, 1, 2], [0, 1, 3]] };
        assert_eq!(check(&topology), Err(RenderError::Face { face: 1, vertex: 3, vertices: 3 }));
    }
}
