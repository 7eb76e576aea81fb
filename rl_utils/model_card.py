"""README.md beside a checkpoint: what it learned from, how good it is, what it cannot do, where it may drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_utils.checkpoint import Checkpoint, write_whole
from rl_utils.metrics import as_markdown
from rl_utils.model import reach_s
from rl_utils.preprocess import PreprocessSpec
from rl_utils.press_metrics import controls_csv, presses_markdown
from rl_utils.selection import GOALS, TOUCHES
from rl_utils.split import least_gap_s
from rl_utils.state_input import StateSpec

_CARD = """# A policy for Rocket League: {name}

Trained {minutes:.1f} min on {played:.1f} min of play ({samples:,} frames at {fps:g} Hz, {size}) by RLAI
{version}{commit}.
It sees {view}. It answers {fps:g} times a second with 11 buttons and 8 axes.

## Where it may drive

{where}

## Data

| recording | frames | rate | size | labels | driven by |
| --- | --- | --- | --- | --- | --- |
{recordings}

Without labels, a policy's own frames count {policy_weight:g} times, takeovers {takeover_weight:g}, and the seconds
before a takeover {pre_takeover_weight:g} times as much as others.

Fingerprint (SHA-256 of inputs and times): `{fingerprint}`

## Held-out play

{held_out:,} frames from {apart}. Loss ({loss_name})
{loss:.4f} after pass {epoch}; buttons right {buttons:.1%}, axes within 5 % {axes:.1%}, all 19 right {all_right:.1%}
(repeating the last inputs: {copy_buttons:.1%}, {copy_axes:.1%}, {copy_all:.1%}; it cannot play).

{table}

F1 of buttons: higher is better. Error of axes, as a share of the way: lower is better. "At changes": only where that
control changed since the frame before, where repeating the last inputs is always wrong. All of it is in controls.csv.

{presses}

## Score

Frame by frame numbers do not rank policies. Play does:

```
python -m rl_utils.arena score --checkpoint {file}
```
{chosen}
## Limits

It knows what its recordings show. Other maps, cars, camera settings, HUD layouts or resolutions than in the recordings
are strange to it; so are situations the player never got into. It has no memory beyond {memory}.
"""

_PICTURES_WHERE = """\
In the practice arena, and in the real game **offline only**: free play, training, matches against the game's bots.
Bots in online play break the game's Terms of Use; `eval.py` does not drive while the game's anti-cheat runs."""
_STATE_WHERE = """\
Nowhere but in the practice arena, whose state it sees: `python -m rl_utils.arena score`, or as a driver in an RLGym
environment (`rl_utils.arena.env.make_env`). No window shows what it needs, so `eval.py` refuses it there."""


def write_model_card(checkpoint: Checkpoint, path: Path) -> None:
    """Write README.md beside a checkpoint, and controls.csv, its tables with all controls.

    Args:
        checkpoint: With metrics, training settings and data.
        path: The checkpoint's file.

    Raises:
        UserError: The disk is full.
    """
    write_whole(path.with_name("README.md"), model_card(checkpoint, path.name).encode())
    write_whole(path.with_name("controls.csv"), controls_csv(checkpoint.metrics["held_out"]).encode())


def model_card(checkpoint: Checkpoint, file: str) -> str:
    """The text of the card for a checkpoint in `file`."""
    metrics, training, data = checkpoint.metrics, checkpoint.training, checkpoint.data
    held_out: Mapping[str, Any] = metrics["held_out"]
    policy, copy = held_out["policy"], held_out["copy_last"]
    spec = checkpoint.spec
    ages = [f"{1000 * offset / checkpoint.fps:.0f}" for offset in spec.offsets[1:]]
    if isinstance(spec, StateSpec):
        before = f" now and {' and '.join(ages)} ms before" if ages else ""
        view = f"the practice arena's state, {len(spec.names)} numbers{before}"
    else:
        view = _pictures(spec, ages)
    return _CARD.format(
        name=checkpoint.model_name,
        minutes=metrics["seconds"] / 60,
        played=data["minutes"],
        samples=data["samples"],
        fps=checkpoint.fps,
        size="x".join(map(str, checkpoint.capture_size)),
        version=training["version"],
        commit=f", commit {training['commit'][:12]}" if training["commit"] else "",
        view=view,
        where=_STATE_WHERE if isinstance(spec, StateSpec) else _PICTURES_WHERE,
        recordings="\n".join(
            f"| {r['name']} | {r['samples']:,} | {r['fps']:g} Hz | {r['size'][0]}x{r['size'][1]} | "
            f"{'yes' if r['labels'] else 'inputs'} | {_drivers(r)} |"
            for r in data["recordings"]
        ),
        fingerprint=data["sha256"],
        held_out=held_out["samples"],
        apart=_apart(checkpoint, training["settings"]),
        loss_name=training["settings"]["loss"],
        loss=metrics["loss"],
        epoch=metrics["epoch"],
        buttons=policy["button_accuracy"],
        axes=policy["axis_accuracy"],
        all_right=policy["all_right"],
        copy_buttons=copy["button_accuracy"],
        copy_axes=copy["axis_accuracy"],
        copy_all=copy["all_right"],
        table=as_markdown(held_out),
        presses=presses_markdown(held_out["presses"]),
        **{name: training["settings"][name] for name in ("policy_weight", "takeover_weight", "pre_takeover_weight")},
        file=file,
        chosen=_chosen(metrics.get("arena", {}), training["settings"]),
        memory=f"{ages[-1]} ms" if ages else "the one moment it sees",
    )


def _apart(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> str:
    began = f" (what {settings['init']} learnt before is not known here)" if settings.get("init") else ""
    if settings["hold_out"]:
        return f"recordings of which training never saw any{began}"
    reach = reach_s(checkpoint.model_name, checkpoint.fps)
    gap = least_gap_s(settings["val_gap_s"], action_shift_ms=settings["action_shift_ms"], reach_s=reach)
    return f"whole stretches of time that training never came within {gap:g} s of{began}"


def _pictures(spec: PreprocessSpec, ages: Sequence[str]) -> str:
    """What a network of pictures sees, older ones taken `ages` ms before the newest."""
    kept = "colours" if spec.older == "rgb" else spec.older
    older = f" and the {kept} of those {' and '.join(ages)} ms before" if ages else ""
    view = f"the newest picture at {spec.width}x{spec.height} in colour{older}"
    if spec.fovea is not None:
        left, top, width, height = spec.fovea
        view += (
            f",\nand of each a part a second time, {1 / width:.1f} times as large: {left:.0%} to {left + width:.0%} of "
            f"the width and {top:.0%} to {top + height:.0%} of the height"
        )
    if spec.masks:
        places = "; ".join(",".join(f"{number:g}" for number in mask) for mask in spec.masks)
        view += f".\nBlack in training and in play, in percent (left, top, width, height): {places}"
    return view


def _chosen(played: Mapping[str, float], settings: Mapping[str, Any]) -> str:
    if not played:
        return ""
    return (
        f"\nThis pass was chosen by its play: {played[GOALS]:.2f} goals and {played[TOUCHES]:.1f} touches a minute on "
        f"{settings['select_episodes']} starts.\nChoosing by them flatters it; the command above plays others.\n"
    )


def _drivers(recording: Mapping[str, Any]) -> str:
    counts: Mapping[str, int] = recording["drivers"]
    return ", ".join(f"{name} {count / recording['samples']:.0%}" for name, count in counts.items())
