"""Tones of the recorder: heard only when asked for, and never a reason to fail."""

from __future__ import annotations

import numpy as np
import pytest

from rl_utils.sounds import TUNES, Sounds, tune


@pytest.mark.parametrize("name", TUNES)
def test_a_tune_begins_and_ends_softly(name: str) -> None:
    """A click in the headphones of a player at every mark would make everybody turn it off."""
    wave = tune(TUNES[name])
    assert np.abs(wave).max() > 1000
    assert abs(int(wave[0])) < 300
    assert abs(int(wave[-1])) < 300


def test_tunes_are_played(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sound device, the tune goes there and not to the terminal."""
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    with Sounds(on=True) as sounds:
        for name in TUNES:
            sounds.play(name)
    assert capsys.readouterr().err == ""


def test_without_a_sound_device_the_bell_rings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine without sound must still record, and still tell."""
    monkeypatch.setenv("SDL_AUDIODRIVER", "there is no such driver")
    with Sounds(on=True) as sounds:
        sounds.play("marked")
    written = capsys.readouterr().err
    assert "no sound device" in written
    assert written.endswith("\a")


def test_sounds_are_off_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody wants to be beeped at who did not ask for it."""
    with Sounds(on=False) as sounds:
        sounds.play("paused")
    assert capsys.readouterr().err == ""
