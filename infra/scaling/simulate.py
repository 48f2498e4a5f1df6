"""A day of a queue and its autoscaler: how long the oldest message waits, how many workers there are, what interruptions cost.

    python3 infra/scaling/simulate.py            prints the table
    python3 infra/scaling/simulate.py --write    writes it into infra/SCALING.md
    python3 infra/scaling/simulate.py --check    fails if the table there is another one

Events, not averages: every message arrives, is taken by a worker, is handed back if its worker is interrupted, and is done once. The
rules of the autoscalers are read from infra/lambda/template.yaml and infra/kubernetes/base/scaling.yaml, so that the page speaks about
what is deployed. Times of jobs come from a measured CPU time a frame; no GPU was measured, so none is simulated. What is assumed
and not measured is listed in `Assumptions`. Randomness is seeded: the same table every time.
"""

import collections
import dataclasses
import heapq
import math
import pathlib
import random
import re
import sys

from page import Page

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = Page(ROOT / "infra/SCALING.md", "simulate.py")
DAY = 86_400.0


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """What the simulation takes for granted. Seconds, unless a name says otherwise."""

    cpu_ms_per_frame: float = 72.0  # 70 to 74 for the clip of 1768x994 pixels when this was planned; README.md has 64 to 70 since
    cores: int = 2  # as measured; a worker with more is faster by less than their number
    frames_per_second: float = 30.0
    mean_clip: float = 15.0  # assumed: length of a clip
    spread: float = 0.8  # assumed: sigma of the logarithm of its length
    overhead: float = 1.5  # assumed: fetching, storing and settling a job
    machine_start: float = 180.0  # assumed: an instance from order to first message, image pulled and models loaded
    function_start: float = 1.5  # a function's cold start: 0.7 to 1.3 s seen under AWS's emulator (infra/SCALING.md), rounded up
    interruptions_per_hour: float = 0.05  # assumed: a spot instance's chance of being taken away, each hour
    burst_factor: float = 8.0  # assumed: three bursts a day of ten minutes, at so many times the usual rate
    seed: int = 20_240_229


@dataclasses.dataclass
class Outcome:
    """What a day was like."""

    done: int
    oldest: list[float]  # age of the oldest waiting message, sampled each minute
    peak: int  # most workers at once
    worker_seconds: float  # paid
    busy_seconds: float  # worked, lost work included
    lost_seconds: float  # worked for nothing, because of interruptions
    interruptions: int


def arrivals(count: int, assume: Assumptions, rng: random.Random) -> list[float]:
    """When `count` messages arrive, sorted: more in the afternoon than at night, and three bursts."""
    bursts = [9.5 * 3600, 13.0 * 3600, 20.25 * 3600]
    weights = []
    for minute in range(1440):
        second = minute * 60
        rate = 1.0 + 0.7 * math.sin((second - 9 * 3600) / DAY * 2 * math.pi)
        if any(begin <= second < begin + 600 for begin in bursts):
            rate *= assume.burst_factor
        weights.append(rate)
    minutes = rng.choices(range(1440), weights, k=count)
    return sorted(minute * 60 + rng.random() * 60 for minute in minutes)


def durations(count: int, assume: Assumptions, rng: random.Random) -> list[float]:
    """How long a worker takes for each: the length of the clip is log-normal."""
    mu = math.log(assume.mean_clip) - assume.spread**2 / 2
    by_second = assume.frames_per_second * assume.cpu_ms_per_frame / 1000 / assume.cores
    return [assume.overhead + rng.lognormvariate(mu, assume.spread) * by_second for _ in range(count)]


class Steps:
    """The alarms and steps of infra/lambda/template.yaml (ecs-gpu): asked each minute."""

    period = 60.0

    def __init__(self, text: str):
        def read(name: str) -> tuple[list[tuple[float, int]], float]:
            body = re.search(rf"\n  {name}:\n(.*?)\n\n", text, re.S).group(1)
            steps = re.findall(r"IntervalLowerBound: (\d+).*?ScalingAdjustment: (-?\d+)", body)
            # bounds count from the alarm's threshold, which is 1 for both
            return [(1 + float(bound), int(change)) for bound, change in steps], float(re.search(r"Cooldown: (\d+)", body).group(1))

        (self.up, self.up_pause), (self.down, self.down_pause) = read("MoreWorkers"), read("FewerWorkers")
        idle = re.search(r"\n  Idle:\n(.*?)\n\n", text, re.S).group(1)
        self.patience = int(re.search(r"EvaluationPeriods: (\d+)", idle).group(1))
        self.idle_minutes, self.next_up, self.next_down = 0, 0.0, 0.0

    def wanted(self, now: float, have: int, ready: int, visible: int, taken: int) -> int:
        """How many workers there are to be."""
        idle = ready - visible - taken
        self.idle_minutes = self.idle_minutes + 1 if idle >= 1 else 0
        if visible >= 1 and now >= self.next_up:
            self.next_up = now + self.up_pause
            return have + [change for bound, change in self.up if visible >= bound][-1]
        if self.idle_minutes >= self.patience and now >= self.next_down:
            self.next_down = now + self.down_pause
            return have + [change for bound, change in self.down if idle >= bound][-1]
        return have


