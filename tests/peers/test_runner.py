"""Tests of the bench's own arithmetic: `make test-peers`. Standard library only."""

import math
import os
import sys
import tempfile
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from peer import x264
from runner import figures, floor, process, quality, summary, versus
from runner.failure import Failure


def person(shift=0.0, visible=1.0):
    """33 landmarks on a slanted line with a diagonal of 40 pixels, and joints that project onto them exactly."""
    landmarks = [[shift + 24 * i / 32, 32 * i / 32, visible] for i in range(33)]
    names = [f"{side}_{joint}" for joint in quality.JOINTS for side in ("left", "right")]
    at = {f"{side}_{joint}": left + k for joint, left in quality.JOINTS.items() for k, side in enumerate(("left", "right"))}
    # focal length 10 and centre 0: x = u z / 10
    joints = [[landmarks[at[name]][0] * 2 / 10, landmarks[at[name]][1] * 2 / 10, 2.0] for name in names]
    return landmarks, joints, names


def seen(shift=0.0, visible=1.0):
    return quality._person(*person(shift, visible), (10.0, (0.0, 0.0)))


class Encoding(unittest.TestCase):
    def test_peers_encode_as_halfpipe_does(self):
        media = Path(__file__).parents[2] / "host" / "media" / "src"
        self.assertIn(f'Self::X264 => "{x264.PRESET}"', (media / "codecs.rs").read_text())
        arguments = x264.arguments()
        self.assertIn(f'"{arguments[arguments.index("-x264-params") + 1]}"', (media / "ffmpeg" / "encode_args.rs").read_text())
        self.assertNotIn("-x264-params", x264.arguments("veryfast", 0))


class Figures(unittest.TestCase):
    def test_ratios_are_taken_within_a_round(self):
        # the second round was twice as slow for both
        figure = figures.ratios([20, 10, 30], [10, 5, 10])
        self.assertEqual(figure, {"median": 2, "lowest": 2, "highest": 3})
        self.assertEqual(figures.ranged(figure, 1), "2.0 (2.0 to 3.0)")
        self.assertEqual(figures.ranged(figures.spread([1.25]), 2), "1.25")

    def test_the_better_pool_counts(self):
        runs = {
            name: [{"frames_per_second": rate, "cpu_ms_per_frame": 1.0, "wall_seconds": 1 / rate, "found": {"people": 1}}]
            for name, rate in ((versus.HALFPIPE.name, 30.0), (versus.POOL_2.name, 6.0), (versus.POOL_4.name, 10.0))
            # no equal work here: its target is left out
        }
        (ratio,) = versus._ratios(runs)
        self.assertEqual((ratio["over"], ratio["frames_per_second"]["median"]), (versus.POOL_4.name, 3.0))
        self.assertEqual(versus._met(ratio), "yes")

    def test_runs_that_found_different_things_are_marked(self):
        figures_of = dict.fromkeys(("wall_seconds", "frames_per_second", "cpu_ms_per_frame", "peak_rss_bytes", "load_average"), 1.0)
        run = lambda people: {**figures_of, "found": {"people": people}}
        self.assertTrue(versus._figures([run(3), run(3)])["repeatable"])
        self.assertFalse(versus._figures([run(3), run(4)])["repeatable"])

    def test_nothing_measured_gives_an_empty_summary(self):
        self.assertEqual(summary.text({}), "")


class Quality(unittest.TestCase):
    def test_a_body_on_its_landmarks_has_no_error(self):
        self.assertAlmostEqual(seen()["reprojection"], 0)
        self.assertAlmostEqual(seen()["diagonal"], 40)

    def test_distances_are_parts_of_the_diagonal(self):
        (distance,) = quality._matched([seen(shift=4.0)], [seen()])
        self.assertAlmostEqual(distance, 0.1)

    def test_nobody_is_matched_twice_or_across_the_picture(self):
        self.assertEqual(len(quality._matched([seen(), seen(1.0)], [seen()])), 1)
        self.assertEqual(quality._matched([seen(100.0)], [seen()]), [])
        self.assertEqual(quality._matched([seen(visible=0.1)], [seen()]), [])

    def test_shares_say_who_is_missing(self):
        result = quality.compare({"a": [[seen()]], "b": [[seen(), seen(100.0)]]}, "a", "a", None)
        self.assertAlmostEqual(result["b"]["seen_by_halfpipe"], 0.5)
        self.assertNotIn("seen_by_halfpipe", result["a"])


class Floor(unittest.TestCase):
    REPORT = {
        "input": {"width": 1768, "height": 994},
        "settings": {"guest": {"detector_sizes": [256, 512]}},
        "counts": {"other": {"detector_frames": 22.0}},
    }

    def test_detector_inputs_add_up(self):
        # one run at both sizes and 21 at their mean
        shapes = floor._inputs("movenet_multipose", 23, self.REPORT)
        self.assertEqual([s["image"] for s, _ in shapes], [[3, 160, 256], [3, 288, 512], [3, 224, 384]])
        self.assertEqual([round(23 * share) for _, share in shapes], [1, 1, 21])

    def test_parts_and_rest_fill_cores_times_wall_time(self):
        report = {"wall_seconds": 10.0, "cpu_seconds": 15.0, "stages": {"verify": {"busy_seconds": 0.5}}, "sandbox": {"cpu_seconds": {"fit": 0.1, "logic": 0.2}}}
        result = floor._figures([(report, {"decode": 3.0, "encode": 9.0}, {"decode": 3.5, "encode": 9.5})], cores=2)
        parts = sum(f["median"] for f in result["parts_cpu_seconds"].values())
        rest = sum(f["median"] for f in result["rest_cpu_seconds"].values())
        self.assertAlmostEqual(parts + rest, 20.0)
        self.assertAlmostEqual(result["wall_over_floor"]["median"], 10 / 6)
        self.assertAlmostEqual(result["wall_over_floor_on_all_cores"]["median"], 10 / 6.5)
        self.assertAlmostEqual(result["rest_cpu_seconds"]["the same parts, as much dearer while all cores compute"]["median"], 1.0)

    def test_runs_on_all_cores_are_at_once(self):
        both = threading.Barrier(2, timeout=10)
        self.assertEqual(floor._on_all_cores(lambda: both.wait() + 1, 2), 1.5)


class Processes(unittest.TestCase):
    def test_children_count(self):
        # a shell that waits for a child which computes and holds 40 MB
        work = "import time; x = bytearray(40 << 20); t = time.process_time()\nwhile time.process_time() - t < 0.7: pass"
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(work)
            script.flush()
            measured = process.measure(["sh", "-c", f"{sys.executable} {script.name}; echo '{{\"frames\": 3}}'"])
        self.assertEqual(measured.result(), {"frames": 3})
        self.assertGreater(measured.cpu_seconds, 0.69)
        self.assertGreater(measured.peak_rss_bytes, 40 << 20)
        self.assertTrue(math.isfinite(measured.load_average))

    def test_a_failure_is_told_with_its_last_words(self):
        with self.assertRaisesRegex(Failure, "ended with 3: no such thing"):
            process.measure(["sh", "-c", "echo no such thing >&2; exit 3"])

    def test_the_tree_holds_this_process(self):
        self.assertIn(os.getpid(), process.tree(os.getpid()))


if __name__ == "__main__":
    unittest.main()
