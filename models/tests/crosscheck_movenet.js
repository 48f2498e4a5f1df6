// Runs a TFJS graph model on one picture and writes the named outputs; models/tests/crosscheck.py starts it.
//
//   node crosscheck_movenet.js FOLDER
//
// FOLDER holds tf.min.js, model.json, weights.bin, picture.rgb and job.json {height, width, outputs: [node name]};
// output i goes to FOLDER/output_i.f32 as little-endian float32 in the graph's own NHWC order.

const fs = require("fs");
const path = require("path");

const folder = process.argv[2];
const file = (name) => path.join(folder, name);

async function main() {
  const tf = require(file("tf.min.js"));
  await tf.setBackend("cpu");
  const job = JSON.parse(fs.readFileSync(file("job.json"), "utf8"));
  const { modelTopology, weightsManifest } = JSON.parse(fs.readFileSync(file("model.json"), "utf8"));
  const weights = new Uint8Array(fs.readFileSync(file("weights.bin"))).buffer;
  const artifacts = { modelTopology, weightSpecs: weightsManifest[0].weights, weightData: weights };
  const model = await tf.loadGraphModel(tf.io.fromMemory(artifacts));
  const picture = new Int32Array(fs.readFileSync(file("picture.rgb")));
  const image = tf.tensor4d(picture, [1, job.height, job.width, 3], "int32");
  const outputs = model.execute(image, job.outputs);
  outputs.forEach((output, i) => {
    const values = output.dataSync();
    fs.writeFileSync(file(`output_${i}.f32`), Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  });
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
