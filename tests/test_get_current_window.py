"""Finding and following windows, on real X servers with real windows.

Long because each thing that can happen to a window is one test here, all of them on the same monitor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_utils.errors import UserError
from rl_utils.game_window import GameWindow, WindowState
from rl_utils.get_current_window import WindowMonitor
from tests.conftest import start_xvfb
from tests.x11_window import ShownWindow, activate, set_screen_size, until, xdotool

pytestmark = pytest.mark.x11

PROTON = "Rocket League (64-bit, DX11, Cooked)"
NEAR_MISSES = (
    "Rocket League wiki - Firefox",
    "rocket league",
    "Rocket League 2",
    "Rocket League (64-bit) - Steam",
    "My Rocket League",
    "BakkesMod Injector",
)


@pytest.fixture
def monitor(x_display: str) -> Iterator[WindowMonitor]:
    with WindowMonitor() as opened:
        yield opened


def await_state(monitor: WindowMonitor, state: WindowState) -> GameWindow:
    return until(lambda: (window := monitor.update()).state is state and window)


@pytest.mark.parametrize("title", ["Rocket League", PROTON, "Rocket League (32-bit, DX9, Cooked)"])
def test_finds_the_game_by_every_title_it_has(monitor: WindowMonitor, title: str) -> None:
    """A player under Proton would be told that the game does not run."""
    with ShownWindow(title, size="400x300", at="50,60", wm_class="steam_app_252950") as shown:
        window = await_state(monitor, WindowState.FOCUSED)
        assert window.id == shown.id
        assert window.title == title
        assert window.wm_class == "steam_app_252950"
        assert window.size == (400, 300)
        assert not window.is_arena
        assert not window.covered
        assert not window.off_screen


@pytest.mark.parametrize("title", NEAR_MISSES)
def test_near_misses_are_not_the_game(monitor: WindowMonitor, title: str) -> None:
    """A browser with the wiki open would be recorded as play."""
    with ShownWindow(title):
        until(lambda: title in monitor.titles())
        assert monitor.update().state is WindowState.NOT_FOUND
        assert monitor.update().id == 0


def test_own_pattern(x_display: str) -> None:
    """--window would be ignored."""
    with WindowMonitor("^Doom") as monitor, ShownWindow("Doom 1993"):
        assert await_state(monitor, WindowState.FOCUSED).title == "Doom 1993"


def test_the_arena_is_told_from_the_game(monitor: WindowMonitor) -> None:
    """The rules for the real game would be asked of the arena, or worse, the arena's of the game."""
    with ShownWindow(wm_class="rlai-arena"):
        assert await_state(monitor, WindowState.FOCUSED).is_arena


def test_idle_update_returns_the_same_object(monitor: WindowMonitor) -> None:
    """A loop could not tell cheaply that nothing has changed."""
    with ShownWindow():
        window = await_state(monitor, WindowState.FOCUSED)
        until(lambda: monitor.update() is monitor.update())
        assert monitor.update() == monitor.window
        assert monitor.window.id == window.id


def test_follows_moves_and_sizes(monitor: WindowMonitor) -> None:
    """The wrong part of the screen would be recorded after the window moved."""
    with ShownWindow() as shown:
        await_state(monitor, WindowState.FOCUSED)
        xdotool("windowmove", shown.id, 300, 200)
        until(lambda: monitor.update().left >= 300)
        xdotool("windowsize", shown.id, 640, 360)
        until(lambda: monitor.update().size == (640, 360))

        def is_there() -> bool:
            told = subprocess.run(["xwininfo", "-id", str(shown.id)], capture_output=True, text=True, check=True).stdout
            place = [int(told.split(f"Absolute upper-left {axis}:")[1].split()[0]) for axis in "XY"]
            monitor.update()
            return [monitor.window.left, monitor.window.top] == place

        until(is_there)  # the window manager may move it once more after it has given it the new size


