"""The import as a command: what it writes, and what it says of files that are not what they should be."""

import contextlib
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import tomllib
import unittest
import unittest.mock
import zipfile
from pathlib import Path

import numpy as np

from recipes.errors import Failure
from recipes.hmr2 import files, importer, licence, smpl
from recipes.hmr2.checkpoint import Checkpoint
from recipes.hmr2.weights import sizes_of
from recipes.targets import MODELS
from tests.hmr2 import made_up


class Hostile:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return (os.system, (f"touch '{self.trace}'",))


class ImportCase(unittest.TestCase):
    """A folder with a made-up checkpoint and SMPL file, made once."""

    @classmethod
    def setUpClass(cls):
        cls.sources = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.checkpoint, cls.smpl = cls.sources / "hmr2.ckpt", cls.sources / "smpl.npz"
        cls.arrays = made_up.smpl_arrays()
        made_up.write_checkpoint(cls.checkpoint, made_up.tensors(made_up.REDUCED))
        made_up.write_smpl_npz(cls.smpl, cls.arrays)

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, name: str, contents: bytes) -> Path:
        """A file in the test's folder."""
        path = self.folder / name
        path.write_bytes(contents)
        return path


class CommandTest(ImportCase):
    """`python -m recipes.hmr2`."""

    def command(self, *options, answer: str = "") -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "recipes.hmr2", "--checkpoint", self.checkpoint, "--smpl", self.smpl, "--dir", self.folder, *options]
        return subprocess.run(command, cwd=MODELS, input=answer, capture_output=True, text=True, check=False)

    def test_entries_are_true(self):
        ran = self.command("--accept-licence", "--any-size")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        text = (self.folder / "catalog.d/hmr2.toml").read_text(encoding="utf-8")
        catalog = tomllib.loads(text)
        (model,), (body,) = catalog["model"], catalog["body"]
        self.assertEqual((catalog["schema"], model["name"], body["name"]), (1, "hmr2", "smpl_neutral"))
        self.assertEqual((body["vertices"], body["faces"]), (6890, len(self.arrays["f"])))
        self.assertEqual(model["mean"], [0.485, 0.456, 0.406])
        for file, sha256, size in (
            (model["file"], model["sha256"], model["bytes"]),
            (body["file"], body["sha256"], body["bytes"]),
            (body["rig"], body["rig_sha256"], body["rig_bytes"]),
        ):
            contents = (self.folder / file).read_bytes()
            self.assertEqual((hashlib.sha256(contents).hexdigest(), len(contents)), (sha256, size))
        for line in licence.TEXT.splitlines():
            self.assertIn(f"# {line}".rstrip(), text.splitlines())
        self.assertIn("non-commercial", body["licence"])
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"catalog.d", "hmr2.onnx", "smpl_neutral.onnx", "smpl_neutral.rig.safetensors"})

    def test_float16_is_compared_and_the_report_is_kept(self):
        ran = self.command("--accept-licence", "--any-size", "--fp16")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        report = json.loads((self.folder / importer.REPORT).read_text(encoding="utf-8"))
        for name in ("global_orient", "body_pose", "betas", "pred_cam"):
            self.assertLess(report[name]["relative"], 1e-2)
            self.assertGreater(report[name]["relative"], 1e-6, "float16 cannot be as exact as that")
            self.assertRegex(ran.stdout, rf"{name} +largest difference {report[name]['largest_difference']:.2e}")
        model = tomllib.loads((self.folder / "catalog.d/hmr2.toml").read_text(encoding="utf-8"))["model"][0]
        self.assertIn("float16", model["summary"])
        size = model["bytes"]
        (self.folder / f"{importer.STAGING}left").mkdir()  # by an import that was killed
        # importing again in float32 leaves nothing of it behind
        self.assertEqual(self.command("--accept-licence", "--any-size").returncode, 0)
        self.assertFalse((self.folder / importer.REPORT).exists())
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith(".")], [])
        self.assertGreater((self.folder / "hmr2.onnx").stat().st_size, size * 1.8)

    def test_nothing_is_imported_without_acceptance(self):
        ran = self.command("--any-size", answer="yes\n")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("Max Planck", ran.stdout)
        self.assertRegex(ran.stderr, r"^error: nothing was imported: .*--accept-licence")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_acceptance_may_be_typed_on_a_terminal(self):
        class Terminal(io.StringIO):
            """Text that says it is a terminal."""

            def isatty(self):
                return True

        for answer, accepted in (("yes\n", True), ("YES\n", True), ("no\n", False), ("y\n", False), ("", False)):
            with self.subTest(answer), unittest.mock.patch.object(sys, "stdin", Terminal(answer)), contextlib.redirect_stdout(io.StringIO()):
                if accepted:
                    licence.accept(False)
                else:
                    with self.assertRaisesRegex(Failure, "not accepted"):
                        licence.accept(False)

    def test_another_size_than_the_released_one_has_to_be_asked_for(self):
        ran = self.command("--accept-licence")
        self.assertEqual(ran.returncode, 1)
        self.assertRegex(ran.stderr, r"error: .*hmr2\.ckpt lacks \d+ of HMR2's 503 tensors: backbone\.blocks\.2\.norm1\.weight")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_the_script_names_a_missing_file_before_it_fetches_anything(self):
        command = [sys.executable, MODELS / "import_hmr2.py", "--checkpoint", self.folder / "none.ckpt", "--smpl", self.smpl]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        self.assertEqual(ran.returncode, 1)
        self.assertRegex(ran.stderr, r"none\.ckpt does not exist; it should be 4D-Humans' HMR2 checkpoint.*hmr2_data\.tar\.gz")
        self.assertEqual(list(self.folder.iterdir()), [])


