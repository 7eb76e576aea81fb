"""ViZDoom in its own window on $DISPLAY, played at random: a real 3D game for `test_vizdoom`. Runs until killed."""

from __future__ import annotations

import itertools
import random
import sys

import vizdoom


def main() -> None:
    game = vizdoom.DoomGame()
    game.load_config(f"{vizdoom.scenarios_path}/deadly_corridor.cfg")
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_640X480)
    game.set_window_visible(True)
    game.set_mode(vizdoom.Mode.ASYNC_PLAYER)
    game.set_seed(1)
    game.init()
    buttons = len(game.get_available_buttons())
    for played in itertools.count():
        if played == 1:  # now there is a picture in its window
            sys.stdout.write("playing\n")
            sys.stdout.flush()
        if game.is_episode_finished():
            game.new_episode()
        game.make_action([random.randint(0, 1) for _ in range(buttons)])


if __name__ == "__main__":
    main()