def test_another_window_takes_the_focus(monitor: WindowMonitor) -> None:
    """What a player types elsewhere would count as play, and a policy would go on pressing."""
    with ShownWindow() as game:
        await_state(monitor, WindowState.FOCUSED)
        with ShownWindow("Editor", at="900,500") as editor:
            xdotool("windowactivate", editor.id)
            assert await_state(monitor, WindowState.NOT_FOCUSED).id == game.id
            xdotool("windowactivate", game.id)
            await_state(monitor, WindowState.FOCUSED)
            xdotool("windowactivate", editor.id)
            await_state(monitor, WindowState.NOT_FOCUSED)
        xdotool("windowactivate", game.id)
        await_state(monitor, WindowState.FOCUSED)


def test_minimised_and_restored(monitor: WindowMonitor) -> None:
    """A minimised window has no pixels: reading it would be an error at every frame."""
    with ShownWindow() as shown:
        await_state(monitor, WindowState.FOCUSED)
        xdotool("windowminimize", shown.id)
        await_state(monitor, WindowState.MINIMISED)
        xdotool("windowactivate", shown.id)
        await_state(monitor, WindowState.FOCUSED)


def test_renamed_away_and_back(monitor: WindowMonitor) -> None:
    """A launcher that turns into the game, or a game that changes its title, would be lost or recorded wrongly."""
    with ShownWindow("Launcher") as shown:
        until(lambda: "Launcher" in monitor.titles())
        assert monitor.update().state is WindowState.NOT_FOUND
        shown.rename(PROTON)
        assert await_state(monitor, WindowState.FOCUSED).title == PROTON
        shown.rename("Crash report")
        await_state(monitor, WindowState.NOT_FOUND)
        shown.rename("Rocket League")
        assert await_state(monitor, WindowState.FOCUSED).title == "Rocket League"


def test_closed_and_restarted(monitor: WindowMonitor) -> None:
    """After a crash of the game the player would have to restart the recorder too."""
    serials = set()
    for _ in range(3):
        with ShownWindow():
            serials.add(await_state(monitor, WindowState.FOCUSED).serial)
        await_state(monitor, WindowState.NOT_FOUND)
    assert len(serials) == 3


def test_of_two_windows_the_focused_one_wins(monitor: WindowMonitor) -> None:
    """With arena and game both open, the one that is not played would be recorded."""
    with ShownWindow() as first, ShownWindow(PROTON, at="900,500") as second:
        for game in (first, second, first, second):
            xdotool("windowactivate", game.id)
            until(lambda: (w := monitor.update()).state is WindowState.FOCUSED and w.id == game.id)  # noqa: B023  # asked before the next turn
        second.close()
        until(lambda: monitor.update().id == first.id)


def test_of_unfocused_windows_the_known_class_wins(monitor: WindowMonitor) -> None:
    """A folder window named like the game would be waited for while the game is there."""
    with (
        ShownWindow(),
        ShownWindow(wm_class="steam_app_252950") as game,
        ShownWindow("Editor") as editor,
        WindowMonitor() as late,
    ):
        activate(editor.id)
        with WindowMonitor() as later:
            window = await_state(later, WindowState.NOT_FOCUSED)
            assert window.id == game.id
        late.update()


def test_knows_when_it_is_covered(monitor: WindowMonitor) -> None:
    """A notification over the game would be recorded as part of it."""
    with ShownWindow(at="100,100"):
        await_state(monitor, WindowState.FOCUSED)
        assert not monitor.window.covered
        with ShownWindow("notification", at="150,150", size="100x60", override=1):
            until(lambda: monitor.update().covered)
            assert monitor.window.state is WindowState.FOCUSED
        until(lambda: not monitor.update().covered)
        with ShownWindow("elsewhere", at="900,700", size="100x60", override=1) as elsewhere:
            until(lambda: "elsewhere" in xdotool("getwindowname", elsewhere.id))
            monitor.update()
            assert not monitor.window.covered


def test_knows_when_it_is_partly_outside(monitor: WindowMonitor) -> None:
    """The server refuses to read such a window in the ordinary way."""
    with ShownWindow() as shown:
        await_state(monitor, WindowState.FOCUSED)
        for x, y in ((-50, 100), (100, -50), (1800, 100), (100, 1000)):
            xdotool("windowmove", shown.id, x, y)
            until(lambda: monitor.update().off_screen)
            xdotool("windowmove", shown.id, 200, 200)
            until(lambda: not monitor.update().off_screen)


