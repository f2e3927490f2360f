"""Make as many runs as fit into a time, the most valuable first, several processes side by side.

Each process makes one whole run after another. While some measure on their cores, others train on the card, so a few
more processes than the card needs keep it busy. When time is up they are ended: what is finished is in the store, what
is not leaves a checkpoint there and no record, and the same command goes on from it.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import torch

from gbmlib.cohorts import place_of
from gbmlib.study.records import Record, Store
from gbmlib.study.runner import Run, cohorts_of, needing, run_one, to_do

#: How an attempt at a run ended. A run that is not begun for want of time has none of these.
FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"


@dataclass(frozen=True)
class Attempt:
    """The outcome of a run within the time.

    Attributes:
        outcome: :data:`FINISHED`; :data:`STOPPED` when time was up; or :data:`FAILED`.
        expected, taken: seconds.
        error: why it failed, with its traceback; empty otherwise.
    """

    run: Run
    outcome: str
    expected: float
    taken: float
    error: str = ""


def choose(
    waiting: Iterable[Run], missing: Iterable[str], left: float, expected: Mapping[str, float], pace: float = 1
) -> Run | None:
    """The first run, in order of worth, that can begin now and end in time; None where there is none.

    Args:
        missing: ids of the runs that are not finished: what needs one of them cannot begin.
        left: seconds.
        expected: seconds of each run, by id; ``pace`` is how many times as long runs have really taken.
    """
    missing = set(missing)
    fitting = (run for run in waiting if expected[run.id] * pace <= left)
    return next((run for run in fitting if not missing & {need.id for need in run.dependencies}), None)


def planned(
    runs: Iterable[Run], expected: Mapping[str, float], seconds: float, processes: int, begin: float = 0
) -> dict[str, float]:
    """When :func:`run_within` would end each run that fits, in seconds from the beginning, by id in order of beginning.

    Args:
        runs: those that are missing, in order of worth, each after those that it needs.
        begin: seconds until a new process computes.
    """
    waiting = {run.id: run for run in runs}
    now, ends, missing = begin, {}, set(waiting)
    while True:
        while sum(end > now for end in ends.values()) < processes:
            run = choose(waiting.values(), missing, seconds - now, expected)
            if run is None:
                break
            del waiting[run.id]
            ends[run.id] = now + expected[run.id]
        now = min((end for end in ends.values() if end > now), default=seconds)
        if now >= seconds:
            return ends
        missing -= {name for name, end in ends.items() if end <= now}


def run_within(
    runs: Iterable[Run],
    store: Store,
    seconds: float,
    processes: int,
    expected: Mapping[str, float] | Callable[[Run], float],
    begin: float = 0,
    device: str | None = None,
    on_end: Callable[[Attempt, Record | None], None] = lambda attempt, record: None,
    checkpoint_seconds: float = 30,
    clock: Callable[[], float] = time.monotonic,
) -> list[Attempt]:
    """Make the runs that the store lacks, in order of worth, until they are made or the time is up.

    The most worth begins first; what could not end in time is passed over for what can. Runs that take longer than
    expected tell so, and the rest is expected to be as slow.

    Args:
        runs: in order of worth; their cohorts are known to this process.
        seconds: from now on; processes still at work are ended then.
        processes: at a time. Each needs a core, and on a graphics card about a gigabyte besides its run's own memory.
        expected: seconds of a run, by id or computed; ``begin`` more until a new process computes.
        on_end: called with each attempt that ended, and the record where it finished.
        clock: in seconds; for tests.
    """
    end = clock() + seconds
    missing = {run.id: run for run in to_do(runs, store)}
    waiting = dict(missing)
    times = {name: expected(run) if callable(expected) else expected[name] for name, run in missing.items()}
    workers: list[_Worker] = []
    attempts: list[Attempt] = []

    def close(worker: _Worker, outcome: str, taken: float, error: str = "", record: Record | None = None) -> None:
        run = worker.run
        attempts.append(Attempt(run, outcome, times[run.id], taken, error))
        worker.run = None
        if outcome == FINISHED:
            del missing[run.id]
        for name in needing(run.id, waiting) if outcome == FAILED else ():
            del waiting[name]
        on_end(attempts[-1], record)

    try:
        while (left := end - clock()) > 0:
            while (idle := [worker for worker in workers if worker.run is None]) or len(workers) < processes:
                run = choose(waiting.values(), missing, left - (0 if idle else begin), times, _pace(attempts))
                if run is None:
                    break
                worker = idle[0] if idle else _Worker(store, device, checkpoint_seconds)
                workers += [] if idle else [worker]
                worker.begin(waiting.pop(run.id), clock())
            busy = {worker.pipe: worker for worker in workers if worker.run is not None}
            if not busy:
                break
            for pipe in wait(list(busy), timeout=min(left, 1)):
                worker = busy[pipe]
                record, error, taken = worker.result()
                close(worker, FAILED if error else FINISHED, taken, error, record)
                if error:  # an error on a card stays with its process
                    worker.end()
                    workers.remove(worker)
        for worker in workers:
            if worker.run is not None:
                worker.process.kill()
                close(worker, STOPPED, clock() - worker.since)
    finally:
        for worker in workers:  # the idle ones end by themselves
            worker.pipe.close()
        for worker in workers:
            worker.end(patience=0 if worker.run is not None else 5)
    return attempts


def _pace(attempts: Sequence[Attempt]) -> float:
    """How many times as long as expected the finished runs took, together."""
    finished = [attempt for attempt in attempts if attempt.outcome == FINISHED]
    wanted = sum(attempt.expected for attempt in finished)
    return sum(attempt.taken for attempt in finished) / wanted if wanted else 1


class _Worker:
    """A process that makes one run after another."""

    def __init__(self, store: Store, device: str | None, checkpoint_seconds: float):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, store, device, checkpoint_seconds)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.run: Run | None = None
        self.since = 0.0

    def begin(self, run: Run, now: float) -> None:
        self.run, self.since = run, now
        self.pipe.send((run, {name: place_of(name) for name in cohorts_of(run)}))

    def result(self) -> tuple[Record | None, str, float]:
        """The record of the run, or why there is none, and the seconds that it took."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            return None, f"its process died (exit code {code}); is there memory enough for so many?\n", 0.0

    def end(self, patience: float = 0) -> None:
        """End the process, at once or after as many seconds in which it may end by itself."""
        self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, store: Store, device: str | None, checkpoint_seconds: float) -> None:
    """Make the runs that come through a pipe, until the process that sends them is no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            run, places = pipe.recv()
        except (EOFError, OSError):
            return
        record, error, began = None, "", time.monotonic()
        try:
            record = run_one(run, store, places, device, False, checkpoint_seconds)
        except Exception:
            error = traceback.format_exc()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # others share the card
        pipe.send((record, error, time.monotonic() - began))


def _end_with_parent() -> None:
    """End this process, in whatever it is, when the one that began it is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