class Keda:
    """infra/kubernetes/base/scaling.yaml: a worker for each message that waits or is worked on, within the limits of change."""

    def __init__(self, text: str):
        def number(pattern: str) -> float:
            return float(re.search(pattern, text).group(1))

        self.period = number(r"pollingInterval: (\d+)")
        self.each = number(r"queueLength: '(\d+)'")
        self.cooldown = number(r"cooldownPeriod: (\d+)")
        up, down = re.search(r"scaleUp:(.*?)scaleDown:(.*?)triggers:", text, re.S).groups()
        self.up = {kind: float(value) for kind, value in re.findall(r"type: (\w+), value: (\d+), periodSeconds: 60", up)}
        self.down_percent = float(re.search(r"type: Percent, value: (\d+), periodSeconds: 60", down).group(1))
        self.calm = float(re.search(r"stabilizationWindowSeconds: (\d+)", down).group(1))
        self.asked = collections.deque()  # (when, how many) within the stabilisation window
        self.changes = collections.deque([(-60.0, 0)])  # (when, how many there were to be) within the last minute
        self.empty_since = None

    def wanted(self, now: float, have: int, ready: int, visible: int, taken: int) -> int:
        """How many workers there are to be."""
        need = math.ceil((visible + taken) / self.each)
        self.empty_since = None if need else (now if self.empty_since is None else self.empty_since)
        self.asked.append((now, need))
        while self.asked[0][0] < now - self.calm:
            self.asked.popleft()
        while len(self.changes) > 1 and self.changes[1][0] <= now - 60:
            self.changes.popleft()
        before = self.changes[0][1]  # a minute ago
        if need > have:
            most = max(before * (1 + self.up["Percent"] / 100), before + self.up["Pods"])
            result = min(need, max(have, int(most)))
        else:
            floor = max(max(n for _, n in self.asked), math.floor(before * (1 - self.down_percent / 100)))
            last = self.empty_since is not None and now - self.empty_since >= self.cooldown
            result = min(have, max(floor, 0 if last else 1)) if have else have
        self.changes.append((now, result))
        return result


class Functions:
    """Lambda's event source for a queue: five at first, 300 more each minute, 1,000 at most; they cost only while they work.

    After "Configuring scaling behavior for SQS event source mappings" in AWS Lambda's developer guide.
    """

    period = 10.0
    most = 1000

    def wanted(self, now: float, have: int, ready: int, visible: int, taken: int) -> int:
        """How many there are to be."""
        return min(self.most, visible + taken, max(5, have + 50))


