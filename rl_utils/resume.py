"""Going on with a session: only where everything that readers rely on is as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_utils import schema
from rl_utils.batch_reader import read_batch
from rl_utils.config import WindowSize
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError
from rl_utils.interfaces import FrameInfo, PadInfo
from rl_utils.session_folder import plain, read_session

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Resumable:
    """A session that can be gone on with.

    Attributes:
        folder: Its folder.
        session: Its session.json.
        next_segment: The first segment number that it has not used.
        next_episode: The first episode number that it has not used.
    """

    folder: Path
    session: Mapping[str, Any]
    next_segment: int
    next_episode: int


def boot_id() -> str:
    """Changes whenever the machine starts: CLOCK_MONOTONIC then begins again. "" where the kernel does not say."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def newest_session(out: Path) -> Path | None:
    """The session folder in `out` that was begun last, or `out` itself where it is one; None without any."""
    if (out / schema.SESSION_FILE).exists():
        return out
    return max((file.parent for file in out.glob(f"*/{schema.SESSION_FILE}")), default=None, key=lambda path: path.name)


def open_resumable(
    folder: Path, *, fps: float, size: WindowSize, codec: schema.Codec, frames: FrameInfo, pad: PadInfo
) -> Resumable:
    """Prepare to go on with a session.

    Args:
        folder: Its folder.
        fps: The rate that is wanted now, in Hz.
        size: (width, height) of the pictures that are wanted now, in px.
        codec: How pictures are to be stored now.
        frames: The window as it is now.
        pad: The pad as it is now.

    Raises:
        UserError: Something is not as it was, and the two would be mixed; or the session is damaged.
    """
    try:
        session = read_session(folder)
        files = sorted(folder.glob(schema.BATCH_GLOB), key=schema.batch_time_ms)
        batches = [read_batch(file) for file in files]
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} cannot be gone on with ({error})", "Leave --resume away") from error
    now: dict[str, Any] = {
        "format": schema.FORMAT_VERSION,
        "layout": LAYOUT_VERSION,
        "rate": fps,
        "size": list(size),
        "codec": codec,
        "window": frames.wm_class,
        "gamepad": pad_identity(pad),
        "start of the machine": boot_id(),
    }
    then: dict[str, Any] = {
        "format": session.get("format_version"),
        "layout": session.get("layout_version"),
        "rate": session.get("fps"),
        "size": session.get("size"),
        "codec": session.get("codec"),
        "window": session.get("window", {}).get("wm_class"),
        "gamepad": pad_identity(session.get("pad", {})),
        "start of the machine": session.get("boot_id"),
    }
    other = [name for name in now if now[name] != then[name]]
    if other:
        raise UserError(f"{folder} was recorded with another {' and another '.join(other)}", "Leave --resume away")
    return Resumable(
        folder=folder,
        session=session,
        next_segment=max((int(batch.columns["segment"].max()) for batch in batches), default=-1) + 1,
        next_episode=max((int(batch.columns["episode"].max()) for batch in batches), default=-1) + 1,
    )


def pad_identity(pad: PadInfo | Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one pad from another, as it is or as session.json holds it.

    Its path changes whenever it is plugged in, and where its sticks rest whenever it is opened: neither counts.
    """
    about = plain(pad)
    ends = {name: (low, high) for name, (low, _, high) in about.get("ranges", {}).items()}
    return (*(about.get(name) for name in ("name", "profile", "ids", "codes", "state_names")), ends)
