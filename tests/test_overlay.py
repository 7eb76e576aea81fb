"""The drawn pad: every control shows, rest looks at rest, and predictions cannot be taken for what was pressed."""

from __future__ import annotations

import numpy as np
import pytest

from rl_utils.controls import BUTTONS, HATS, NAMES, REST, STICKS, TRIGGERS, Control
from rl_utils.overlay import PAD_SIZE, PREDICTED, RECORDED, Box, Colour, blank, draw_pad, draw_text, text_width

LEFT_OF_MIDDLE = (Control.TL, Control.LEFT_TRIGGER, Control.LEFT_X, Control.LEFT_Y, Control.THUMBL, *HATS)
RIGHT_OF_MIDDLE = (
    *(Control.TR, Control.RIGHT_TRIGGER, Control.RIGHT_X, Control.RIGHT_Y, Control.THUMBR),
    *(Control.SOUTH, Control.EAST, Control.NORTH, Control.WEST),
)


def drawn(inputs: np.ndarray, size: tuple[int, int] = PAD_SIZE, **options: object) -> np.ndarray:
    canvas = blank(*size)
    draw_pad(canvas, inputs.astype(np.float32), **options)  # type: ignore[arg-type]
    return canvas


def with_(**values: float) -> np.ndarray:
    inputs = REST.copy()
    for name, value in values.items():
        inputs[NAMES.index(name)] = value
    return inputs


def places(canvas: np.ndarray, colour: Colour) -> np.ndarray:
    """(K, 2) x, y of the pixels of this colour."""
    return np.argwhere((canvas == colour).all(axis=2))[:, ::-1]


@pytest.mark.parametrize("control", Control)
def test_every_control_shows(control: Control) -> None:
    """A button that is not drawn makes a dead or stuck one look fine."""
    pressed = REST.copy()
    pressed[control] = 1.0
    rest = drawn(REST)
    assert len(places(rest, RECORDED)) == 0
    coloured = places(drawn(pressed), RECORDED)
    assert len(coloured) > 50
    if control in LEFT_OF_MIDDLE:
        assert coloured[:, 0].max() < PAD_SIZE[0] / 2
    if control in RIGHT_OF_MIDDLE:
        assert coloured[:, 0].min() > PAD_SIZE[0] / 2


def test_all_pressed_controls_are_told_apart() -> None:
    """Two controls on one spot could not be told from each other."""
    canvases = []
    for control in Control:
        pressed = REST.copy()
        pressed[control] = 1.0
        canvases.append(drawn(pressed).tobytes())
    assert len(set(canvases)) == len(Control)


def test_face_buttons_are_where_the_thumb_finds_them() -> None:
    """Swapped face buttons would look like the jump of another pad."""
    middles = {
        control: places(drawn(with_(**{control.name.lower(): 1.0})), RECORDED).mean(axis=0)
        for control in (Control.SOUTH, Control.EAST, Control.NORTH, Control.WEST)
    }
    assert middles[Control.NORTH][1] < middles[Control.EAST][1] < middles[Control.SOUTH][1]
    assert middles[Control.WEST][0] < middles[Control.SOUTH][0] < middles[Control.EAST][0]


@pytest.mark.parametrize(("name", "axis"), [("left_x", 0), ("left_y", 1), ("right_x", 0), ("right_y", 1)])
def test_sticks_show_which_way_and_how_far(name: str, axis: int) -> None:
    """A stick drawn mirrored or always fully out would hide bad steering."""
    low, half, high = (places(drawn(with_(**{name: v})), RECORDED)[:, axis] for v in (0.0, 0.75, 1.0))
    assert low.max() - low.min() > 40
    assert low.mean() < half.mean() < high.mean()
    assert low.min() < half.min()
    assert half.max() < high.max()


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_triggers_fill_from_below_as_far_as_they_are_pressed(trigger: Control) -> None:
    """Half throttle has to look like half throttle."""
    heights = []
    for value in (0.25, 0.5, 1.0):
        inputs = REST.copy()
        inputs[trigger] = value
        rows = places(drawn(inputs), RECORDED)[:, 1]
        heights.append(rows.max() - rows.min() + 1)
        assert rows.max() > 0.8 * PAD_SIZE[1]
    assert heights[0] == pytest.approx(heights[2] / 4, abs=2)
    assert heights[1] == pytest.approx(heights[2] / 2, abs=2)


