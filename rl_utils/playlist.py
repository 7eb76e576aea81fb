"""What playback shows: each sample of some recordings as a picture with pad, caption, timeline and policy's answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np

from rl_utils.interfaces import Image, InputVector, Policy
from rl_utils.recordings import Recording
from rl_utils.scene import SCENE_SIZE, Caption, clock_text, draw_scene
from rl_utils.schema import FORMAT_VERSION
from rl_utils.timeline import STRIP_HEIGHT, Stretch, Timeline

SHOWN_SIZE: Final = (SCENE_SIZE[0], SCENE_SIZE[1] + STRIP_HEIGHT)
"""(width, height) in px of what `Playlist.render` returns: the scene, and the timeline's strip below it."""
MAX_WARM_UP: Final = 120
"""A policy that remembers more than this many frames is shown with the memory of only so many."""
_KEPT_ANSWERS: Final = 100_000


class Answers:
    """A policy's inputs for any sample, as it would have given them when it had seen the frames before it.

    Args:
        policy: Who answers; its memory is reset wherever the recording does not continue.
        recordings: What it looks at.
        timeline: Of these recordings.
        memory: How many earlier frames an answer depends on.
    """

    def __init__(self, policy: Policy, recordings: Sequence[Recording], timeline: Timeline, *, memory: int) -> None:
        self._policy = policy
        self._recordings = recordings
        self._timeline = timeline
        self._memory = min(memory, MAX_WARM_UP)
        self._last: int | None = None
        self._known: OrderedDict[int, InputVector] = OrderedDict()

    def at(self, index: int) -> InputVector:
        """Return the answer to a sample, (19,) float32. Going forward costs one answer per frame, a jump `memory`."""
        if index in self._known:
            return self._known[index]
        start = self._timeline.stretch_start(index)
        begin = max(start, index - self._memory)
        if self._last is not None and begin <= self._last + 1 <= index:
            begin = self._last + 1
            if begin == start:
                self._policy.reset()
        else:
            self._policy.reset()
        for i in range(begin, index + 1):
            number, local = self._timeline.recording_of(i)
            answer = self._policy.act(self._recordings[number].frame(local))
        self._last = index
        self._known[index] = answer
        if len(self._known) > _KEPT_ANSWERS:
            self._known.popitem(last=False)
        return answer


def timeline_of(recordings: Sequence[Recording]) -> Timeline:
    """The play time of recordings, one after the other."""
    return Timeline([Stretch(r.timestamps_ns, r.segment, r.source, r.fps) for r in recordings])


class Playlist:
    """Recordings one after the other, as pictures.

    Args:
        recordings: At least one with a sample.
        policy: Whose answers are drawn beside the recorded inputs.
        memory: How many earlier frames the policy's answer depends on.

    Attributes:
        timeline: When each sample is shown.
    """

    def __init__(self, recordings: Sequence[Recording], *, policy: Policy | None = None, memory: int = 0) -> None:
        self._recordings = recordings
        self.timeline = timeline_of(recordings)
        self.fps = max(r.fps for r in recordings)
        self._answers = None
        if policy is not None:
            self._answers = Answers(policy, recordings, self.timeline, memory=memory)
        self._strip = self.timeline.strip(SHOWN_SIZE[0])

    def recording_at(self, index: int) -> Recording:
        """The recording that a sample is in."""
        return self._recordings[self.timeline.recording_of(index)[0]]

    def gap_at(self, time_s: float) -> str:
        """What is left out at this time, in words; "" while samples follow one another."""
        index = self.timeline.index_at(time_s)
        left_out = self.timeline.gaps_s.get(index + 1)
        recording = self.recording_at(index)
        if left_out is None or time_s < self.timeline.times_s[index] + 1.5 / recording.fps:
            return ""
        if left_out:
            return f"gap: {clock_text(left_out)} left out"
        return f"next recording: {self.recording_at(index + 1).name}"

    def render(self, time_s: float, *, note: str = "", lines: tuple[str, ...] = ()) -> Image:
        """Draw what is seen at a time.

        Args:
            time_s: Play time.
            note: Shown before the file's name ("paused", speed).
            lines: Text over the picture.

        Returns:
            (742, 960, 3) uint8 RGB, a new array.

        Raises:
            UserError: The picture is damaged, or its file is gone.
        """
        index = self.timeline.index_at(time_s)
        number, local = self.timeline.recording_of(index)
        recording = self._recordings[number]
        caption = Caption(
            time_s=time_s,
            frame=local,
            n_frames=len(recording),
            episode=int(recording.episode[local]),
            segment=int(recording.segment[local]),
            source=int(recording.source[local]),
            flags=int(recording.flags[local]),
            note="   ".join(text for text in (note, recording.name) if text),
        )
        beside, title = None, "policy"
        if self._answers is not None:
            beside = self._answers.at(index)
        elif recording.has_labels:
            beside, title = recording.labels[local], "label"
        shown = draw_scene(
            recording.frame(local),
            recording.inputs[local],
            caption,
            predicted=beside,
            titles=("recorded", title),
            lines=lines,
            banner=self.gap_at(time_s),
            extra_height=STRIP_HEIGHT,
        )
        strip = self._strip.copy()
        self.timeline.draw_position(strip, time_s)
        shown[-STRIP_HEIGHT:] = strip
        return shown

    def facts(self, time_s: float) -> tuple[str, ...]:
        """What is known of the recording at a time, a line each."""
        recording = self.recording_at(self.timeline.index_at(time_s))
        rate = f"{recording.fps:g} fps" + ("" if recording.fps_known else " assumed")
        by = "the article's recorder" if recording.is_article else f"format {FORMAT_VERSION}"
        segments, episodes = (np.count_nonzero(np.diff(v)) + 1 for v in (recording.segment, recording.episode))
        return (
            str(recording.path),
            f"{recording.size[0]}x{recording.size[1]}, {rate}, {by}, batch files: {len(recording.files)}",
            f"frames: {len(recording)}, segments: {segments}, episodes: {episodes}",
            "space pause, left right step, up down 1 s, page up down 10 s, + - speed, home end, i info, q quit",
        )
