"""Two gamepads in one game: who is warned of what, and when the warning is not needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rl_utils.controls import XBOX_360_PAD
from rl_utils.errors import UserError
from rl_utils.pad_finder import OWN_PHYS, SeenDevice
from rl_utils.split_screen import HIDING, pads_beside_ours, require_no_other_bot

OWN = XBOX_360_PAD[:2]


def pad(name: str, vendor: int, product: int, *, refusal: str = "", phys: str = "") -> SeenDevice:
    return SeenDevice(
        path="/dev/input/event7",
        name=name,
        phys=phys,
        uniq="",
        ids={"bus": 3, "vendor": vendor, "product": product, "version": 1},
        driver="",
        keys=frozenset(),
        axes=frozenset(),
        properties=frozenset(),
        readable=True,
        refusal=refusal,
    )


def test_the_remedy_names_the_pads_own_ids() -> None:
    """Ids that have to be looked up first are not put into the launch options."""
    (sentence,) = pads_beside_ours([pad("DualSense", 0x54C, 0xCE6)], own_ids=OWN)
    assert "DualSense" in sentence
    assert "SDL_GAMECONTROLLER_IGNORE_DEVICES=0x054c/0x0ce6 %command%" in sentence


def test_a_pad_with_the_ids_of_ours_cannot_be_hidden_alone() -> None:
    """The usual remedy would hide the bot's pad, too, and nothing would drive."""
    (sentence,) = pads_beside_ours([pad("Xbox 360", *OWN)], own_ids=OWN)
    assert "%command%" not in sentence
    assert "unplug" in sentence


def test_keyboards_and_our_own_pad_are_not_worth_a_warning() -> None:
    """A warning that is always there is not read."""
    others = [pad("Keyboard", 1, 2, refusal="a keyboard"), pad("ours", *OWN, refusal="the virtual pad of this tool")]
    assert pads_beside_ours(others, own_ids=OWN) == []


def test_a_game_that_was_started_with_the_remedy_needs_no_warning() -> None:
    """Who did what they were told must not be told again."""
    environment = {**os.environ, HIDING: "0x1234/0x0001,0x054C/0x0CE6"}
    code = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as game:
        assert game.stdout is not None
        game.stdout.readline()
        seen = [pad("DualSense", 0x54C, 0xCE6), pad("Switch Pro", 0x57E, 0x2009)]
        sentences = pads_beside_ours(seen, own_ids=OWN)
        game.communicate("\n")
    assert len(sentences) == 1
    assert "Switch Pro" in sentences[0]


def test_a_second_bot_is_refused() -> None:
    """A forgotten one in another terminal would fight the new one for the car, and neither would say so."""
    others = [pad("DualSense", 0x54C, 0xCE6), pad("Xbox 360", *OWN)]
    require_no_other_bot(others)
    with pytest.raises(UserError, match="/dev/input/event7 is its virtual pad"):
        require_no_other_bot([*others, pad("Xbox 360", *OWN, phys=OWN_PHYS)])
