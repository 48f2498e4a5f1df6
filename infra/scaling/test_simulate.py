"""Tests of the simulation, and that infra/SCALING.md shows the table it gives. `make test-infra` runs them."""

import dataclasses
import unittest
import unittest.mock

import simulate
from simulate import Assumptions


class Fixed:
    """A policy that always wants the same number."""

    period = 60.0

    def __init__(self, count: int):
        self.count = count

    def wanted(self, *_) -> int:
        return self.count


def quiet(**changes) -> Assumptions:
    """No bursts, and clips all of one length."""
    return dataclasses.replace(Assumptions(burst_factor=1.0, spread=1e-9), **changes)


class Days(unittest.TestCase):
    def test_every_message_is_done_once_whatever_is_taken_away(self):
        assume = Assumptions(interruptions_per_hour=20.0)
        policy, start, spot = simulate.policy_of("KEDA", assume)
        day = simulate.simulate(3000, policy, 10, start, spot, assume)
        self.assertEqual(day.done, 3000)
        self.assertGreater(day.interruptions, 0)
        self.assertGreater(day.lost_seconds, 0)
        work = sum(simulate.durations(3000, assume, after_arrivals(3000, assume)))
        # what was worked is the work there was, and what was lost on the way
        self.assertAlmostEqual(day.busy_seconds, work + day.lost_seconds, places=3)

    def test_without_interruptions_nothing_is_done_twice(self):
        day = simulate.simulate(500, Fixed(5), 5, 0.0, False, Assumptions())
        self.assertEqual((day.done, day.interruptions, day.lost_seconds), (500, 0, 0.0))

    def test_too_few_workers_let_messages_grow_old(self):
        assume = quiet(mean_clip=60.0)
        one = simulate.durations(1, assume, after_arrivals(1, assume))[0]
        # a worker does 86,400 / one a day: twice as many take another day
        count = 2 * int(simulate.DAY / one)
        day = simulate.simulate(count, Fixed(1), 1, 0.0, False, assume)
        self.assertGreater(max(day.oldest), 0.8 * simulate.DAY)
        enough = simulate.simulate(count, Fixed(6), 6, 0.0, False, assume)
        self.assertLess(max(enough.oldest), 600)

    def test_one_worker_agrees_with_a_queue_worked_out_by_hand(self):
        # a single server, constant service, 60 % load: when each message is taken follows from the one before
        rng, service = simulate.random.Random(1), 60.0
        count = int(0.6 * simulate.DAY / service)
        at = sorted(rng.random() * simulate.DAY for _ in range(count))
        taken, clock = [], 0.0
        for arrival in at:
            clock = max(clock, arrival)
            taken.append(clock)
            clock += service
        with unittest.mock.patch.multiple(simulate, arrivals=lambda *_: list(at), durations=lambda *_: [service] * count):
            day = simulate.simulate(count, Fixed(1), 1, 0.0, False, quiet())
        self.assertAlmostEqual(day.busy_seconds, service * count, places=3)
        for minute, age in enumerate(day.oldest):
            now = minute * 60.0
            waiting = [arrival for arrival, begun in zip(at, taken) if arrival <= now < begun]
            self.assertAlmostEqual(age, now - waiting[0] if waiting else 0.0, places=3)
        self.assertGreater(max(day.oldest), service)

    def test_the_rules_are_those_of_the_files(self):
        steps = simulate.Steps((simulate.ROOT / "infra/lambda/template.yaml").read_text())
        self.assertEqual(len(steps.up), 4)
        self.assertEqual([bound for bound, _ in steps.up], sorted(bound for bound, _ in steps.up))
        self.assertTrue(all(change > 0 for _, change in steps.up) and all(change < 0 for _, change in steps.down))
        keda = simulate.Keda((simulate.ROOT / "infra/kubernetes/base/scaling.yaml").read_text())
        self.assertEqual(set(keda.up), {"Percent", "Pods"})

    def test_the_same_seed_gives_the_same_day(self):
        outcomes = [simulate.simulate(400, simulate.Functions(), 50, 1.0, False, Assumptions()) for _ in range(2)]
        self.assertEqual(*outcomes)
        other = simulate.simulate(400, simulate.Functions(), 50, 1.0, False, Assumptions(seed=1))
        self.assertNotEqual(outcomes[0], other)

    def test_the_page_shows_this_table(self):
        text = simulate.PAGE.text()
        self.assertEqual(simulate.PAGE.with_tables(simulate.table()), text, "run: python3 infra/scaling/simulate.py --write")


def after_arrivals(count: int, assume: Assumptions):
    """The random numbers as they are when durations are drawn."""
    rng = simulate.random.Random(assume.seed)
    simulate.arrivals(count, assume, rng)
    return rng


if __name__ == "__main__":
    unittest.main()
