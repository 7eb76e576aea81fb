"""From recordings to batches: nothing leaks, nothing is joined that does not belong together, pictures vary right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rl_utils.controls import REST, Control
from rl_utils.dataset import Samples, Weights, hold_out, join_samples, make_samples
from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Source
from rl_utils.preprocess import PreprocessSpec
from rl_utils.recordings import Recording, open_recordings
from rl_utils.split import least_play_s, play_time, split_by_time
from tests.learning_data import marker_play, record, record_marker_play

SPEC = PreprocessSpec(width=32, height=18, offsets=(0, 2, 5))


def numbered_inputs(count: int) -> np.ndarray:
    """Inputs whose left stick tells which sample they belong to."""
    inputs = np.tile(REST, (count, 1))
    inputs[:, Control.LEFT_X] = np.arange(count) / count
    return inputs


def samples_of(recordings: list[Recording], **settings: object) -> Samples:
    defaults = {"val_share": 0.1, "val_gap_s": 2.0, "action_shift_ms": 0.0, "seed": 0}
    return make_samples(recordings, **(defaults | settings))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(
    minutes=st.floats(0.5, 90),
    share=st.floats(0.05, 0.5),
    gap_s=st.floats(0, 3),
    seed=st.integers(0, 1000),
)
def test_held_out_play_is_never_close_to_training(minutes: float, share: float, gap_s: float, seed: int) -> None:
    """A leak makes every number about held-out play a lie, and early stopping meaningless."""
    time_s = np.arange(round(minutes * 60 * 30)) / 30
    train, held_out = split_by_time(time_s, share=share, gap_s=gap_s, seed=seed)
    assert not (train & held_out).any()
    assert held_out.mean() == pytest.approx(share, abs=0.02)
    places = np.searchsorted(time_s[train], time_s[held_out])
    right = np.minimum(places, train.sum() - 1)
    left = np.maximum(places - 1, 0)
    distance = np.minimum(
        np.abs(time_s[train][left] - time_s[held_out]), np.abs(time_s[train][right] - time_s[held_out])
    )
    assert distance.min() >= gap_s - 1e-6
    borders = np.flatnonzero(np.diff(held_out.astype(int)))
    assert len(borders) <= 40, "whole stretches, not single frames"


@settings(max_examples=200, deadline=None)
@example(share=0.796875, gap_s=8.0, fps=15.0, seed=0)  # two stretches would leave nothing between their gaps
@given(
    share=st.floats(0.01, 0.8),
    gap_s=st.floats(0.0, 10),
    fps=st.sampled_from([15.0, 30.0, 60.0]),
    seed=st.integers(0, 10**6),
)
def test_the_least_play_can_always_be_split(share: float, gap_s: float, fps: float, seed: int) -> None:
    """What a refusal of too short a coach round names must work, wherever the held-out stretch falls."""
    least = least_play_s(share=share, gap_s=gap_s, fps=fps)
    train, held_out = split_by_time(np.arange(round(least * fps)) / fps, share=share, gap_s=gap_s, seed=seed)
    assert train.any()
    assert held_out.any()


def test_the_clock_of_play_stands_still_in_pauses() -> None:
    """An hour's break between two sessions must not count as held-out time."""
    times = np.array([0, 33, 66, 3_600_000, 3_600_033]) * 1_000_000
    firsts = np.array([0, 0, 0, 3, 3])
    clock = play_time(times, firsts, np.full(5, 1 / 30), np.full(5, True))
    assert clock[-1] - clock[0] < 0.2
    assert (np.diff(clock) > 0).all()
    skipping = play_time(times, firsts, np.full(5, 1 / 30), np.array([1, 0, 0, 1, 1], bool))
    assert skipping[-1] - skipping[0] < 0.1, "nor may a policy's own driving, else nothing of a drive may be held out"


def test_play_that_is_too_short_is_one_line(tmp_path: Path) -> None:
    """Ten seconds cannot be held apart from themselves; the person has to know to record more."""
    recordings = open_recordings([record_marker_play(tmp_path, 90)])
    with pytest.raises(UserError, match="too short"):
        samples_of(recordings)


def test_samples_hold_out_whole_stretches_with_a_gap(tmp_path: Path) -> None:
    """The same on real files: two seconds on both sides belong to neither part."""
    samples = samples_of(open_recordings([record_marker_play(tmp_path, 900)]))
    distance = np.abs(samples.train[:, None] - samples.held_out[None]).min()
    assert distance >= 60
    assert len(samples.train) > 600
    assert len(samples.held_out) == pytest.approx(90, abs=2)


def test_a_gap_of_zero_still_separates_pasts_and_targets(tmp_path: Path) -> None:
    """The first training stack after a held-out stretch would otherwise look back into it."""
    samples = samples_of(open_recordings([record_marker_play(tmp_path, 900)]), val_gap_s=0.0, action_shift_ms=200.0)
    assert np.abs(samples.train[:, None] - samples.held_out[None]).min() > 6 + 5