class WrongCheckpointTest(ImportCase):
    """Files that are no HMR2."""

    def says(self, path: Path, *words: str, any_size: bool = True):
        with self.assertRaises(Failure) as caught:
            sizes_of(Checkpoint(path).shapes(), path, any_size)
        text = str(caught.exception)
        for word in (path.name, *words):
            self.assertIn(word, text)
        return text

    def test_other_files(self):
        self.says(self.folder / "none.ckpt", "does not exist", "4D-Humans")
        self.says(self.write("empty.ckpt", b""), "is empty")
        self.says(self.write("page.ckpt", b"<!DOCTYPE html><html>Sign in"), "a web page", "hmr2_data.tar.gz")
        self.says(self.write("data.tar.gz", b"\x1f\x8b\x08data"), "gzip archive; unpack it first")
        self.says(self.write("notes.ckpt", b"dear reader"), "a text file that begins with 'dear reader'")
        self.says(self.write("old.ckpt", pickle.dumps({"state_dict": {}})), "PyTorch before 1.6")
        self.says(self.smpl, "a NumPy archive (.npz) with J.npy")
        with zipfile.ZipFile(self.folder / "photos.zip", "w") as archive:
            archive.writestr("photo.png", b"")
        self.says(self.folder / "photos.zip", "a zip archive with photo.png")

    def test_missing_and_misshapen_tensors_are_named(self):
        def without(*names):
            return ((name, array) for name, array in made_up.tensors(made_up.REDUCED) if name not in names)

        path = self.folder / "part.ckpt"
        made_up.write_checkpoint(path, without("smpl_head.deccam.bias", "backbone.blocks.1.attn.proj.weight"))
        self.says(path, "lacks 2 of HMR2's", "smpl_head.deccam.bias", "backbone.blocks.1.attn.proj.weight")
        made_up.write_checkpoint(path, ((name, array[..., :80] if name == "backbone.blocks.0.mlp.fc1.weight" else array) for name, array in without()))
        self.says(path, "backbone.blocks.0.mlp.fc1.weight is [640, 80] instead of [640, 160]")
        made_up.write_checkpoint(path, [("encoder.weight", np.zeros((2, 2), np.float32))])
        self.says(path, "another network", "encoder.weight")

    def test_a_file_that_is_cut_short(self):
        whole = self.checkpoint.read_bytes()
        self.says(self.write("cut.ckpt", whole[: len(whole) // 2]), "cut.ckpt")

    def test_a_tensor_beyond_its_storage(self):
        path = self.folder / "beyond.ckpt"
        with zipfile.ZipFile(self.checkpoint) as whole, zipfile.ZipFile(path, "w") as changed:
            for name in whole.namelist():
                contents = whole.read(name)
                changed.writestr(name, contents[:-4] if name == "archive/data/0" else contents)
        with self.assertRaisesRegex(Failure, r"damaged: backbone\.pos_embed reaches beyond its data"):
            Checkpoint(path).read("backbone.pos_embed")

    def test_nothing_of_the_pickle_is_run(self):
        trace = self.folder / "trace"
        saved = {"state_dict": {}, "hyper_parameters": Hostile(trace)}
        path = self.folder / "hostile.ckpt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(saved, 2))
        self.assertEqual(Checkpoint(path).shapes(), {})
        self.assertFalse(trace.exists())
        # the same pickle does run where nobody takes care
        pickle.loads(pickle.dumps(saved, 2))
        self.assertTrue(trace.exists())


class WrongSmplTest(ImportCase):
    """Files that are no SMPL."""

    def says(self, path: Path, *words: str):
        with self.assertRaises(Failure) as caught:
            smpl.read(path)
        text = str(caught.exception)
        for word in (path.name, *words):
            self.assertIn(word, text)

    def changed(self, **entries) -> Path:
        """The made-up SMPL with other entries; None leaves one out."""
        arrays = {name: value for name, value in {**self.arrays, **entries}.items() if value is not None}
        made_up.write_smpl_npz(self.folder / "changed.npz", arrays)
        return self.folder / "changed.npz"

    def test_other_files(self):
        self.says(self.folder / "none.pkl", "does not exist", "smplify.is.tue.mpg.de")
        self.says(self.folder, "is a folder")
        self.says(self.write("readme.pkl", b"Please register"), "a text file that begins with 'Please register'", "Register at")
        self.says(self.write("page.pkl", b"<html>Log in</html>"), "a web page, perhaps that of a login")
        self.says(self.write("smpl.zip", b"PK\x05\x06" + bytes(18)), "a zip archive with nothing in it")
        self.says(self.checkpoint, "a PyTorch checkpoint")
        self.says(self.write("list.pkl", pickle.dumps([1, 2])), "a pickle of a list")
        self.says(self.write("cut.pkl", pickle.dumps(self.arrays, 2)[:9999]), "cannot be read as a pickle")

    def test_relatives_of_smpl_are_named(self):
        for vertices, joints, name in ((10475, 55, "SMPL-X"), (778, 16, "MANO"), (6890, 52, "SMPL+H"), (5023, 5, "FLAME")):
            path = self.changed(v_template=np.zeros((vertices, 3)), kintree_table=np.zeros((2, joints), np.uint32))
            self.says(path, name, f"{vertices} vertices, {joints} joints", "Register at")

    def test_what_is_missing_or_misshapen_is_named(self):
        self.says(self.changed(posedirs=None, J_regressor=None), "lacks posedirs, J_regressor")
        self.says(self.changed(weights=self.arrays["weights"][:, :20]), "weights is [6890, 20] instead of [6890, 24]")
        self.says(self.changed(shapedirs=self.arrays["shapedirs"][:, :, :4]), "shapedirs is [6890, 3, 4]")
        self.says(self.changed(weights=self.arrays["weights"] * 0.5), "do not add up to 1")
        self.says(self.changed(v_template=self.arrays["v_template"] * 100), "not in SMPL's axes and unit")
        self.says(self.changed(posedirs=self.arrays["posedirs"] * np.nan), "posedirs has numbers that are not finite")
        self.says(self.changed(f=self.arrays["f"] + 6000), "vertices that are not there")
        tree = self.arrays["kintree_table"].copy()
        tree[0, 5] = 1
        self.says(self.changed(kintree_table=tree), "another skeleton")

    def test_a_damaged_npz_is_told(self):
        np.savez_compressed(self.folder / "whole.npz", **self.arrays)
        contents = bytearray((self.folder / "whole.npz").read_bytes())
        for at in range(1000, len(contents) - 1000, 5000):
            contents[at] ^= 0xFF
        self.says(self.write("damaged.npz", bytes(contents)), "damaged.npz")

    def test_a_name_that_is_not_the_neutral_models_is_noted(self):
        for name in ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "SMPL_MALE.pkl", "SMPL_FEMALE.npz"):
            self.assertIn("not the neutral model", smpl.doubt(Path(name)), name)
        for name in ("basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "SMPL_NEUTRAL.pkl", "smpl.npz", "models/from_max/smpl_flame.pkl"):
            self.assertIsNone(smpl.doubt(Path(name)), name)

    def test_later_releases_with_300_shapes_are_taken(self):
        wide = np.concatenate([self.arrays["shapedirs"], np.ones((6890, 3, 290))], axis=2)
        np.testing.assert_array_equal(smpl.read(self.changed(shapedirs=wide)).shapedirs, self.arrays["shapedirs"])

    def test_objects_in_an_npz_are_read_as_cautiously(self):
        trace = self.folder / "trace"
        wrapped = np.empty((), object)
        wrapped[()] = Hostile(trace)
        self.says(self.changed(J_regressor=wrapped), "system, which has no business")
        self.assertFalse(trace.exists())

    def test_nothing_of_the_pickle_is_run(self):
        for protocol in range(5):
            trace = self.folder / f"trace{protocol}"
            contents = pickle.dumps({"v_template": Hostile(trace)}, protocol)
            path = self.write("hostile.pkl", contents)
            with self.subTest(protocol):
                with self.assertRaises(Failure):
                    smpl.read(path)
                self.assertFalse(trace.exists())

    def test_calls_by_way_of_allowed_names_are_refused(self):
        # copyreg may rebuild the classes of the table only; a name with dots is no way around it
        for contents in (b"\x80\x02ccopyreg\n_reconstructor\n(cbuiltins\nset\ncbuiltins\nobject\nNtR.", b"\x80\x04\x8c\x05numpy\x8c\x0cdtype.__new__\x93."):
            self.says(self.write("odd.pkl", contents), "cannot be read as a pickle of arrays")


class DescribeTest(ImportCase):
    """What a file is."""

    def test_kinds(self):
        for contents, words in (
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
            (b"\x93NUMPY\x01\x00", "a single NumPy array"),
            (b"\x00\x01\x02\x03" * 9, "a binary file of 36 bytes"),
            ("Gr\u00fc\u00dfe".encode() * 2000, "a text file that begins with"),
        ):
            self.assertIn(words, files.describe(self.write("file", contents)))
