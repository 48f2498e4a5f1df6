//! Tests of the rig file's checks, on a rig of one triangle.

use safetensors::tensor::TensorView;

use super::*;

struct Raw {
    tensors: Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

fn bytes<T: bytemuck::Pod>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Three vertices, one face, two shape parameters, one landmark.
fn raw() -> Raw {
    let parents: Vec<i32> = (-1..23).collect();
    let shapedirs: Vec<f32> = (0..18u8).map(f32::from).collect();
    let j_shapedirs: Vec<f32> = (0..144u8).map(f32::from).collect();
    let joints: Vec<String> = (0..JOINTS).map(|i| format!("joint{i}")).collect();
    Raw {
        tensors: vec![
            ("v_template", Dtype::F32, vec![3, 3], bytes(&[0f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])),
            ("shapedirs", Dtype::F32, vec![3, 3, 2], bytes(&shapedirs)),
            ("faces", Dtype::U32, vec![1, 3], bytes(&[0u32, 1, 2])),
            ("skin_index", Dtype::U16, vec![3, 4], bytes(&[0u16, 1, 2, 23, 0, 0, 0, 0, 0, 0, 0, 0])),
            ("skin_weight", Dtype::F32, vec![3, 4], bytes(&[0.25f32, 0.25, 0.25, 0.25, 1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0])),
            ("parents", Dtype::I32, vec![JOINTS], bytes(&parents)),
            ("j_template", Dtype::F32, vec![JOINTS, 3], bytes(&[0f32; 72])),
            ("j_shapedirs", Dtype::F32, vec![JOINTS, 3, 2], bytes(&j_shapedirs)),
            ("bind_rotation", Dtype::F32, vec![JOINTS, 3, 3], bytes(&[1f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0].repeat(JOINTS))),
            ("landmark_vertex", Dtype::U32, vec![1], bytes(&[2u32])),
        ],
        metadata: HashMap::from([
            ("joint_names".into(), serde_json::to_string(&joints).unwrap()),
            ("shape_names".into(), r#"["height", "weight"]"#.into()),
            ("landmark_names".into(), r#"["nose"]"#.into()),
        ]),
    }
}

fn file(raw: &Raw) -> Vec<u8> {
    let views = raw.tensors.iter().map(|(n, ty, shape, data)| (*n, TensorView::new(*ty, shape.clone(), data).unwrap()));
    safetensors::serialize(views, Some(raw.metadata.clone())).unwrap()
}

fn fault(change: impl FnOnce(&mut Raw)) -> String {
    let mut raw = raw();
    change(&mut raw);
    BodyRig::parse("test", &file(&raw)).unwrap_err()
}

fn set(raw: &mut Raw, name: &str, data: Vec<u8>) {
    raw.tensors.iter_mut().find(|t| t.0 == name).unwrap().3 = data;
}

#[test]
fn a_rig_is_read_in_full() {
    let rig = BodyRig::parse("test", &file(&raw())).unwrap();
    assert_eq!(*rig.topology(), Topology { vertices: 3, faces: vec![[0, 1, 2]] });
    assert_eq!((rig.parents[0], rig.parents[23]), (None, Some(22)));
    assert_eq!(rig.v_template[1], [1.0, 0.0, 0.0]);
    assert_eq!(rig.skin_index[0], [0, 1, 2, 23]);
    assert_eq!(rig.bind_rotation[5][1], [0.0, 1.0, 0.0]);
    // [V, 3, K] with values 0, 1, 2, ...: vertex 1 starts at 6
    assert_eq!(rig.vertex_shape(1), [[6.0, 8.0, 10.0], [7.0, 9.0, 11.0]]);
    assert_eq!(rig.joint_shape(2), [[12.0, 14.0, 16.0], [13.0, 15.0, 17.0]]);
    assert_eq!((rig.landmark_vertex, rig.landmark_names), (vec![2], vec!["nose".to_owned()]));
}

#[test]
fn every_index_and_shape_is_checked() {
    assert!(fault(|r| set(r, "faces", bytes(&[0u32, 1, 3]))).contains("vertex 3 of 3"));
    assert!(fault(|r| set(r, "landmark_vertex", bytes(&[9u32]))).contains("vertex 9 of 3"));
    assert!(fault(|r| set(r, "skin_index", bytes(&[24u16; 12]))).contains("joint 24 of 24"));
    assert!(fault(|r| set(r, "skin_weight", bytes(&[0.5f32; 12]))).contains("add up to 1"));
    assert!(fault(|r| set(r, "v_template", bytes(&[f32::NAN; 9]))).contains("not a finite number"));
    assert!(fault(|r| set(r, "parents", bytes(&[0i32; 24]))).contains("joint 0 is 0"));
    assert!(fault(|r| set(r, "parents", bytes(&[[-1i32, 0], [-1, 0]].concat().repeat(6)))).contains("joint 2 is -1"));
    assert!(fault(|r| r.tensors[1].2 = vec![3, 2, 3]).contains("`shapedirs` is F32 [3, 2, 3], not F32 [3, 3, 2]"));
    assert!(fault(|r| r.tensors[2].1 = Dtype::I32).contains("not U32"));
    assert!(fault(|r| drop(r.tensors.pop())).contains("landmark_vertex"));
    assert!(fault(|r| drop(r.metadata.remove("shape_names"))).contains("no `shape_names`"));
    assert!(fault(|r| drop(r.metadata.insert("shape_names".into(), r#"["a", "a"]"#.into()))).contains("`a` twice"));
    assert!(fault(|r| drop(r.metadata.insert("joint_names".into(), "[]".into()))).contains("0 joints, not 24"));
    assert!(BodyRig::parse("test", b"nonsense").unwrap_err().contains("not a safetensors file"));
}