def simulate(count: int, policy, most: int, start: float, spot: bool, assume: Assumptions) -> Outcome:
    """One day of `count` messages and the time until all are done; `start` is how long a worker takes to begin."""
    rng = random.Random(assume.seed)
    at, takes = arrivals(count, assume, rng), durations(count, assume, rng)
    waiting: collections.deque[int] = collections.deque()
    returned: collections.deque[int] = collections.deque()  # handed back by interrupted workers: they are older
    idle: list[int] = []
    working: dict[int, tuple[int, float]] = {}  # worker -> message and when it was taken
    alive: dict[int, float] = {}  # worker -> paid since
    starting: set[int] = set()
    events: list[tuple[float, int, int]] = [(0.0, 0, 0)]
    ready_event, done_event, lost_event = 1, 2, 3
    result = Outcome(0, [], 0, 0.0, 0.0, 0.0, 0)
    following, next_worker, sample = 0, 0, 0.0

    def take(now: float) -> None:
        while idle and (returned or waiting):
            worker, message = idle.pop(), returned.popleft() if returned else waiting.popleft()
            if worker not in alive:
                (returned if at[message] < now else waiting).appendleft(message)
                continue
            working[worker] = (message, now)
            heapq.heappush(events, (now + takes[message], done_event, worker))

    def end(worker: int, now: float) -> None:
        result.worker_seconds += now - alive.pop(worker)

    while result.done < count:
        now = events[0][0] if following >= count else min(events[0][0], at[following])
        if following < count and at[following] <= events[0][0]:
            waiting.append(following)
            following += 1
            take(now)
            continue
        now, kind, worker = heapq.heappop(events)
        if kind == ready_event:
            starting.discard(worker)
            if worker in alive:
                idle.append(worker)
        elif kind == done_event and worker in working and working[worker][1] + takes[working[worker][0]] <= now + 1e-6:
            message, since = working.pop(worker)
            result.busy_seconds += now - since
            result.done += 1
            idle.append(worker)
        elif kind == lost_event and worker in alive:
            result.interruptions += 1
            if worker in working:
                message, since = working.pop(worker)
                result.busy_seconds += now - since
                result.lost_seconds += now - since
                returned.append(message)
            starting.discard(worker)
            end(worker, now)
        elif kind == 0:
            oldest = min([at[returned[0]]] if returned else [], default=math.inf)
            oldest = min(oldest, at[waiting[0]] if waiting else math.inf)
            if now >= sample:
                result.oldest.append(max(0.0, now - oldest) if oldest < math.inf else 0.0)
                sample += 60.0
            visible = len(waiting) + len(returned)
            wanted = min(most, policy.wanted(now, len(alive), len(alive) - len(starting), visible, len(working)))
            for _ in range(wanted - len(alive)):
                next_worker += 1
                alive[next_worker] = now
                starting.add(next_worker)
                heapq.heappush(events, (now + start, ready_event, next_worker))
                if spot:
                    lasts = rng.expovariate(assume.interruptions_per_hour / 3600)
                    heapq.heappush(events, (now + lasts, lost_event, next_worker))
            # whoever works is protected from scaling in
            while len(alive) > wanted and idle:
                leaves = idle.pop()
                if leaves in alive:
                    end(leaves, now)
            result.peak = max(result.peak, len(alive))
            heapq.heappush(events, (now + policy.period, 0, 0))
        take(now)
    for worker in list(alive):
        end(worker, now)
    return result


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of the others lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def span(seconds: float) -> str:
    """Seconds as people write them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cases() -> list[tuple[int, str, int, Assumptions]]:
    """Rows of the table: videos a day, policy, most workers, what is assumed."""
    usual, long = Assumptions(), Assumptions(mean_clip=300.0)
    rows = [(count, name, most, usual) for count, most in ((100, 10), (10_000, 20), (100_000, 200)) for name in ("steps", "KEDA", "Lambda")]
    rows += [(1_000_000, "steps", 1000, usual), (1_000_000, "KEDA", 1000, usual), (1_000_000, "Lambda", 1000, usual)]
    rows += [(10_000, "steps", 400, long), (10_000, "KEDA", 400, long)]
    return [*rows, (10_000, "KEDA", 400, dataclasses.replace(long, interruptions_per_hour=1.0))]


def policy_of(name: str, assume: Assumptions):
    """A policy with nothing remembered, and how long its workers take to begin, and whether they can be interrupted."""
    if name == "steps":
        return Steps((ROOT / "infra/lambda/template.yaml").read_text()), assume.machine_start, True
    if name == "KEDA":
        return Keda((ROOT / "infra/kubernetes/base/scaling.yaml").read_text()), assume.machine_start, True
    return Functions(), assume.function_start, False


def table() -> str:
    """The rows as Markdown."""
    head = ["videos a day", "mean length", "taken away an hour", "autoscaler", "most workers", "workers, peak", "oldest message: median", "99 %", "worst", "worker hours", "busy", "interrupted", "work done twice"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for count, name, most, assume in cases():
        policy, start, spot = policy_of(name, assume)
        day = simulate(count, policy, most, start, spot, assume)
        paid = day.busy_seconds if name == "Lambda" else day.worker_seconds
        cells = [f"{count:,}", span(assume.mean_clip), f"{100 * assume.interruptions_per_hour:.0f} %" if spot else "none", name, f"{most:,}", f"{day.peak:,}", span(percentile(day.oldest, 0.5)), span(percentile(day.oldest, 0.99)),
                 span(max(day.oldest)), f"{paid / 3600:,.1f}", f"{100 * day.busy_seconds / paid:.0f} %", f"{day.interruptions:,}",
                 f"{100 * day.lost_seconds / day.busy_seconds:.1f} %"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(PAGE.main("A day of a queue and its autoscaler.", table()))