@pytest.mark.parametrize(
    ("name", "value", "axis", "side"),
    [("hat_x", 0.0, 0, -1), ("hat_x", 1.0, 0, 1), ("hat_y", 0.0, 1, -1), ("hat_y", 1.0, 1, 1)],
)
def test_d_pad_shows_its_direction(name: str, value: float, axis: int, side: int) -> None:
    """Left on the d-pad must not light up as right."""
    other = places(drawn(with_(**{name: 1.0 - value})), RECORDED)[:, axis].mean()
    assert np.sign(places(drawn(with_(**{name: value})), RECORDED)[:, axis].mean() - other) == side


def test_the_rest_of_a_byte_wide_pad_looks_at_rest() -> None:
    """A DualSense reports 128 of 255 for a stick at rest, which is 0.50196 and not a movement."""
    inputs = REST.copy()
    inputs[list(STICKS)] = 128 / 255
    assert len(places(drawn(inputs), RECORDED)) == 0


def test_a_prediction_has_its_own_place_and_colour() -> None:
    """Mixing up what the player and what the policy pressed makes a comparison worthless."""
    wide = (2 * PAD_SIZE[0], PAD_SIZE[1])
    canvas = drawn(with_(south=1.0), wide, predicted=with_(east=1.0))
    recorded, predicted = places(canvas, RECORDED), places(canvas, PREDICTED)
    assert len(recorded) > 50
    assert len(predicted) > 50
    assert recorded[:, 0].max() < PAD_SIZE[0] < predicted[:, 0].min()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5.0, 7.0])
def test_broken_values_are_drawn_inside_the_pad(bad: float) -> None:
    """A policy that has gone wild must be shown, not end the playback."""
    canvas = blank(3 * PAD_SIZE[0], 3 * PAD_SIZE[1])
    draw_pad(canvas, np.full(len(REST), bad, np.float32), box=Box(PAD_SIZE[0], PAD_SIZE[1], *PAD_SIZE))
    outside = canvas.copy()
    outside[PAD_SIZE[1] : 2 * PAD_SIZE[1], PAD_SIZE[0] : 2 * PAD_SIZE[0]] = blank(*PAD_SIZE)
    assert np.array_equal(outside, blank(3 * PAD_SIZE[0], 3 * PAD_SIZE[1]))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_pad_scales_to_its_box(scale: float) -> None:
    """In a small or large view the pad must fill the same share of it."""
    pressed = np.ones(len(REST), np.float32)
    size = (round(PAD_SIZE[0] * scale), round(PAD_SIZE[1] * scale))
    normal, scaled = places(drawn(pressed), RECORDED), places(drawn(pressed, size), RECORDED)
    for corner in (np.min, np.max):
        assert corner(scaled, axis=0) == pytest.approx(corner(normal, axis=0) * scale, abs=4)


def test_half_pressed_buttons_count_as_the_game_counts_them() -> None:
    """The one threshold for buttons is 0.5, here too."""
    for button in range(*BUTTONS.indices(len(REST))):
        low, high = REST.copy(), REST.copy()
        low[button], high[button] = 0.49, 0.5
        assert len(places(drawn(low), RECORDED)) == 0
        assert len(places(drawn(high), RECORDED)) > 0


def test_text_of_any_language_can_be_drawn() -> None:
    """A file name with an umlaut must not end the playback."""
    canvas = blank(300, 40)
    width = draw_text(canvas, "Übung ✓", 10, 20)
    assert width == text_width("Übung ✓")
    assert not np.array_equal(canvas, blank(300, 40))
