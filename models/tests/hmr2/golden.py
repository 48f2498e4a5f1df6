"""What PyTorch and smplx give for the made-up files; kept in golden.safetensors, since PyTorch is so large a download.

    python3 models/make.py --hmr2-reference            runs both anew and compares what they give with the file
    python3 models/make.py --hmr2-reference --record   writes the file anew

`samples.ckpt` beside it is a small file of `torch.save` with tensors of many kinds.

`global_orient`, `body_pose`, `betas`, `pred_cam`: PyTorch on `pictures()`, with the weights of the made-up checkpoint, which
`torch.load` has read. `vertices`, `joints`, `openpose`: smplx on `rotations` and `shape`, with the made-up SMPL; the last as
4D-Humans picks them out of smplx's joints.
"""

import argparse
import hashlib
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np

from recipes.hmr2 import importer, network, proof, smpl
from recipes.hmr2.checkpoint import Checkpoint
from tests import support
from tests.hmr2 import made_up
from tests.safetensors import decode, encode

FILE = Path(__file__).with_name("golden.safetensors")
SAMPLES = Path(__file__).with_name("samples.ckpt")
BATCH = 8
# smpl_to_openpose of hmr2/models/smpl_wrapper.py, into smplx's 24 joints and the vertices that it adds to them
SMPL_TO_OPENPOSE = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34]
TOLERANCE = 2e-5  # between two machines' PyTorch, relative


def pictures() -> np.ndarray:
    """The normalised pictures f32[8, 3, 256, 256]."""
    return proof.pictures(BATCH, seed=3)


def weights_digest() -> str:
    """A digest of the network's weights and pictures, by which to see that the kept outputs are of these."""
    digest = hashlib.sha256(pictures().tobytes())
    for name, array in made_up.tensors(made_up.REDUCED):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def load() -> dict:
    """The kept tensors by name; fails if they are of other weights than those made up now."""
    tensors, metadata = decode(FILE.read_bytes())
    assert metadata["weights"] == weights_digest(), f"{FILE.name} is of other weights; run models/make.py --hmr2-reference --record"
    return tensors


def poses() -> dict:
    """Random rotations f32[8, 24, 3, 3] and shapes f32[8, 10]; the first pose is the T pose of the mean shape."""
    random = np.random.default_rng(4)
    rotations = np.array([[support.random_rotation(random) for _ in range(24)] for _ in range(BATCH)], np.float32)
    shape = random.normal(size=(BATCH, smpl.SHAPES)).astype(np.float32) * 2
    rotations[0], shape[0] = np.eye(3), 0
    return {"rotations": rotations, "shape": shape}


def from_pytorch(folder: Path) -> dict:
    """The network's outputs by PyTorch; what `torch.save` writes must be exported to the same file as the made-up checkpoint."""
    import torch  # pylint: disable=import-outside-toplevel  # not there but for this command

    from tests.hmr2.reference import Hmr2  # pylint: disable=import-outside-toplevel

    made_up.write_checkpoint(folder / "made_up.ckpt", made_up.tensors(made_up.REDUCED), settings=False)
    state = torch.load(folder / "made_up.ckpt", weights_only=True)["state_dict"]
    model = Hmr2(made_up.REDUCED).eval()
    model.load_state_dict(state, strict=True)
    torch.save({"state_dict": model.state_dict(), "optimizer_states": [torch.optim.AdamW(model.parameters()).state_dict()]}, folder / "torch.ckpt")
    exported = []
    for name in ("made_up", "torch"):
        checkpoint = Checkpoint(folder / f"{name}.ckpt")
        exported.append(network.write(checkpoint, made_up.REDUCED, folder / f"{name}.onnx", half=False)[0].read_bytes())
    assert exported[0] == exported[1], "a checkpoint written by torch.save is exported to something else"
    with torch.no_grad():
        outputs = model(torch.from_numpy(pictures()))
    return {name: output.numpy() for (name, _), output in zip(network.OUTPUTS, outputs)}


def write_samples():
    """Writes SAMPLES: tensors whose numbers are 0, 1, 2, ..., stored in every way that a checkpoint may have."""
    import torch  # pylint: disable=import-outside-toplevel

    count = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = {
        "plain": count,
        "transposed": count.T.contiguous().T,
        "part": torch.arange(-5, 20, dtype=torch.float32)[5:17].reshape(3, 4),
        "spread": torch.arange(0, 12, 0.5).reshape(3, 8)[:, ::2],
        "half": count.half(),
        "bfloat16": count.bfloat16(),
        "double": count.double(),
        "long": count.long(),
        "parameter": torch.nn.Parameter(count),
        "scalar": torch.tensor(7.0),
        "no_tensor": "text",
    }
    torch.save({"state_dict": state, "hyper_parameters": argparse.Namespace(device=torch.device("cpu"), size=torch.Size([1]))}, SAMPLES)


def from_smplx(folder: Path, inputs: dict) -> dict:
    """Vertices, joints and OpenPose's joints by smplx."""
    import smplx  # pylint: disable=import-outside-toplevel
    import torch  # pylint: disable=import-outside-toplevel

    path = folder / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(made_up.smpl_arrays()))
    model = smplx.SMPLLayer(str(path), num_betas=smpl.SHAPES)
    rotations, shape = torch.from_numpy(inputs["rotations"]), torch.from_numpy(inputs["shape"])
    with torch.no_grad():
        output = model(betas=shape, body_pose=rotations[:, 1:], global_orient=rotations[:, :1])
    joints = output.joints.numpy()
    return {"vertices": output.vertices.numpy(), "joints": joints[:, :24], "openpose": joints[:, SMPL_TO_OPENPOSE]}


def main() -> int:
    """Runs PyTorch and smplx; compares or records."""
    parser = argparse.ArgumentParser(prog="tests.hmr2.golden", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write golden.safetensors anew")
    recording = parser.parse_args().record
    inputs = poses() if recording else {name: load()[name].copy() for name in ("rotations", "shape")}
    with tempfile.TemporaryDirectory() as folder:
        found = from_pytorch(Path(folder)) | inputs | from_smplx(Path(folder), inputs)
    if recording:
        write_samples()
        FILE.write_bytes(encode(found, {"weights": weights_digest()}))
        importer.say(f"{FILE}: written")
        return 0
    worst = 0.0
    for name, kept in load().items():
        off = float(np.abs(found[name] - kept).max() / np.abs(kept).max())
        importer.say(f"{name:<14} {off:.1e}")
        worst = max(worst, off)
    if worst > TOLERANCE:
        importer.say(f"error: off by more than {TOLERANCE:g}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
