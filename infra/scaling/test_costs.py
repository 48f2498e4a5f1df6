"""Tests of the cost tables, and that infra/lambda/README.md shows them. `make test-infra` runs them."""

import re
import unittest

import costs
from simulate import ROOT, Assumptions


class Tables(unittest.TestCase):
    def test_the_arithmetic_is_what_the_column_says(self):
        for what, how, dollars in costs.rows(costs.Prices(), costs.Requests(), costs.Job(), Assumptions()):
            text = how.replace(",", "").replace("$", "").replace(" a million", " / 1e6").replace(" a thousand", " / 1e3")
            text = re.sub(r"([\d.]+) MB for ([\d.]+) days", r"\1 / 1024 * \2 / 30", text).replace(" a GB-month", "")
            text = re.sub(r"([\d.]+) kB", r"\1 / 1048576", text).replace(" a GB", "").replace(" GB", "").replace(" s ", " ").replace(" x ", " * ")
            # the column shows rounded numbers
            self.assertAlmostEqual(eval(text), dollars, delta=0.02 * dollars + 1e-6, msg=what)

    def test_the_function_is_that_of_the_template(self):
        template = (ROOT / "infra/lambda/template.yaml").read_text()
        memory = int(re.search(r"JobMemory:\n.*?Default: (\d+)", template, re.S).group(1))
        disk = int(re.search(r"EphemeralStorage: \{ Size: (\d+) \}", template).group(1))
        self.assertEqual((memory, disk), (costs.MEMORY_MB, costs.DISK_MB))

    def test_leases_are_renewed_as_the_program_does_it(self):
        requests = costs.Requests()
        self.assertEqual([requests.renewals(s) for s in (1, 3.5, 17.7, 330)], [0, 2, 4, 35])
        self.assertEqual(costs.Requests(lease=3600).renewals(3600), 12)

    def test_a_longer_clip_takes_longer_and_costs_more(self):
        def total(seconds):
            job = costs.Job(seconds=seconds)
            return sum(dollars for *_, dollars in costs.rows(costs.Prices(), costs.Requests(), job, Assumptions()))

        self.assertAlmostEqual(costs.working_seconds(costs.Job(seconds=15.0), Assumptions()), 1.5 + 15 * 30 * 0.072 / 2)
        self.assertGreater(total(60.0), 2 * total(15.0) * 0.9)

    def test_the_page_shows_these_tables(self):
        text = costs.PAGE.text()
        self.assertEqual(costs.PAGE.with_tables(costs.tables()), text, "run: python3 infra/scaling/costs.py --write")


if __name__ == "__main__":
    unittest.main()