def test_labels_are_preferred_over_inputs(tmp_path: Path) -> None:
    """Disturbed demonstrations store what should have been done; learning the disturbance would teach the mistakes."""
    frames, inputs = marker_play(300)
    labels = inputs.copy()
    labels[:, Control.LEFT_X] = 0.123
    samples = samples_of(open_recordings([record(tmp_path, frames, inputs, labels=labels)]))
    np.testing.assert_allclose(samples.targets[:, Control.LEFT_X], 0.123)


def test_a_policys_own_driving_is_not_learnt(tmp_path: Path) -> None:
    """Learning from its own mistakes without labels would make it worse with every round."""
    frames, inputs = marker_play(300)
    record(tmp_path / "policy", frames, inputs, source=Source.POLICY)
    with pytest.raises(UserError, match="own driving"):
        samples_of(open_recordings([tmp_path / "policy"]))
    record(tmp_path / "human", *marker_play(600, seed=1))
    samples = samples_of(open_recordings([tmp_path / "human", tmp_path / "policy"]))
    assert samples.train.max() < 600
    record(tmp_path / "relabelled", frames, inputs, labels=inputs, source=Source.POLICY)
    assert len(samples_of(open_recordings([tmp_path / "relabelled"])).train)


def test_moments_before_a_takeover_are_not_learnt(tmp_path: Path) -> None:
    """The seconds before a person took over show what not to do."""
    flags = np.zeros(600, np.uint8)
    flags[300:360] = Flag.PRE_TAKEOVER | Flag.LATE
    flags[400:410] = Flag.LATE
    samples = samples_of(open_recordings([record(tmp_path, *marker_play(600), flags=flags)]))
    used = np.union1d(samples.train, samples.held_out)
    assert not ((used >= 300) & (used < 360)).any()
    assert ((used >= 400) & (used < 410)).any()


def corrected_drive(folder: Path) -> list[Recording]:
    """600 frames of a person's play, then a drive: policy, 60 frames before a takeover, the takeover, policy again."""
    record(folder / "play", *marker_play(600))
    frames, inputs = marker_play(600, seed=1)
    inputs[380:400] = REST  # coasting
    inputs[460:500] = REST  # letting go
    source = np.repeat([Source.POLICY, Source.TAKEOVER, Source.POLICY], [300, 200, 100])
    flags = np.zeros(600, np.uint8)
    flags[240:300] = Flag.PRE_TAKEOVER
    record(folder / "drive", frames, inputs, sources=source, flags=flags)
    return open_recordings([folder / "play", folder / "drive"])


def weights_of(samples: Samples) -> np.ndarray:
    """The weight of each of the drive's frames; NaN where it is held out or in a gap."""
    weights = np.zeros(1200)
    weights[samples.train] = samples.weights
    index = np.arange(1200)
    near = np.abs(index[:, None] - samples.held_out[None]).min(1) <= 61 if len(samples.held_out) else index < 0
    weights[near] = np.nan
    assert (weights[:590][~near[:590]] == 1).all(), "a person's own play counts once"
    return weights[600:]


@pytest.mark.parametrize("given", [{}, {"policy": 0.5, "takeover": 3.0, "pre_takeover": 0.25}])
def test_corrections_weigh_more_and_what_led_to_them_less(tmp_path: Path, given: dict[str, float]) -> None:
    """Learning from corrections means: do as the person did who took over, not as the policy that had to be stopped."""
    weights = Weights(**given)
    found = weights_of(samples_of(corrected_drive(tmp_path), val_share=0.02, weights=weights))
    expected = np.full(600, weights.policy)
    expected[240:300] *= weights.pre_takeover
    expected[300:460] = weights.takeover
    expected[460:500] = 0  # else it would learn to do nothing
    known = ~np.isnan(found)
    assert known.sum() > 300
    np.testing.assert_array_equal(found[known], expected[known])


def test_a_correction_is_not_paired_with_the_policys_later_inputs(tmp_path: Path) -> None:
    """With an action shift the last frames of a takeover would otherwise teach what the policy did after it."""
    samples = samples_of(corrected_drive(tmp_path), val_share=0.0, action_shift_ms=100.0)
    found = weights_of(samples)
    # 3 frames later: the letting go, and the policy, weigh nothing.
    for index, weight in ((456, 2.0), (457, 0.0), (297, 0.0), (298, 0.0), (301, 2.0)):
        assert found[index] == weight
    np.testing.assert_array_equal(np.flatnonzero(samples.teaches), samples.train, "nor does it follow anything")


def test_labels_are_right_whoever_drove(tmp_path: Path) -> None:
    """Relabelled play of a policy is worth as much as a demonstration, also shortly before a takeover."""
    frames, inputs = marker_play(600)
    flags = np.full(600, Flag.PRE_TAKEOVER, np.uint8)
    record(tmp_path, frames, inputs, labels=inputs, source=Source.POLICY, flags=flags)
    samples = samples_of(open_recordings([tmp_path]))
    assert (samples.weights == 1).all()
    assert len(samples.train) > 400


