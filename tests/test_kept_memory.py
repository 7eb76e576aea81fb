"""Freed memory is kept while training, and only then."""

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rl_utils.kept_memory import kept_memory

BLOCK = 40_000_000
"""Bytes: more than the C library keeps by itself."""
PAGES = BLOCK // resource.getpagesize()


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


def test_a_block_that_is_taken_again_costs_no_pages() -> None:
    with kept_memory():
        take_and_free()
        kept = faults(take_and_free)
    assert kept < PAGES / 10


def test_afterwards_memory_goes_back() -> None:
    before = resident_bytes()
    with kept_memory():
        take_and_free()
        assert resident_bytes() > before + BLOCK / 2, "kept within the block"
    assert resident_bytes() < before + BLOCK / 2
    assert faults(take_and_free) > 0


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), kept_memory():
        np.zeros(BLOCK // 4, np.float32).fill(1 / 0)
    before = resident_bytes()
    take_and_free()
    assert resident_bytes() < before + BLOCK / 2
