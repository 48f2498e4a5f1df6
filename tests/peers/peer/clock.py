"""Wall and CPU seconds by stage."""

import contextlib
import time


class StageClock:
    """Sums of wall seconds, and of CPU seconds of all threads of this process, by stage."""

    def __init__(self):
        self.wall, self.cpu = {}, {}

    @contextlib.contextmanager
    def __call__(self, stage):
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.add({stage: time.perf_counter() - wall}, {stage: time.process_time() - cpu})

    def add(self, wall, cpu):
        """Adds sums of another process."""
        for mine, theirs in ((self.wall, wall), (self.cpu, cpu)):
            for stage, seconds in theirs.items():
                mine[stage] = mine.get(stage, 0.0) + seconds
