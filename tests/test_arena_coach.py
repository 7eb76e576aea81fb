"""The scripted driver as the person who watches: takes the pad from who gets nowhere, gives it back, in both modes."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from rl_utils.arena.coach import HOLD_S, PATIENCE_S, closing_speed
from rl_utils.arena.direct import DirectArena
from rl_utils.arena.game import Game
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.arena.world import DECISION_TICKS
from rl_utils.controls import REST
from rl_utils.interfaces import InputVector, Policy, Source
from rl_utils.loops import drive


def coached(seed: int = 3) -> Game:
    game = Game("training", seed)
    game.set_coach(on=True)
    assert game.coach is not None
    return game


def spans(game: Game, seconds: float, *, delay: int = 0, listens: bool = True) -> list[bool]:
    """Whose the pad is at each decision, while somebody does nothing and passes the coach's wishes on `delay` later."""
    assert game.coach is not None
    pressed: deque[InputVector] = deque([REST] * delay)
    held = []
    for _ in range(round(seconds * TICK_HZ / DECISION_TICKS)):
        held.append(game.coach.holds)
        pressed.append(game.wish.copy() if game.coach.holds and listens else REST)
        game.advance(DECISION_TICKS, pressed.popleft())
    return held


def test_doing_nothing_is_interrupted_after_the_patience_and_for_the_time_given() -> None:
    """The rule is what makes corrections comparable: the same badness, the same help."""
    game = coached()
    per_s = TICK_HZ / DECISION_TICKS
    held = spans(game, 12.0)
    first = held.index(True)
    assert PATIENCE_S * per_s - 1 <= first <= PATIENCE_S * per_s + 2
    length = held[first:].index(False)
    assert HOLD_S * per_s <= length <= (HOLD_S + 2.5) * per_s, "longer only while the car is in the air"
    assert game.episode == 0


def test_who_plays_well_is_hardly_interrupted() -> None:
    """A person takes over from a policy that does badly, not from one that drives around the ball to shoot."""
    game = coached()
    assert game.coach is not None
    taken = 0
    for _ in range(30 * 60):
        taken += game.coach.holds
        game.advance(DECISION_TICKS, game.wish.copy())
    assert game.stats["touches"] >= 10
    assert taken < 0.2 * 30 * 60


def test_a_new_start_gives_the_pad_back() -> None:
    """The policy must be seen at every start, else its first seconds are never corrected."""
    game = coached()
    assert game.coach is not None
    while not game.coach.holds:
        game.advance(DECISION_TICKS, REST)
    game.restart()
    game.advance(DECISION_TICKS, REST)
    assert not game.coach.holds


def test_corrections_that_arrive_late_still_play_well() -> None:
    """Through window and socket a wish is carried out a few pictures later; it must still help."""
    game = coached()
    held = spans(game, 120.0, delay=2)
    assert game.stats["touches"] >= 8 * 2 * np.mean(held)


def test_the_coach_can_be_sent_away() -> None:
    """An arena whose watcher has hung up must not go on labelling play."""
    game = coached()
    game.advance(DECISION_TICKS, REST)
    assert game.labels is not None
    game.set_coach(on=False)
    game.advance(DECISION_TICKS, REST)
    assert game.labels is None
    assert game.coach is None


def test_closing_speed_knows_towards_and_away() -> None:
    """Driving away from the ball is no progress, however fast."""
    game = Game("kickoff", 1, driver="expert")
    game.advance(60)
    assert closing_speed(game.snapshot()) > 500


class Idle(Policy):
    """Presses nothing."""

    fps = 30.0

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, image: np.ndarray) -> InputVector:
        return REST


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_a_coached_drive_in_direct_mode_is_repeatable(fps: float) -> None:
    """Interactive imitation is measured by comparing drives, which must differ only where the policy does."""

    def run() -> tuple[list[int], list[float]]:
        seen: list[tuple[int, float]] = []

        class Note:
            def on_tick(self, frame: object, inputs: object, segment: int, *, late: bool = False) -> None:
                seen.append((inputs.source, float(inputs.values.sum())))  # type: ignore[attr-defined]

            def on_pause(self) -> None:
                """Direct mode has none."""

        arena = DirectArena("training", 5, fps=fps, size=(48, 27), coach=True, window_size=(96, 54))
        done = drive(
            arena,
            Idle(),
            arena.sink,
            fps=fps,
            stop=lambda: "",
            minutes=0.25,
            person=arena.person,
            subscribers=[Note()],
        )
        assert done.takeovers >= 1
        assert arena.stats["touches"] > 0
        return [s for s, _ in seen], [v for _, v in seen]

    first = run()
    assert Source.TAKEOVER in first[0]
    assert first == run()
