"""The pool: workers detect, fit and skin, a process of its own draws, the parent decodes, puts frames in order and encodes.

Pictures lie in a ring of shared memory, so only slots, poses and vertices go through queues.
"""

from peer import command  # first: it sets what NumPy reads when it is imported

import multiprocessing
import os
import queue
import traceback
from multiprocessing import shared_memory

import numpy as np

from peer.body import Body
from peer.clock import StageClock
from peer.draw import Renderer
from peer.pipeline import Pipeline
from peer.video import Encoder, open_video

DRAWN_AT_ONCE = 8
# What a child tells the parent.
READY, FRAME, DONE, FAILED = range(4)


def child(work):
    """Runs `work(messages, ...)` and tells the parent of any failure."""

    def run(messages, *rest):
        try:
            work(messages, *rest)
        except BaseException:
            messages.put((FAILED, traceback.format_exc()))

    return run


def _pose(messages, args, ring, shape, tasks, posed):
    import cv2

    cv2.setNumThreads(1)
    work = Pipeline(args, threads=max(1, (os.cpu_count() or 1) // args.workers))
    memory = shared_memory.SharedMemory(name=ring)
    pictures = np.ndarray(shape, np.uint8, buffer=memory.buf)
    messages.put((READY,))
    while (task := tasks.get()) is not None:
        index, slot = task
        posed.put((index, slot, *work(pictures[slot])))
    messages.put((DONE, work.clock.wall, work.clock.cpu, work.inferences()))
    del pictures
    memory.close()


def _draw(messages, args, ring, shape, posed):
    os.environ["LP_NUM_THREADS"] = "0"  # the workers have the cores already
    clock = StageClock()
    memory = shared_memory.SharedMemory(name=ring)
    pictures = np.ndarray(shape, np.uint8, buffer=memory.buf)
    renderer = Renderer(shape[2], shape[1], Body(command.rig_file(args)).faces, args.renderer, clock, args.samples)
    messages.put((READY,))
    while (item := posed.get()) is not None:
        index, slot, people, vertices = item
        changed = renderer.overlay(pictures[slot], vertices, args.opacity)
        messages.put((FRAME, index, slot, people, changed))
    renderer.close()
    messages.put((DONE, clock.wall, clock.cpu, {}))
    del pictures
    memory.close()


def pose(*rest):
    child(_pose)(*rest)


def draw(*rest):
    child(_draw)(*rest)


class Parent:
    """Decodes, orders, encodes."""

    def __init__(self, args):
        self.args, self.clock = args, StageClock()
        self.reader, self.width, self.height, self.rate = open_video(args.input)
        self.slots = 2 * args.workers + 2 * DRAWN_AT_ONCE
        shape = (self.slots, self.height, self.width, 3)
        self.memory = shared_memory.SharedMemory(create=True, size=int(np.prod(shape)))
        self.ring = np.ndarray(shape, np.uint8, buffer=self.memory.buf)
        context = multiprocessing.get_context("spawn")
        self.messages, self.tasks, self.posed = context.Queue(), context.Queue(), context.Queue()
        common = (self.messages, args, self.memory.name, shape)
        posers = [context.Process(target=pose, args=(*common, self.tasks, self.posed), daemon=True) for _ in range(args.workers)]
        self.children = [*posers, context.Process(target=draw, args=(*common, self.posed), daemon=True)]

    def receive(self, wait=True):
        """One message; none where nothing is there and nobody waits."""
        while True:
            try:
                message = self.messages.get(wait, 1.0)
            except queue.Empty:
                if not wait:
                    return None
                if any(process.exitcode not in (None, 0) for process in self.children):
                    raise SystemExit("a child process died") from None
                continue
            if message[0] == FAILED:
                raise SystemExit(message[1])
            return message

    def run(self):
        for process in self.children:
            process.start()
        for _ in self.children:
            self.receive()
        frames, drawn = self.work()
        for _ in range(self.args.workers):
            self.tasks.put(None)
        self.posed.put(None)
        inferences = {}
        for _ in self.children:
            _, wall, cpu, counts = self.receive()
            self.clock.add(wall, cpu)
            inferences = {name: inferences.get(name, 0) + count for name, count in {**dict.fromkeys(inferences, 0), **counts}.items()}
        command.write_poses(self.args, (self.width, self.height), Body(command.rig_file(self.args)).joint_names, frames)
        command.report(frames, drawn, inferences, self.clock)

    def work(self):
        """All frames; gives their people and how many were drawn on."""
        encoder = Encoder(self.args.output, self.width, self.height, self.rate, self.args.preset, self.args.quality)
        free, early, frames, drawn, read, ended = list(range(self.slots)), {}, [], 0, 0, False
        while not ended or len(frames) < read:
            if free and not ended:
                ended = not self.decode(free[-1])
                if not ended:
                    self.tasks.put((read, free.pop()))
                    read += 1
            while message := self.receive(wait=len(frames) < read and (ended or not free)):
                _, index, *rest = message
                early[index] = rest
                while len(frames) in early:
                    slot, people, changed = early.pop(len(frames))
                    with self.clock("encode"):
                        encoder.write(self.ring[slot])
                    frames.append(people)
                    drawn += changed
                    free.append(slot)
        with self.clock("encode"):
            encoder.close()
        return frames, drawn

    def decode(self, slot):
        with self.clock("decode"):
            there, frame = self.reader.read(self.ring[slot])
            if there and not np.shares_memory(frame, self.ring):
                self.ring[slot][...] = frame
        return there

    def close(self):
        for process in self.children:
            process.join(5)
            if process.is_alive():
                process.terminate()
        del self.ring
        self.memory.close()
        self.memory.unlink()


def main():
    args = command.arguments(__doc__, lambda parser: parser.add_argument("--workers", type=int, default=2))
    parent = Parent(args)
    try:
        parent.run()
    finally:
        parent.close()


if __name__ == "__main__":
    main()
