"""What a person asks of a running recording: mark an episode, pause, discard what was just played; by key or by pad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from rl_utils.controls import BUTTONS, NAMES, TRIGGERS, Control
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
