//! Prints the made-up test body as JSON, for the script that makes the reference fixture.

use halfpipe_kit::rig::testrig;

fn main() {
    let rig = testrig::humanoid();
    let joints: Vec<_> = rig
        .joints()
        .iter()
        .map(|j| {
            let bind: [[f64; 3]; 3] = std::array::from_fn(|r| std::array::from_fn(|c| j.bind[(r, c)]));
            serde_json::json!({ "name": j.name, "parent": j.parent, "rest": j.rest, "shape": j.shape, "bind": bind })
        })
        .collect();
    let surface: Vec<_> =
        rig.surface().iter().map(|s| serde_json::json!({ "name": s.name, "rest": s.rest, "shape": s.shape, "bones": s.bones })).collect();
    println!("{}", serde_json::json!({ "shape_names": rig.shape_names(), "joints": joints, "surface": surface }));
}
