//! Motion files: reads poses.jsonl and writes skinned, animated glTF (.glb) and Biovision (.bvh).
