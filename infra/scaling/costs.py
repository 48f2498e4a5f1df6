"""What 1,000 clips cost on AWS, worked out from list prices, a CPU time a frame and the requests a job sends.

    python3 infra/scaling/costs.py            prints the tables
    python3 infra/scaling/costs.py --write    writes them into infra/lambda/README.md
    python3 infra/scaling/costs.py --check    fails if the tables there are others

Prices change and differ by region: put yours into `Prices`. No GPU was measured, so its row says how fast one has to be, not how fast it is.
"""

import dataclasses
import pathlib
import sys

from page import Page
from simulate import Assumptions

PAGE = Page(pathlib.Path(__file__).resolve().parents[1] / "lambda/README.md", "costs.py")


# The function of infra/lambda/template.yaml.
MEMORY_MB, DISK_MB = 3538, 4096


@dataclasses.dataclass(frozen=True)
class Prices:
    """List prices in us-east-1, US dollars, without free tiers and discounts. Check them before you count on them."""

    lambda_gb_second: float = 0.0000166667  # Lambda, x86, first tier
    lambda_request: float = 0.20 / 1e6
    lambda_disk_gb_second: float = 0.0000000309  # beyond the 512 MB that are included
    s3_put: float = 0.005 / 1e3  # PUT, POST, LIST
    s3_get: float = 0.0004 / 1e3  # GET, HEAD; DELETE costs nothing
    s3_gb_month: float = 0.023
    sqs_request: float = 0.40 / 1e6
    api_call: float = 1.00 / 1e6  # HTTP API
    logs_gb: float = 0.50
    instances: tuple[tuple[str, float], ...] = (("g4dn.xlarge", 0.526), ("g6.xlarge", 0.8048), ("g5.xlarge", 1.006))  # an hour, on demand
    fargate_cpu_hour: float = 0.04048
    fargate_gb_hour: float = 0.004445


@dataclasses.dataclass(frozen=True)
class Requests:
    """Requests to S3 of one job that an upload started, counted in moto's log of `infra/local/stack.sh`: a fixed number, and so many each time
    that lease and progress are renewed. DELETE, one a job, costs nothing."""

    put: float = 12.0  # the upload, two marks, the record four times, five results
    get: float = 30.0  # 11 GET and 19 HEAD
    put_renewal: float = 1.0
    get_renewal: float = 2.0  # one GET, one HEAD
    lease: float = 30.0  # seconds: the program's default

    def renewals(self, seconds: float) -> int:
        """How often a job that is worked on for so long renews its lease: after 1, 2, 4 ... seconds, then every third of the lease."""
        most = self.lease / 3
        pause, passed, count = min(1.0, most), 0.0, 0
        while passed + pause < seconds:
            passed, count = passed + pause, count + 1
            pause = min(2 * pause, most)
        return count


@dataclasses.dataclass(frozen=True)
class Job:
    """One clip."""

    seconds: float = 15.0
    input_mb: float = 15.0  # assumed: 8 Mbit/s
    output_mb: float = 12.0  # assumed: overlay and motion data
    days_kept: float = 30.0
    log_kb: float = 4.0


def working_seconds(job: Job, assume: Assumptions) -> float:
    """How long two cores take."""
    return assume.overhead + job.seconds * assume.frames_per_second * assume.cpu_ms_per_frame / 1000 / assume.cores


def rows(prices: Prices, requests: Requests, job: Job, assume: Assumptions) -> list[tuple[str, str, float]]:
    """What, arithmetic, dollars for 1,000 clips on Lambda."""
    seconds = working_seconds(job, assume)
    memory, disk = MEMORY_MB / 1024, DISK_MB / 1024 - 0.5
    renewals = requests.renewals(seconds)
    puts, gets = requests.put + requests.put_renewal * renewals, requests.get + requests.get_renewal * renewals
    stored = (job.input_mb + job.output_mb) / 1024
    return [
        ("compute", f"1,000 x {seconds:.1f} s x {memory:.2f} GB x ${prices.lambda_gb_second:.10f}", 1000 * seconds * memory * prices.lambda_gb_second),
        ("disk beyond 512 MB", f"1,000 x {seconds:.1f} s x {disk:.1f} GB x ${prices.lambda_disk_gb_second:.10f}", 1000 * seconds * disk * prices.lambda_disk_gb_second),
        ("invocations", f"1,000 x ${prices.lambda_request * 1e6:.2f} a million", 1000 * prices.lambda_request),
        ("S3 writes and listings", f"1,000 x {puts:.0f} x ${prices.s3_put * 1e3} a thousand", 1000 * puts * prices.s3_put),
        ("S3 reads", f"1,000 x {gets:.0f} x ${prices.s3_get * 1e3} a thousand", 1000 * gets * prices.s3_get),
        ("S3 storage", f"1,000 x {stored * 1024:.0f} MB for {job.days_kept:.0f} days x ${prices.s3_gb_month} a GB-month", 1000 * stored * job.days_kept / 30 * prices.s3_gb_month),
        ("SQS", f"1,000 x 4 x ${prices.sqs_request * 1e6:.2f} a million", 1000 * 4 * prices.sqs_request),
        ("HTTP API", f"1,000 x 10 x ${prices.api_call * 1e6:.2f} a million", 1000 * 10 * prices.api_call),
        ("logs", f"1,000 x {job.log_kb:.0f} kB x ${prices.logs_gb:.2f} a GB", 1000 * job.log_kb / 1024 / 1024 * prices.logs_gb),
    ]


def tables() -> str:
    """Both tables as Markdown."""
    prices, requests, job, assume = Prices(), Requests(), Job(), Assumptions()
    lines = [f"1,000 clips of {job.seconds:.0f} s at {assume.frames_per_second:.0f} frames/s, on Lambda with two virtual CPUs:", "", "| what | arithmetic | US dollars |", "|---|---|---|"]
    costs = rows(prices, requests, job, assume)
    lines += [f"| {what} | {how} | {dollars:.4f} |" for what, how, dollars in costs]
    total = sum(dollars for *_, dollars in costs)
    lines += [f"| **together** | | **{total:.2f}** |", ""]
    compute = costs[0][2] + costs[1][2] + costs[2][2]
    frames = 1000 * job.seconds * assume.frames_per_second
    lines += ["The same frames on a GPU instance that is busy all the time (no GPU was measured):", "",
              "| instance | US dollars an hour | frames/s from which it costs less than the function |", "|---|---|---|"]
    for name, hour in prices.instances:
        lines.append(f"| {name}, on demand | {hour} | {hour * frames / 3600 / compute:.0f} |")
    window = prices.fargate_cpu_hour * 4 + prices.fargate_gb_hour * 8
    minute = 60 * assume.frames_per_second
    lines += ["", f"A long video in windows on Fargate: 4 virtual CPUs and 8 GB cost ${window:.4f} an hour on demand. A minute of video is {minute:,.0f} frames, or "
              f"{minute * assume.cpu_ms_per_frame / 1000:.0f} s of CPU time; if four cores were used as fully as two were here, that is "
              f"{minute * assume.cpu_ms_per_frame / 1000 / 4:.0f} s and ${window * minute * assume.cpu_ms_per_frame / 1000 / 4 / 3600:.4f} a minute of video."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(PAGE.main("What 1,000 clips cost on AWS.", tables()))