def test_the_screen_changes_its_size(bare_display: str) -> None:
    """After a monitor was unplugged the window's place would be judged by a screen that is no more."""
    with WindowMonitor() as monitor, ShownWindow(at="700,300"):
        await_state(monitor, WindowState.FOCUSED)
        assert not monitor.window.off_screen
        set_screen_size(800, 600)
        until(lambda: monitor.update().off_screen)
        set_screen_size(1920, 1080)
        until(lambda: not monitor.update().off_screen)


def test_without_a_window_manager(bare_display: str) -> None:
    """Tests and servers without a screen have none; the window would never count as focused."""
    with WindowMonitor() as monitor:
        assert monitor.update().state is WindowState.NOT_FOUND
        with ShownWindow(at="50,60") as game:
            window = await_state(monitor, WindowState.FOCUSED)
            assert window.rect == (50, 60, 320, 240)
            with ShownWindow("Editor", at="900,500") as editor:
                xdotool("windowfocus", editor.id)
                await_state(monitor, WindowState.NOT_FOCUSED)
                xdotool("windowfocus", game.id)
                await_state(monitor, WindowState.FOCUSED)
            xdotool("windowunmap", game.id)
            await_state(monitor, WindowState.MINIMISED)
            xdotool("windowmap", game.id)
            until(lambda: monitor.update().state in (WindowState.FOCUSED, WindowState.NOT_FOCUSED))
            xdotool("windowmove", game.id, 70, 80)
            until(lambda: monitor.update().rect == (70, 80, 320, 240))
            game.rename("Launcher")
            await_state(monitor, WindowState.NOT_FOUND)
            game.rename("Rocket League")
            until(lambda: monitor.update().id == game.id)
        await_state(monitor, WindowState.NOT_FOUND)


def test_without_a_window_manager_the_topmost_wins(bare_display: str) -> None:
    """Where nobody has the focus, the window on top is what a person looks at."""
    with WindowMonitor() as monitor, ShownWindow() as below, ShownWindow(at="120,120") as above:
        until(lambda: monitor.update().id == above.id and monitor.window.state is WindowState.FOCUSED)
        xdotool("windowraise", below.id)
        until(lambda: monitor.update().id == below.id and monitor.window.state is WindowState.FOCUSED)


def test_inside_the_frame_of_a_simple_manager(bare_display: str) -> None:
    """Window managers without EWMH hide the game's window inside a frame of theirs."""
    with WindowMonitor() as monitor, ShownWindow(at="50,60", frame=1) as game:
        window = await_state(monitor, WindowState.FOCUSED)
        assert window.id == game.id
        assert window.rect == (55, 85, 320, 240)
        assert not window.covered


def test_windows_without_pixels_are_passed_over(bare_display: str) -> None:
    """Helper windows of launchers carry the game's title and are never shown."""
    with (
        WindowMonitor() as monitor,
        ShownWindow(unmapped=1),
        ShownWindow() as game,
        ShownWindow(input_only=1),
    ):
        until(lambda: monitor.update().id == game.id and monitor.window.state is WindowState.FOCUSED)


def test_window_manager_comes_and_goes(bare_display: str) -> None:
    """A desktop whose window manager crashes and restarts would stop the recording for good."""
    with WindowMonitor() as monitor, ShownWindow() as game:
        await_state(monitor, WindowState.FOCUSED)
        for _ in range(2):
            openbox = subprocess.Popen(["openbox"], stderr=subprocess.DEVNULL)
            until(lambda: monitor.update() and monitor.server.manager)
            until(lambda: game.id in [client.id for client in monitor.server.clients()])
            activate(game.id)
            await_state(monitor, WindowState.FOCUSED)
            openbox.kill()
            openbox.wait()
            until(lambda: monitor.update() and not monitor.server.manager)
            until(lambda: monitor.update().id == game.id)


