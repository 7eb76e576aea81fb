"""The recording benchmark measures what it says, on a real recording of a window that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rl_utils import bench
from rl_utils.bench_record import (
    PERIOD_NS,
    _counting_window,
    bench_record,
    lateness_ns,
    missed_ticks,
    recorded_region,
)
from rl_utils.bench_window import BITS, BLOCK_PX, TITLE, number_in
from rl_utils.errors import UserError
from rl_utils.get_current_window import WindowMonitor
from tests.conftest import start_xvfb
from tests.x11_window import until


@pytest.mark.x11
def test_a_recording_is_checked_number_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures that people go by would be made up."""
    monkeypatch.setenv("DISPLAY", "")
    rows = {str(row["figure"]): row for row in bench_record(5)}
    assert rows["samples recorded"]["ours"] == 300
    assert 75 < int(str(rows["numbers shown meanwhile"]["ours"])) < 5000  # a window that sleeps counts less
    assert rows["beyond late, missed and repeated samples"]["holds"] == "yes"
    assert rows["flagged wrongly as new or repeated"]["holds"] == "yes"
    # One for every time that the recorder was put to sleep within a tick; inputs of another time are off in nearly all.
    assert float(str(rows["inputs off by more than one event"]["ours"])) < 30
    assert 0 < float(str(rows["CPU ms per frame"]["ours"])) < float(str(rows["CPU ms per frame"]["beside"]))
    for name in ("late, p99 ms", "late while a file ends, p99 ms"):
        assert 0 <= float(str(rows[name]["ours"])) <= PERIOD_NS / 1e6


@pytest.mark.x11
def test_the_article_is_measured_at_all_that_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a larger screen, four times the pixels on our side would be compared with a part of them on the other."""
    display, stop = start_xvfb("2560x1440", window_manager=False)
    monkeypatch.setenv("DISPLAY", display)
    try:
        with _counting_window(tmp_path, tmp_path / "shown"):
            assert recorded_region() == {"left": 0, "top": 0, "width": 2560, "height": 1440}
        with WindowMonitor(f"^{TITLE}$") as monitor:
            until(lambda: monitor.update().id == 0)  # the server hears of a program's end a moment later
        with pytest.raises(UserError, match="moving window was closed"):
            recorded_region()
    finally:
        stop()


def test_too_short_a_recording_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """After half a minute of waiting it would end in a division by zero."""
    assert bench.main(["record", "--seconds", "1"]) == 2
    assert "1 s are too short to measure a recording. Use --seconds 3 or more" in capsys.readouterr().err


def test_lateness_is_found_in_stored_times() -> None:
    """A recorder that stalls would look punctual."""
    late = np.full(600, 100_000)
    late[100:110] = 9_000_000
    index = np.arange(600) + (np.arange(600) >= 300) * 2
    times = 123_456_789 + index * PERIOD_NS + late
    found = lateness_ns(times)
    assert np.abs(found - late).max() <= 200_000
    assert missed_ticks(times).tolist() == [0] * 299 + [2] + [0] * 299


@pytest.mark.parametrize("scale", [1, 4])
def test_numbers_are_read_from_small_pictures(scale: int) -> None:
    """Every number would be taken for another one."""
    for number in (0, 1, 0b1010_0110_0000_1111, (1 << BITS) - 1):
        image = np.full((1080 // scale, 1920 // scale, 3), 77, np.uint8)
        side = BLOCK_PX // scale
        for bit in range(BITS):
            image[:side, bit * side : (bit + 1) * side] = 255 * (number >> bit & 1)
        assert number_in(image, width_px=1920) == number