def test_a_pass_holds_each_moment_as_often_as_it_weighs(tmp_path: Path) -> None:
    """Rounding must not favour anyone, and a pass must always be of one length, else a resumed run would differ."""
    samples = samples_of(
        corrected_drive(tmp_path), val_share=0.02, weights=Weights(policy=0.3, takeover=2.5, pre_takeover=1.0)
    )
    passes = [samples.order(np.random.default_rng([1, epoch])) for epoch in range(40)]
    assert {len(order) for order in passes} == {samples.per_pass}
    counts = np.array([np.bincount(order, minlength=1200)[samples.train] for order in passes])
    assert (np.abs(counts - samples.weights) < 1.01).all()
    np.testing.assert_allclose(counts.mean(0), samples.weights, atol=0.25)
    again = samples.order(np.random.default_rng([1, 0]))
    np.testing.assert_array_equal(again, passes[0])
    assert not np.array_equal(np.sort(passes[1]), np.sort(passes[0]))


@pytest.mark.parametrize(("shift_ms", "frames"), [(0.0, 0), (100.0, 3), (-66.7, -2), (40.0, 1)])
def test_the_action_shift_pairs_frames_with_later_inputs(shift_ms: float, frames: int, tmp_path: Path) -> None:
    """A driving latency of 100 ms is cancelled by learning what was pressed 100 ms later, not earlier."""
    pictures, _ = marker_play(600)
    inputs = numbered_inputs(600)
    segments = np.repeat([0, 1], [300, 300])
    samples = samples_of(
        open_recordings([record(tmp_path, pictures, inputs, segments=segments)]), action_shift_ms=shift_ms
    )
    used = np.union1d(samples.train, samples.held_out)
    np.testing.assert_array_equal(samples.targets[used, Control.LEFT_X], inputs[used + frames, Control.LEFT_X])
    assert (segments[used] == segments[used + frames]).all(), "never from another segment"
    assert not np.setdiff1d(used, np.flatnonzero(samples.teaches)).size
    inside = np.arange(600) + frames
    paired = (inside >= 0) & (inside < 600) & (segments[inside.clip(0, 599)] == segments)
    np.testing.assert_array_equal(samples.teaches, paired)
    first = used[(used == 0) | (segments[used - 1] != segments[used]) | ~paired[used - 1]]
    assert first.size
    np.testing.assert_array_equal(samples.previous[first], samples.targets[first], "what is before it is not known")


def test_whole_sessions_can_be_held_out(tmp_path: Path) -> None:
    """Another evening's play says more about what was learnt than other minutes of the same evening."""
    learnt = open_recordings([record_marker_play(tmp_path / "a", 600)])
    apart = open_recordings([record_marker_play(tmp_path / "b", 300, seed=1)])
    one, other = (samples_of(recordings, val_share=0.0) for recordings in (learnt, apart))
    samples = join_samples(one, hold_out(other), learnt + apart)
    np.testing.assert_array_equal(samples.train, np.arange(600))
    np.testing.assert_array_equal(samples.held_out, np.arange(600, 900))
    assert samples.per_pass == 600


def test_plans_and_pasts_reach_no_further_than_the_gap(tmp_path: Path) -> None:
    """A network that looks back for a second would see held-out pictures half a second after them."""
    samples = samples_of(open_recordings([record_marker_play(tmp_path, 900)]), val_gap_s=0.0, reach_s=1.5)
    assert np.abs(samples.train[:, None] - samples.held_out[None]).min() >= 45


def test_the_target_before_stays_in_its_segment(tmp_path: Path) -> None:
    """The copy-last baseline would otherwise be judged on a jump that nobody could copy."""
    pictures, _ = marker_play(300)
    inputs = numbered_inputs(300)
    segments = np.repeat([0, 1], 150)
    samples = samples_of(open_recordings([record(tmp_path, pictures, inputs, segments=segments)]))
    before = samples.previous[:, Control.LEFT_X]
    np.testing.assert_array_equal(before[1:150], inputs[:149, Control.LEFT_X])
    assert before[150] == inputs[150, Control.LEFT_X]
    assert before[0] == inputs[0, Control.LEFT_X]


def test_rates_that_differ_are_refused(tmp_path: Path) -> None:
    """Two frames ago would be 67 ms in one recording and 33 ms in the other."""
    record_marker_play(tmp_path / "a", 120, fps=30)
    record_marker_play(tmp_path / "b", 120, fps=60)
    with pytest.raises(UserError, match="60 fps and"):
        samples_of(open_recordings([tmp_path]))


def test_the_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    """Resuming on other recordings would mix two runs without anybody noticing."""
    a = samples_of(open_recordings([record_marker_play(tmp_path / "a", 300)]))
    b = samples_of(open_recordings([record_marker_play(tmp_path / "b", 300, seed=1)]))
    again = samples_of(open_recordings([tmp_path / "a"]))
    assert a.fingerprint["sha256"] == again.fingerprint["sha256"] != b.fingerprint["sha256"]
    assert a.fingerprint["recordings"][0]["samples"] == 300