def test_waiting_ends_when_the_window_appears(monitor: WindowMonitor) -> None:
    """Starting the recorder before the game would not work."""
    opened: list[ShownWindow] = []
    later = threading.Timer(0.3, lambda: opened.append(ShownWindow(PROTON)))
    later.start()
    try:
        assert monitor.wait(60).title == PROTON
    finally:
        later.join()
        for window in opened:
            window.close()


def test_waiting_in_vain_lists_what_was_seen(monitor: WindowMonitor) -> None:
    """A player whose game has another title would not learn how to name it."""
    with ShownWindow("Raketenliga"), ShownWindow("Mail"):
        until(lambda: set(monitor.titles()) == {"Raketenliga", "Mail"})
        with pytest.raises(UserError) as refused:
            monitor.wait(0.05)
    assert '"Raketenliga"' in refused.value.remedy
    assert '"Mail"' in refused.value.remedy
    assert "--window" in refused.value.remedy
    assert "PROTON_ENABLE_WAYLAND" not in refused.value.remedy


def test_waiting_in_vain_under_wayland_names_the_switch(
    monitor: WindowMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native Wayland window cannot be seen through X; nothing else tells the player why it is not found."""
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(UserError, match="PROTON_ENABLE_WAYLAND=1"):
        monitor.wait(0.05)


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh, a traceback of a library would be all that one sees."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UserError, match=r"DISPLAY is not set.*Xvfb :99"):
        WindowMonitor()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(UserError, match="XWayland"):
        WindowMonitor()


@pytest.mark.parametrize("name", ["nonsense", ":98765", ":", "localhost:9999", "no.such.host.invalid:0"])
def test_a_display_that_does_not_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale DISPLAY of a closed session would end in a traceback or leak a socket."""
    monkeypatch.setenv("DISPLAY", name)
    with pytest.raises(UserError, match="cannot be opened"):
        WindowMonitor()


def test_the_server_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging out while recording would lose the way to a clean end."""
    display, stop = start_xvfb()
    monkeypatch.setenv("DISPLAY", display)
    with WindowMonitor() as monitor, ShownWindow():
        await_state(monitor, WindowState.FOCUSED)
        stop()
        for _ in range(3):
            with pytest.raises(UserError, match="is gone"):
                monitor.update()
        with pytest.raises(UserError, match="is gone"):
            monitor.wait(1)
        with pytest.raises(UserError, match="is gone"):
            monitor.titles()


def test_an_empty_xauthority_is_no_news(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """python-xlib would write its warning between our results."""
    (tmp_path / "xauthority").touch()
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "xauthority"))
    with WindowMonitor() as monitor:
        monitor.update()
    assert capfd.readouterr() == ("", "")


def test_windows_that_die_while_being_looked_at_are_silent(
    monitor: WindowMonitor, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors of dying windows arrive late and would be printed over the status line."""
    for _ in range(5):
        shown = [ShownWindow(), ShownWindow("Editor"), ShownWindow(PROTON)]
        monitor.update()
        for window in shown:
            window.process.kill()
        for _ in range(20):
            monitor.update()
        for window in shown:
            window.close()
        until(lambda: monitor.update().state is WindowState.NOT_FOUND)
    out, err = capfd.readouterr()
    assert "X protocol error" not in err
    assert "Xlib" not in out + err


def test_many_monitors_leave_nothing_behind(x_display: str) -> None:
    """A service that opens windows all day would run out of file descriptors."""
    with WindowMonitor() as warm_up:
        warm_up.update()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with WindowMonitor() as monitor:
            monitor.update()
        monitor.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_titles_are_read_however_they_are_encoded(monitor: WindowMonitor) -> None:
    """A title with accents, or one written in the old way, would stop the search."""
    with ShownWindow("Fenêtre ünïcode ☃"), ShownWindow("Größe", old_title=1), ShownWindow(""):
        until(lambda: {"Fenêtre ünïcode ☃", "Größe"} <= set(monitor.titles()))
        assert "" not in monitor.titles()


def test_import_needs_no_display() -> None:
    """Tools that only read recordings would fail on a machine without a screen."""
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import rl_utils.get_current_window"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
