"""What a run leaves to look at: TensorBoard, metrics.csv and training.png."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rl_utils.checkpoint import write_whole
from rl_utils.controls import NAMES
from rl_utils.event_file import EventFile
from rl_utils.interfaces import Image
from rl_utils.overlay import BACKGROUND, Box, draw_pad
from rl_utils.preprocess import InputSpec, PreprocessSpec
from rl_utils.press_metrics import control_scalars, used_buttons
from rl_utils.selection import GOALS, PLAYED_COLUMNS, TOUCHES, TOUCHES_PER_GOAL
from rl_utils.state_input import StateSpec

TILE: Final = (480, 270)
"""(width, height) in px of a sample's picture in TensorBoard."""
PAD_HEIGHT: Final = 78
SHOWN_STACKS: Final = 8
"""Moments of a training batch in TensorBoard."""
_EDGES: Final = 1e-12 * 1.1 ** np.arange(774)
BINS: Final = [*(-_EDGES[::-1]).tolist(), 0.0, *_EDGES.tolist()]
"""Of histograms in TensorBoard, finer near zero. Source: those of torch's SummaryWriter."""

TRAIN_COLUMNS: Final = ("train_loss", "train_button_accuracy", "train_axis_accuracy")
HELD_OUT_COLUMNS: Final = (
    "loss",
    "button_loss",
    "axis_loss",
    "button_accuracy",
    "axis_accuracy",
    "axis_accuracy_strict",
    "all_right",
)
COLUMNS: Final = ("epoch", "step", "seconds", "lr", "samples_per_s", *TRAIN_COLUMNS, *HELD_OUT_COLUMNS)
"""Of metrics.csv: one row per pass. The first three of training are means over the pass, the others held-out play.
Where a network's belief about the state can be measured, `BELIEF_COLUMN` follows, and where the arena decides
(`selection`), its `PLAYED_COLUMNS`."""
BELIEF_COLUMN: Final = "belief_loss"


