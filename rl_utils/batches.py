"""Batches of moments for training: gathered, mirrored and shifted by a background thread, ahead of the network.

A batch depends on the seed, the pass and its place in it alone, so that a resumed run sees the batches of an
uninterrupted one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import Control
from rl_utils.dataset import Indices, Samples
from rl_utils.frame_store import FrameStore, FrameStores
from rl_utils.looks import AS_RECORDED, DrawnLooks, Looks, change_looks
from rl_utils.preprocess import hide_again
from rl_utils.state_input import StateSpec, mirrored_states

PREFETCH: Final = 3
"""Batches made ahead."""
MIRRORED_AXES: Final = (Control.LEFT_X, Control.RIGHT_X, Control.HAT_X)
"""Axes that change sides in a mirror; they rest in the middle of [0, 1]."""
WHOLE: Final = slice(None)


@dataclass(frozen=True)
class Batch:
    """Some moments, ready for the network.

    Attributes:
        stacks: (B, channels, height, width) uint8 of pictures, or (B, moments * 24) float32 of states.
        targets: (B, 19) float32.
        states: (B, 24) float32, the arena's state; NaN where it is not known.
        following: (B, plans, 19) float32, the targets of this moment and those after it; NaN past the segment's end
            and where there is nothing to be learnt, such as a policy's own driving.
        indices: (B,) int64, running indices.
    """

    stacks: NDArray[Any]
    targets: NDArray[np.float32]
    states: NDArray[np.float32]
    following: NDArray[np.float32]
    indices: Indices


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied.

    Attributes:
        mirror: Share of samples seen mirrored.
        shift_px: Largest shift in each direction, in px of the network's input.
        swap_shoulders: The shoulder buttons have sides, and change places in a mirror.
    """

    mirror: float = 0.0
    shift_px: int = 0
    swap_shoulders: bool = False


@dataclass(frozen=True)
class Variation:
    """What happens to each moment of a batch.

    Attributes:
        mirrored: (B,) bool.
        shifts: (B, 2) int64, px down and right.
    """

    mirrored: NDArray[np.bool_]
    shifts: NDArray[np.int64]

    @classmethod
    def draw(cls, how: Augmentation, count: int, chance: np.random.Generator) -> Self:
        """Draw lots for `count` moments."""
        mirrored = chance.random(count) < how.mirror
        return cls(mirrored, chance.integers(-how.shift_px, how.shift_px + 1, (count, 2)))

    def of(self, part: slice) -> Self:
        """The lots of some of the moments."""
        return type(self)(self.mirrored[part], self.shifts[part])


def augment(batch: Batch, variation: Variation, *, swap_shoulders: bool = False) -> Batch:
    """Vary a batch: mirrored pictures with mirrored inputs, and small shifts with repeated edges.

    A shifted camera shows what a slightly wrong position looks like, which works like data of recoveries; all pictures
    of a stack move together, so that motion stays what it was. States have no pictures to shift.
    """
    stacks, targets, states, following = batch.stacks, batch.targets, batch.states, batch.following
    mirrored = np.flatnonzero(variation.mirrored)
    of_pictures = stacks.ndim > 2
    if len(mirrored):
        targets, states, following = targets.copy(), states.copy(), following.copy()
        targets[mirrored] = mirror_inputs(targets[mirrored], swap_shoulders=swap_shoulders)
        following[mirrored] = mirror_inputs(following[mirrored], swap_shoulders=swap_shoulders)
        states[mirrored] = mirrored_states(states[mirrored])
        if not of_pictures:
            stacks = stacks.copy()
            stacks[mirrored] = mirrored_states(stacks[mirrored])
    if of_pictures and (len(mirrored) or variation.shifts.any()):
        stacks = _moved(stacks, variation)
    return Batch(stacks, targets, states, following, batch.indices)


def mirror_inputs(inputs: NDArray[np.float32], *, swap_shoulders: bool = False) -> NDArray[np.float32]:
    """What the same play looks like in a mirror: steering and d-pad change sides.

    Args:
        inputs: (..., 19) float32.
        swap_shoulders: The shoulder buttons change places, too: right where they are air roll left and right, wrong for
            powerslide on one and boost on the other. Source: facts of this project, learning 8.

    Returns:
        A copy.
    """
    mirrored = inputs.copy()
    for axis in MIRRORED_AXES:
        mirrored[..., axis] = 1 - inputs[..., axis]
    if swap_shoulders:
        mirrored[..., Control.TL] = inputs[..., Control.TR]
        mirrored[..., Control.TR] = inputs[..., Control.TL]
    return mirrored


