"""Two gamepads at once make split screen: which pads a game sees beside the bot's, and how to hide them from it.

SDL, through which Steam and Proton read gamepads, leaves out the ids named in an environment variable of the game's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rl_utils.errors import UserError
from rl_utils.pad_finder import OWN_PHYS, SeenDevice

HIDING: Final = "SDL_GAMECONTROLLER_IGNORE_DEVICES"
"""Source: SDL's documentation; measured with a DualSense beside our pad: only ours is left (SDL 2.26.5, 2.28.4)."""


def sdl_ids(pad: SeenDevice) -> str:
    """Vendor and product as SDL's variable wants them, like "0x054c/0x0ce6"."""
    return f"0x{pad.ids['vendor']:04x}/0x{pad.ids['product']:04x}"


def require_no_other_bot(seen: Sequence[SeenDevice]) -> None:
    """Refuse to drive beside another bot.

    Args:
        seen: From `pad_finder.list_pads`, before our own virtual pad is made.

    Raises:
        UserError: One of this tool is driving; the kernel removes its pad with its process.
    """
    for pad in seen:
        if pad.phys == OWN_PHYS:
            raise UserError(
                f"Another bot of this tool is driving ({pad.path} is its virtual pad), and the game would obey both",
                "End that one first",
            )


def pads_beside_ours(seen: Sequence[SeenDevice], *, own_ids: tuple[int, int], proc: Path = Path("/proc")) -> list[str]:
    """What to say about each gamepad that the game sees besides the virtual one.

    Args:
        seen: From `pad_finder.list_pads`.
        own_ids: Vendor and product of the virtual pad, which cannot be told from a real one of the same make.
        proc: Where the kernel shows processes.

    Returns:
        One sentence per pad that no running program hides.
    """
    hidden = _hidden_ids(proc)
    sentences = []
    for pad in seen:
        if not pad.is_pad or sdl_ids(pad) in hidden:
            continue
        if (pad.ids["vendor"], pad.ids["product"]) == own_ids:
            how = "it has the ids of the bot's pad, so SDL cannot hide it alone: unplug it, or use another make"
        else:
            how = f'add "{HIDING}={sdl_ids(pad)} %command%" to the game\'s launch options in Steam'
        sentences.append(f"The game sees {pad} beside the bot's pad and may go into split screen: {how}.")
    return sentences


def _hidden_ids(proc: Path) -> set[str]:
    """Ids that some running program of ours is told to leave out."""
    found: set[str] = set()
    for folder in proc.iterdir():
        if not folder.name.isdigit() or folder.name == str(os.getpid()):
            continue
        try:
            words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        for word in words:
            name, _, value = word.partition("=")
            if name == HIDING:
                found.update(value.lower().split(","))
    return found