class TrainingLog:
    """Writes everything about one run into its folder. A context manager.

    Args:
        folder: The run.
        step: Where a resumed run goes on; what TensorBoard has beyond it is hidden.

    Raises:
        UserError: The disk is full; all that writes raises it, too.
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        from torch.utils.tensorboard import summary  # a second to import

        self._folder = folder
        self._summary: Any = summary
        self._events = EventFile(folder / "tensorboard", step=step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add points to TensorBoard's curves."""
        for name, value in values.items():
            self._events.add(self._summary.scalar(name, value), step)

    def gradients(self, network: nn.Module, step: int) -> None:
        """Add histograms of the gradients of the last step."""
        for name, parameter in network.named_parameters():
            if parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()):
                self._events.add(self._summary.histogram(f"gradients/{name}", parameter.grad.cpu(), BINS), step)

    def samples(self, images: Sequence[Image], targets: NDArray[Any], predicted: NDArray[Any], step: int) -> None:
        """Add pictures of held-out moments with what should have been pressed and what would have been.

        Args:
            images: (H, W, 3) uint8 RGB each.
            targets: (len(images), 19) float32.
            predicted: (len(images), 19) float32, decoded.
            step: Of training.
        """
        tiles = [_tile(*sample) for sample in zip(images, targets, predicted, strict=True)]
        rows = [np.concatenate(tiles[i : i + 2], axis=1) for i in range(0, len(tiles) - 1, 2)]
        if rows:
            self._image("held-out/samples", np.concatenate(rows), step)

    def batch(self, stacks: NDArray[Any], spec: InputSpec, step: int) -> None:
        """Add pictures of a training batch as the network sees them: a row per moment, the newest picture first.

        Args:
            stacks: (B, channels, height, width) uint8; states, of which there is no picture, are left out.
            spec: What the channels are.
            step: Of training.
        """
        if isinstance(spec, StateSpec):
            return
        rows = [np.concatenate(_moments(stack, spec), axis=1) for stack in stacks[:SHOWN_STACKS]]
        self._image("training/batch", np.concatenate(rows), step)

    def _image(self, name: str, image: Image, step: int) -> None:
        self._events.add(self._summary.image(name, image, dataformats="HWC"), step)

    def controls(
        self, held_out: Mapping[str, Any], probability: NDArray[np.float32], targets: NDArray[np.float32], step: int
    ) -> None:
        """Add each control's measures, and for each button in use the curve of precision over recall.

        Args:
            held_out: What `HeldOut.measure` found.
            probability: (N, 11) that each button is pressed.
            targets: (N, 19) what should have been pressed.
            step: Of training.
        """
        self.scalars({f"controls/{name}": value for name, value in control_scalars(held_out).items()}, step)
        for name in used_buttons(held_out["presses"]):
            index = NAMES.index(name)
            truth = targets[:, index] >= 0.5
            if truth.any():
                self._events.add(self._summary.pr_curve(f"presses/{name}", truth, probability[:, index]), step)

    def memory(self, device: torch.device, step: int) -> None:
        """Add how much memory the process holds, and the GPU where there is one."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        values = {"system/memory_gb": pages * 4096 / 1e9}
        if device.type == "cuda":
            values["system/gpu_allocated_gb"] = torch.cuda.memory_allocated(device) / 1e9
            values["system/gpu_reserved_gb"] = torch.cuda.memory_reserved(device) / 1e9
        self.scalars(values, step)

    def history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write metrics.csv anew from one row per pass.

        Raises:
            UserError: The disk is full.
        """
        text = io.StringIO()
        further = [name for name in (BELIEF_COLUMN, *PLAYED_COLUMNS) if any(name in row for row in rows)]
        writer = csv.DictWriter(text, [*COLUMNS, *further], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)
        write_whole(self._folder / "metrics.csv", text.getvalue().encode())

    def plot(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write training.png from one row per pass, if there are any.

        Raises:
            UserError: The disk is full.
        """
        if rows:
            write_whole(self._folder / "training.png", training_plot(rows))

    def close(self) -> None:
        """Close TensorBoard's file."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class NoLog:
    """For the processes of a run that write nothing."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write nothing."""

    def gradients(self, network: nn.Module, step: int) -> None:
        """Write nothing."""

    def samples(self, images: Sequence[Image], targets: NDArray[Any], predicted: NDArray[Any], step: int) -> None:
        """Write nothing."""

    def batch(self, stacks: NDArray[Any], spec: InputSpec, step: int) -> None:
        """Write nothing."""

    def controls(
        self, held_out: Mapping[str, Any], probability: NDArray[np.float32], targets: NDArray[np.float32], step: int
    ) -> None:
        """Write nothing."""

    def memory(self, device: torch.device, step: int) -> None:
        """Write nothing."""

    def history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write nothing."""

    def plot(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write nothing."""


def _moments(stack: NDArray[np.uint8], spec: PreprocessSpec) -> list[Image]:
    """The pictures of one moment, (height, width, 3) each, the fovea last; where one plane is kept they are grey."""
    looks = [(offset, plane // 3) for offset, plane in spec.planes]
    planes = [stack[[look == other for other in looks]] for look in dict.fromkeys(looks)]
    return [(p if len(p) == 3 else np.repeat(p, 3, axis=0)).transpose(1, 2, 0) for p in planes]


def _tile(image: Image, target: NDArray[Any], predicted: NDArray[Any]) -> Image:
    canvas = np.full((TILE[1] + PAD_HEIGHT, TILE[0], 3), BACKGROUND, np.uint8)
    canvas[: TILE[1]] = cv2.resize(image, TILE, interpolation=cv2.INTER_LINEAR)
    draw_pad(canvas, target, predicted=predicted, box=Box(0, TILE[1], TILE[0], PAD_HEIGHT))
    return canvas


def training_plot(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Draw losses, accuracies, learning rate and, where it was let play, play over the passes.

    Args:
        rows: With the keys of `COLUMNS`, and of `PLAYED_COLUMNS` where the arena decides.

    Returns:
        A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    played = [row for row in rows if GOALS in row]
    figure = Figure(figsize=(14.5 if played else 11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, accuracies, rates, *more = figure.subplots(1, 4 if played else 3)
    epochs = [row["epoch"] for row in rows]

    def draw(axes: Any, key: str, label: str, style: str = "-") -> None:
        axes.plot(epochs, [row[key] for row in rows], style, label=label, marker="o", markersize=3)

    draw(losses, "train_loss", "training (with dropout, mirrored, shifted)", "--")
    draw(losses, "loss", "held out")
    draw(losses, "button_loss", "  of it buttons", ":")
    draw(losses, "axis_loss", "  of it axes", ":")
    losses.set_title("loss")
    draw(accuracies, "button_accuracy", "buttons")
    draw(accuracies, "axis_accuracy", "axes within 5 %")
    draw(accuracies, "all_right", "all 19 right")
    accuracies.set_title("held-out accuracy")
    accuracies.set_ylim(0, 1.02)
    draw(rates, "lr", "learning rate")
    rates.set_title("learning rate at the end of the pass")
    rates.set_yscale("log")
    for play in more:
        when = [row["epoch"] for row in played]
        play.plot(when, [row[GOALS] for row in played], label="goals", marker="o", markersize=3)
        play.plot(
            when,
            [row[TOUCHES] / TOUCHES_PER_GOAL for row in played],
            label=f"touches / {TOUCHES_PER_GOAL:g}",
            marker="o",
            markersize=3,
        )
        play.set_title("play in the arena, per minute")
        play.set_ylim(bottom=0)
    for axes in (losses, accuracies, rates, *more):
        axes.set_xlabel("pass over the data")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        if axes is not rates:
            axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)  # hides no point
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    return buffer.getvalue()