def _moved(stacks: NDArray[np.uint8], variation: Variation) -> NDArray[np.uint8]:
    """Mirror stacks and move each by (down, right) px; what is uncovered repeats the edge."""
    height, width = stacks.shape[2:]
    out = np.empty_like(stacks)
    how = zip(variation.mirrored.tolist(), variation.shifts.tolist(), strict=True)
    for stack, moved, (mirrored, (down, right)) in zip(stacks, out, how, strict=True):
        if mirrored:  # a third of the time of a view backwards
            stack = cv2.flip(stack.reshape(-1, width), 1).reshape(stack.shape)  # noqa: PLW2901  # the same, mirrored
        top, left = max(down, 0), max(right, 0)
        bottom, end = height + min(down, 0), width + min(right, 0)
        moved[:, top:bottom, left:end] = stack[:, top - down : bottom - down, left - right : end - right]
        moved[:, top:bottom, :left] = moved[:, top:bottom, left : left + 1]
        moved[:, top:bottom, end:] = moved[:, top:bottom, end - 1 : end]
        moved[:, :top] = moved[:, top : top + 1]
        moved[:, bottom:] = moved[:, bottom - 1 : bottom]
    return out


class Batches:
    """Makes batches of given moments.

    Args:
        store: The pictures.
        samples: What is learnt from them.
        augmentation: How pictures are varied in training, and the right answers with them.
        looks: How else they may look.
        seed: Of order and variation.
        plans: Of how many moments, from each one on, the targets are wanted.

    Attributes:
        spec: What the pictures look like.
    """

    def __init__(
        self,
        store: FrameStore | FrameStores,
        samples: Samples,
        *,
        augmentation: Augmentation,
        looks: Looks = AS_RECORDED,
        seed: int,
        plans: int = 0,
    ) -> None:
        self._store = store
        self._plans = plans
        self.spec = store.spec
        self._samples = samples
        self._augmentation = augmentation
        self._looks = looks
        self._seed = seed

    def plain(self, indices: Indices) -> Batch:
        """The moments as they were."""
        samples = self._samples
        stacks = self._store.stacks(indices, samples.firsts[indices])
        following = self._following(indices)
        return Batch(stacks, samples.targets[indices], samples.states[indices], following, indices)

    def _following(self, indices: Indices) -> NDArray[np.float32]:
        """(B, plans, 19)."""
        samples = self._samples
        later = indices[:, None] + np.arange(self._plans)
        inside = np.minimum(later, len(samples.targets) - 1)
        same = (later == inside) & (samples.firsts[inside] == samples.firsts[indices][:, None])
        known = same & samples.teaches[inside]
        return np.where(known[..., None], samples.targets[inside], np.float32(np.nan))

    def in_order(self, indices: Indices, size: int) -> Iterator[Batch]:
        """All of `indices`, as they were, `size` at a time; made ahead by a thread."""
        parts = [indices[i : i + size] for i in range(0, len(indices), size)]
        return ahead(lambda part=part: self.plain(part) for part in parts)  # type: ignore[misc]

    def shuffled(
        self, epoch: int, size: int, *, start: int = 0, stop: int | None = None, part: slice = WHOLE
    ) -> Iterator[Batch]:
        """One pass over the training moments in random order, varied, without an incomplete last batch.

        Args:
            epoch: Number of the pass; another one has another order.
            size: Of a batch.
            start: Leave out the first so many batches (those of before an interruption).
            stop: End after so many, those left out included.
            part: Make only these moments of each batch; together, the parts are what one process would see.
        """
        order = self._samples.order(np.random.default_rng([self._seed, epoch]))

        def make(number: int) -> Batch:
            # Sorted: neighbouring rows of the store are read in order; the order within a batch means nothing.
            chosen = np.sort(order[number * size : (number + 1) * size])
            chance = np.random.default_rng([self._seed, epoch, number])
            variation = Variation.draw(self._augmentation, len(chosen), chance).of(part)
            batch = augment(self.plain(chosen[part]), variation, swap_shoulders=self._augmentation.swap_shoulders)
            return self._look_otherwise(batch, len(chosen), chance, part)

        numbers = range(start, len(order) // size if stop is None else stop)
        return ahead(lambda number=number: make(number) for number in numbers)  # type: ignore[misc]

    def _look_otherwise(self, batch: Batch, count: int, chance: np.random.Generator, part: slice) -> Batch:
        """Change how the pictures look; what is masked in play is masked here, wherever it went before."""
        spec, stacks = self.spec, batch.stacks
        if isinstance(spec, StateSpec) or not (self._looks.any or spec.masks):
            return batch
        if self._looks.any:
            stacks = change_looks(stacks, DrawnLooks.draw(self._looks, count, chance).of(part), spec)
        hide_again(stacks, spec)
        return replace(batch, stacks=stacks)


def ahead(makers: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
    """Run `makers` one after the other in a thread, `PREFETCH` results ahead; what one raises is raised here."""
    results: queue.Queue[Batch | BaseException | None] = queue.Queue(PREFETCH)
    left = threading.Event()

    def put(item: Batch | BaseException | None) -> bool:
        while not left.is_set():
            try:
                results.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for maker in makers:
                if not put(maker()):
                    return
        except BaseException as error:  # noqa: BLE001  # handed to the loop, which raises it
            put(error)
        else:
            put(None)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while (item := results.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        thread.join()


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """`size` batches at a time; the thread behind `batches` ends with this iterator."""
    group: list[Batch] = []
    try:
        for batch in batches:
            group.append(batch)
            if len(group) == size:
                yield group
                group = []
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
