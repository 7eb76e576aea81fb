"""The window that shows pictures: colours, focus, keys, on real X servers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from Xlib import X
from Xlib.protocol.event import ClientMessage

from rl_utils.errors import UserError
from rl_utils.viewer import WM_CLASS, Viewer, ViewerEvent
from rl_utils.x11 import WINDOW_DIED, open_display
from tests.conftest import start_xvfb
from tests.x11_window import ShownWindow, activate, try_xdotool, until, xdotool

pytestmark = pytest.mark.x11

SIZE = (320, 200)


def two_colours() -> np.ndarray:
    """Left half red, right half blue."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[:, : SIZE[0] // 2, 0] = 255
    image[:, SIZE[0] // 2 :, 2] = 255
    return image


def window_id() -> int:
    return int(until(lambda: try_xdotool("search", "--onlyvisible", "--class", WM_CLASS)).splitlines()[0])


def shown_pixels() -> np.ndarray:
    """What the X server shows in the viewer's window, (H, W, 3) uint8 RGB."""
    with closing(open_display()) as display:
        height, width, data = until(lambda: _read_pixels(display))
    return np.frombuffer(data, np.uint8).reshape(height, width, 4)[..., 2::-1]


def _read_pixels(display: Any) -> tuple[int, int, bytes] | None:
    """Height, width and pixels; None where the window was moved, resized or unmapped between two of the questions."""
    window: Any = display.create_resource_object("window", window_id())
    try:
        geometry = window.get_geometry()
        image = window.get_image(0, 0, geometry.width, geometry.height, X.ZPixmap, 0xFFFFFFFF)
    except WINDOW_DIED:
        return None
    return geometry.height, geometry.width, image.data


def press_close_button(window: int) -> None:
    """What a window manager sends when a person clicks on the cross."""
    display = open_display()
    target: Any = display.create_resource_object("window", window)
    protocols, delete = display.get_atom("WM_PROTOCOLS"), display.get_atom("WM_DELETE_WINDOW")
    message = ClientMessage(window=target, client_type=protocols, data=(32, [delete, X.CurrentTime, 0, 0, 0]))
    target.send_event(message)
    display.sync()
    display.close()


def events_until(viewer: Viewer, names: list[str]) -> list[ViewerEvent]:
    """Collect the events with these names until there are as many."""
    found: list[ViewerEvent] = []

    def enough() -> bool:
        found.extend(e for e in viewer.events() if e.name in names)
        return len(found) >= len(names)

    until(enough)
    return found


@pytest.fixture(params=[True, False], ids=["openbox", "bare"])
def any_display(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An X server with and without a window manager."""
    display, stop = start_xvfb("1280x900", window_manager=request.param)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield display
    stop()


@pytest.mark.parametrize("take_focus", [True, False])
def test_shows_the_right_pixels(x_display: str, take_focus: bool) -> None:
    """Red shown as blue is the article's playback."""
    with Viewer("pixels", SIZE, take_focus=take_focus) as viewer:

        def right() -> bool:
            viewer.events()
            viewer.show(two_colours())
            return np.array_equal(shown_pixels(), two_colours())

        until(right)


def test_pictures_fit_a_resized_window(x_display: str) -> None:
    """A person who makes the window larger wants to see more, with clicks still where they point."""
    with Viewer("resized", SIZE) as viewer:
        viewer.show(two_colours())
        window = window_id()
        xdotool("windowsize", window, 2 * SIZE[0], 2 * SIZE[1] + 100)

        def right() -> bool:
            viewer.events()  # repaints by itself
            pixels = shown_pixels()
            enlarged = two_colours().repeat(2, axis=0).repeat(2, axis=1)
            if pixels.shape[:2] != (2 * SIZE[1] + 100, 2 * SIZE[0]):
                return False
            edge = np.s_[:, SIZE[0] - 2 : SIZE[0] + 2]
            inner = pixels[50:-50].copy()
            inner[edge] = enlarged[edge]
            return np.array_equal(inner, enlarged) and not pixels[:50].any()

        until(right)
        xdotool("mousemove", "--window", window, 200, 50 + 100, "click", 1)
        (click,) = events_until(viewer, ["click"])
        assert (click.x, click.y) == (100, 50)


def test_in_the_background_it_leaves_the_focus_alone(any_display: str) -> None:
    """eval.py --show that takes the focus from the game makes the bot let go of everything."""
    with ShownWindow("Rocket League") as game:
        until(lambda: try_xdotool("search", "--onlyvisible", "--name", "Rocket League"))
        xdotool("windowfocus", game.id)
        until(lambda: try_xdotool("getwindowfocus") == str(game.id))
        with Viewer("quiet", SIZE, take_focus=False) as viewer:

            def settled() -> bool:
                viewer.events()
                viewer.show(two_colours())
                return np.array_equal(shown_pixels(), two_colours())

            until(settled)
            for _ in range(20):  # a window manager that activates it late would do so by now
                viewer.events()
                assert xdotool("getwindowfocus") == str(game.id)


def test_keys_and_clicks_reach_it(x_display: str) -> None:
    """Playback without working keys is a film."""
    keys = {
        "space": "space",
        "Left": "left",
        "Page_Up": "page up",
        "minus": "-",
        "KP_Add": "+",
        "q": "q",
        "Escape": "escape",
    }
    with Viewer("keys", SIZE) as viewer:
        viewer.show(two_colours())
        window = window_id()
        activate(window)
        for key in keys:
            xdotool("key", key)
        assert [e.name for e in events_until(viewer, list(keys.values()))] == list(keys.values())
        xdotool("mousemove", "--window", window, 30, 40, "mousedown", 1, "mousemove", "--window", window, 60, 70)
        xdotool("mouseup", 1)
        click, drag = events_until(viewer, ["click", "drag"])
        assert click == ViewerEvent("click", 30, 40)
        assert drag.name == "drag"


def test_closing_the_window_is_told_and_survived(x_display: str) -> None:
    """A closed window must not leave a program that runs on unseen, nor end in a traceback."""
    with Viewer("closing", SIZE) as viewer:
        viewer.show(two_colours())
        press_close_button(window_id())
        assert [e.name for e in events_until(viewer, ["quit"])] == ["quit"]
        assert viewer.closed
        assert viewer.events() == []
        viewer.show(two_colours())


def test_no_display_is_said_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh there is no display; the way on is another option, not a traceback."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="DISPLAY is not set") as caught:
        Viewer("none", SIZE, instead="write a video")
    assert caught.value.remedy.endswith("write a video")


def test_a_display_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL would quietly draw into nothing, and a person would wait for a window that never comes."""
    monkeypatch.setenv("DISPLAY", ":9999")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    with pytest.raises(UserError, match="No window could be opened"):
        Viewer("dead", SIZE)


def test_without_pygame_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """pygame-ce comes with the arena extra; without it the person has to be told its name."""
    monkeypatch.setitem(sys.modules, "pygame", None)  # Python's own way to make a module impossible to import
    with pytest.raises(UserError, match="pip install pygame-ce"):
        Viewer("none", SIZE)
