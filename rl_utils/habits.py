"""What a person asks of a running recording: mark an episode, pause, discard what was just played; by key or by pad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from rl_utils.config import CollectConfig
from rl_utils.console import log
from rl_utils.controls import BUTTONS, NAMES, TRIGGERS, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector

PRESSED: Final = 0.5
"""A trigger that is further down than this counts as pressed."""

CHORD_CONTROLS: Final = (*NAMES[BUTTONS], *(NAMES[trigger] for trigger in TRIGGERS))
"""Names of the controls that a chord may be made of."""


class Wish(Enum):
    """What can be asked for."""

    MARK = "mark"
    """A new episode begins here."""
    PAUSE = "pause"
    """Pause, or go on."""
    DISCARD = "discard"
    """Forget the last seconds."""


class Wishes(Protocol):
    """Where wishes come from. Asked once per tick, and must answer at once."""

    def take(self) -> Sequence[Wish]:
        """What was asked for since the last time."""


class Chords:
    """Buttons of the pad that are held together.

    Args:
        chords: What each one asks for: wish → its controls.
    """

    def __init__(self, chords: Mapping[Wish, Sequence[Control]]) -> None:
        self._chords = {wish: list(controls) for wish, controls in chords.items() if controls}
        self._held: set[Wish] = set()

    @property
    def held(self) -> bool:
        """A chord is held at this moment: such inputs are meant for us, not for the game."""
        return bool(self._held)

    def update(self, values: InputVector) -> Sequence[Wish]:
        """What is asked for by inputs (19,) float32; a chord that stays held asks once."""
        if not self._chords:
            return ()
        held = {wish for wish, controls in self._chords.items() if (values[controls] > PRESSED).all()}
        asked = [wish for wish in Wish if wish in held - self._held]
        self._held = held
        return asked


@dataclass(frozen=True)
class Habits:
    """How the person may ask for things.

    Attributes:
        keys: By keyboard, if at all.
        chords: By pad.
        discard_s: Recorded time that one wish to discard takes back.
    """

    keys: Wishes | None = None
    chords: Chords = field(default_factory=lambda: Chords({}))
    discard_s: float = 10.0

    def take(self, values: InputVector | None) -> Sequence[Wish]:
        """What was asked for since the last time.

        Args:
            values: (19,) float32, the pad's inputs, or None while they are not meant for the game.
        """
        by_key = self.keys.take() if self.keys is not None else ()
        by_pad = self.chords.update(values) if values is not None else ()
        return (*by_key, *by_pad)


def parse_chord(text: str) -> tuple[Control, ...]:
    """Read "select+thumbr" as the controls that are meant.

    Raises:
        ValueError: A name is unknown, or there is only one: it would be pressed in play.
    """
    names = [name.strip().lower() for name in text.split("+")]
    unknown = [name for name in names if name not in CHORD_CONTROLS]
    if unknown:
        raise ValueError(f"{unknown[0] or 'nothing'} is no button")
    if len(set(names)) < 2:
        raise ValueError("one button alone is pressed in play, too")
    return tuple(Control(NAMES.index(name)) for name in names)


def _display_answers() -> bool:
    """Where it does not, opening the window says so, and that is enough."""
    from rl_utils.x11 import open_display

    try:
        open_display().close()
    except UserError:
        return False
    return True


@contextmanager
def open_habits(config: CollectConfig) -> Iterator[Habits]:
    """Open what the person asks for things by while `collect.py` runs: hot keys, where they can be, and chords.

    Raises:
        UserError: A key or chord is not understood.
    """
    from rl_utils.hot_keys import HotKeys, parse_hot_key

    keys = {wish: getattr(config, f"{wish.value}_key") for wish in Wish}
    chords = {wish: getattr(config, f"{wish.value}_chord") for wish in Wish}
    try:
        wanted = {wish: parse_hot_key(text) for wish, text in keys.items() if text.lower() != "none"}
    except ValueError as error:
        raise UserError(f"A hot key is not understood ({error})", "Write it like ctrl+F9, or none") from error
    try:
        held = Chords({wish: parse_chord(text) for wish, text in chords.items() if text.lower() != "none"})
    except ValueError as error:
        raise UserError(f"A chord is not understood ({error})", "Write it like select+thumbr, or none") from error
    hot_keys = None
    if wanted and config.frames == "window" and _display_answers():
        try:
            hot_keys = HotKeys(wanted)
        except UserError as error:
            log(f"There are no hot keys: {error}")
    with hot_keys or nullcontext():
        yield Habits(hot_keys, held, config.discard_seconds)
