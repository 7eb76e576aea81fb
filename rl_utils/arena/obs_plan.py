"""How a state of certain cars becomes observations of certain agents: worked out once, then a few numpy calls a state.

The state's row is continued by what each agent sees from its car's seat; each number of an observation is then one
place in that longer row, times a factor whose sign also turns the world for orange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rl_utils.arena.gamestate import BLUE_TEAM, HALF_TURN, Array
from rl_utils.arena.obs_layout import Part
from rl_utils.arena.state_row import AXES, BALL, CARS, StateRow, place_of_body

ZERO: Final = -2
ONE: Final = -1
"""Places of these numbers, counted from the end of the longer row."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the numbers of a part come from.

    Attributes:
        part: The part.
        places: Of its numbers in the row of a state.
        unit: What they are divided by.
        is_vector: It turns with the world.
        minus: Place in the row of the vector that is subtracted, both seen along the car's axes; None for what is not.
    """

    part: Part
    places: tuple[int, ...]
    unit: float = 1.0
    is_vector: bool = False
    minus: int | None = None


class Plan:
    """Turns states of the same cars into observations of the same agents.

    It works in memory of its own, which it fills anew for every state: one thread at a time.

    Args:
        agents: Who observes.
        cars: Who has a car, in the state's order.
        teams: Their teams.
        seats: What each agent sees, in order.
    """

    def __init__(
        self, agents: Sequence[Any], cars: Sequence[Any], teams: Sequence[int], seats: Sequence[Sequence[Source]]
    ) -> None:
        self.agents, self.cars, self.teams = [*agents], [*cars], [*teams]
        vectors, axis = place_of_body(len(cars)) // 3, np.arange(3)
        own = [place_of_body(self.cars.index(agent)) for agent in agents]
        seen = [source for seat in seats for source in seat if source.minus is not None]
        # What one agent sees is measured along its own axes; what several see along every vector of every car, which
        # needs no picking beforehand, and the right ones are picked afterwards.
        alone = len(own) == 1
        first, width = (own[0] + AXES, 3) if alone else (CARS, vectors - CARS // 3)
        length = sum(len(source.part) for source in seats[0])
        self._row = StateRow(len(cars), len(seen) * width + length + 2)
        numbers, seen_at = self._row.numbers, self._row.length
        numbers[ONE] = 1
        self._vectors = numbers[: vectors * 3].reshape(vectors, 3)
        differences = np.zeros((len(seen), vectors), np.float32)
        self._relative = np.zeros((len(seen), 3), np.float32)
        self._axes = numbers[first : first + width * 3].reshape(width, 3).T
        self._seen = numbers[seen_at : seen_at + len(seen) * width].reshape(len(seen), width)
        index, scale, line = [], [], 0
        for place, agent, seat in zip(own, agents, seats, strict=True):
            turn = np.ones(3) if self.teams[self.cars.index(agent)] == BLUE_TEAM else HALF_TURN
            for source in seat:
                index.append(np.array(source.places))
                if source.minus is not None:
                    differences[line, source.places[0] // 3] += 1
                    differences[line, source.minus // 3] -= 1
                    index[-1] = seen_at + line * width + (place + AXES - first) // 3 + axis
                    line += 1
                scale.append((turn if source.is_vector else np.ones(len(source.part))) / source.unit)
        self._index = (np.concatenate(index) % len(numbers)).reshape(len(own), length)
        self._scale = np.concatenate(scale, dtype=np.float32).reshape(len(own), length)
        # Bound methods, as looking them up costs as much as a tenth of what they do.
        self._fill, self._pick = self._row.fill, numbers.take
        self._subtract, self._measure = differences.dot, self._relative.dot
        # A blue car alone needs no picking: the longer row begins with its observation, and zeros follow.
        row = np.arange(BALL, BALL + length)
        behind = (self._index == len(numbers) + ZERO) & (row >= seen_at + self._seen.size)
        in_order = bool(np.all((self._index == row) | behind))
        self._picked = numbers[BALL : BALL + length] if in_order else None
        self._scale_alone = self._scale[0]

    def build(self, state: Any) -> dict[Any, Array] | None:
        """Observe.

        Args:
            state: An RLGym `GameState`, or one of ours, with these cars in this order.

        Returns:
            agent → (L,) float32 that nothing else uses; None if a car has changed its team.
        """
        if self._fill(state) != self.teams:
            return None
        self._subtract(self._vectors, self._relative)
        self._measure(self._axes, self._seen)
        if self._picked is not None:
            return {self.agents[0]: self._picked * self._scale_alone}
        # "clip" spares numpy a check of the plan's own places.
        out = self._pick(self._index, mode="clip")
        out *= self._scale
        return dict(zip(self.agents, out))  # noqa: B905  # saying "strict" takes longer than the rest of this line
