// Validates .glb files with the Khronos validator and prints one JSON report a line.
// Usage: node validate.mjs <folder with node_modules> <file.glb>...
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, ...files] = process.argv.slice(2);
const { validateBytes } = createRequire(join(modules, "package.json"))("gltf-validator");

for (const file of files) {
  const report = await validateBytes(new Uint8Array(await readFile(file)), { uri: file, format: "glb" });
  console.log(JSON.stringify({ file, issues: report.issues, info: report.info }));
}
