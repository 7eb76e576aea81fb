"""Freed memory is kept while training, and only then.

Each case has a process of its own: in the heap of a long test run, a hole may be found where the kernel would be asked.
"""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np

from rl_utils.kept_memory import kept_memory

BLOCK = 40_000_000
"""Bytes: more than the C library keeps by itself."""

T = TypeVar("T")


def in_a_fresh_process(work: Callable[[], T]) -> T:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def faults(work: Callable[[], object]) -> int:
    """Pages that the kernel had to hand out."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def take_and_free() -> None:
    for _ in range(4):
        np.zeros(BLOCK // 4, np.float32).fill(1)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def faults_otherwise_and_when_kept() -> tuple[int, int]:
    take_and_free()
    otherwise = faults(take_and_free)
    with kept_memory():
        take_and_free()
        return otherwise, faults(take_and_free)


def growth_within_and_afterwards() -> tuple[int, int]:
    before = resident_bytes()
    with kept_memory():
        take_and_free()
        within = resident_bytes() - before
    return within, resident_bytes() - before


def growth_after_an_error() -> int:
    with suppress(ZeroDivisionError), kept_memory():
        np.zeros(BLOCK // 4, np.float32).fill(1 / 0)
    before = resident_bytes()
    take_and_free()
    return resident_bytes() - before


def test_a_block_that_is_taken_again_costs_no_pages() -> None:
    otherwise, kept = in_a_fresh_process(faults_otherwise_and_when_kept)
    assert kept < otherwise / 10


def test_afterwards_memory_goes_back() -> None:
    within, afterwards = in_a_fresh_process(growth_within_and_afterwards)
    assert within > BLOCK / 2, "kept within the block"
    assert afterwards < BLOCK / 2


def test_it_ends_with_an_error_too() -> None:
    assert in_a_fresh_process(growth_after_an_error) < BLOCK / 2
