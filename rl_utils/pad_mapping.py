"""Gamepads that their owner has mapped (`python -m rl_utils.doctor --map`): a file for each in the config folder."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tomli_w

from rl_utils.controls import N_BUTTONS, NAMES, Control, PadProfile
from rl_utils.errors import UserError
from rl_utils.safety import config_folder

MAPPED: Final = "mapped"
"""Name of such a profile in session.json, which holds its codes as well."""


def mapping_file(ids: Mapping[str, int]) -> Path:
    """Where the mapping of a pad is kept: the same pad with another driver or cable has another version or bus."""
    return (
        config_folder()
        / "pads"
        / ("-".join(f"{ids[key]:04x}" for key in ("bus", "vendor", "product", "version")) + ".toml")
    )


def is_mapped(ids: Mapping[str, int]) -> bool:
    """Whether there is a mapping of a pad that we may read (under sudo the folder may be somebody else's)."""
    return os.access(mapping_file(ids), os.R_OK)


def load_mapping(ids: Mapping[str, int]) -> PadProfile | None:
    """Return the owner's mapping of a pad, None where there is none.

    Raises:
        UserError: The file is damaged.
    """
    if not is_mapped(ids):
        return None
    file = mapping_file(ids)
    try:
        stored = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from error
    try:
        return parse_mapping(stored)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(file, error) from error


def save_mapping(ids: Mapping[str, int], profile: PadProfile, name: str) -> Path:
    """Store a mapping; it replaces an earlier one of that pad.

    Raises:
        UserError: The config folder cannot be written.
    """
    file = mapping_file(ids)
    temporary = file.with_suffix(".tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(tomli_w.dumps({"name": name, **codes_of(profile)}), encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror})", "Make that folder writable") from error
    return file


def codes_of(profile: PadProfile) -> dict[str, dict[str, str]]:
    """A profile as plain text: evdev codes in hexadecimal → controls; the form of mapping files and session.json."""
    keys = {f"{code:#x}": NAMES[control] for code, control in profile.buttons.items()}
    ends = {f"{code:#x}": f"{NAMES[control]} {end:g}" for code, (control, end) in profile.axis_keys.items()}
    axes = {
        f"{code:#x}": NAMES[control] + " inverted" * (code in profile.inverted)
        for code, control in profile.axes.items()
    }
    return {"keys": keys | ends, "axes": axes}


def parse_mapping(stored: Mapping[str, Any]) -> PadProfile:
    """The inverse of `codes_of`.

    Raises:
        KeyError, ValueError: It is no such text.
    """
    buttons: dict[int, Control] = {}
    axis_keys: dict[int, tuple[Control, float]] = {}
    axes: dict[int, Control] = {}
    inverted: set[int] = set()
    for code, text in stored["keys"].items():
        name, *end = text.split()
        control = Control[name.upper()]
        if end:
            axis_keys[int(code, 16)] = (control, float(end[0]))
        elif control < N_BUTTONS:
            buttons[int(code, 16)] = control
        else:
            raise ValueError(f"{code} does not say to which end it pushes {name}")
    for code, text in stored["axes"].items():
        name, *rest = text.split()
        axes[int(code, 16)] = Control[name.upper()]
        if axes[int(code, 16)] < N_BUTTONS or rest not in ([], ["inverted"]):
            raise ValueError(f"{text!r} is no axis")
        inverted |= {int(code, 16)} if rest else set()
    return PadProfile(MAPPED, buttons, axes, axis_keys, frozenset(inverted))


def _damaged(file: Path, error: Exception) -> UserError:
    return UserError(
        f"The mapping of a gamepad in {file} cannot be read ({error})",
        'Delete it, or map the pad again with "python -m rl_utils.doctor --map"',
    )
