"""Colour themes of the monitor: dark and light, in full colour and in the terminal's own sixteen.

Owns the palettes, and the choice among them for a terminal. Never lays anything out.
"""

from __future__ import annotations

import os
from typing import Final

from rich.console import Console
from textual.theme import BUILTIN_THEMES, Theme

__all__ = ["THEMES", "first", "is_sixteen", "opposite"]

_DARK: Final = Theme(
    name="aioresp-dark",
    primary="#6cb6ff",
    secondary="#4a7fb0",
    accent="#6cb6ff",
    warning="#e3b341",
    error="#f47067",
    success="#7cc38a",
    foreground="#d3dae3",
    background="#0f1419",
    surface="#141a21",
    panel="#1b232c",
    dark=True,
    variables={
        "curve": "#6cb6ff",
        "curve-body": "#2c5277",
        "calm": "#4c7ba6",
        "calm-body": "#223447",
        "curve-warning": "#e3b341",
        "curve-warning-body": "#7a611f",
        "curve-quiet": "#39434e",
        "muted": "#8492a2",
        "frame": "#33404d",
        "cursor-back": "#26415c",
        "band": "#2a2412",
        "band-error": "#351a1c",
    },
)

_LIGHT: Final = Theme(
    name="aioresp-light",
    primary="#0a5cad",
    secondary="#5b89b8",
    accent="#0a5cad",
    warning="#8a5a00",
    error="#b3261e",
    success="#1b7a3a",
    foreground="#1f2630",
    background="#fcfcfb",
    surface="#f5f6f7",
    panel="#e9edf1",
    dark=False,
    variables={
        "curve": "#2f7fcb",
        "curve-body": "#9cc6ec",
        "calm": "#7fabd4",
        "calm-body": "#d3e3f2",
        "curve-warning": "#b87900",
        "curve-warning-body": "#e8c684",
        "curve-quiet": "#c3cad2",
        "muted": "#5d6a78",
        "frame": "#c2cbd5",
        "cursor-back": "#cfe3f7",
        "band": "#fbf1d6",
        "band-error": "#fbe1de",
    },
)


def _sixteen(name: str, *, dark: bool) -> Theme:
    """Return a theme of the terminal's own colours: what is muted is its default, never black on black."""
    cursor = {
        "block-cursor-foreground": "ansi_black" if dark else "ansi_bright_white",
        "block-cursor-background": "ansi_white" if dark else "ansi_blue",
        "input-cursor-background": "ansi_white" if dark else "ansi_black",
        "input-cursor-foreground": "ansi_black" if dark else "ansi_bright_white",
    }
    main = "ansi_cyan" if dark else "ansi_blue"
    warning = "ansi_yellow" if dark else "ansi_magenta"
    return Theme(
        name=name,
        ansi=True,
        primary=main,
        secondary=main,
        accent=main,
        warning=warning,
        error="ansi_red",
        success="ansi_green",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        dark=dark,
        variables={
            **BUILTIN_THEMES["ansi-dark" if dark else "ansi-light"].variables,
            **cursor,
            "border": main,
            "border-blurred": "ansi_default",
            "scrollbar": main,
            "scrollbar-hover": main,
            "scrollbar-active": main,
            "scrollbar-background": "ansi_default",
            "scrollbar-background-hover": "ansi_default",
            "scrollbar-background-active": "ansi_default",
            "scrollbar-corner-color": "ansi_default",
            "curve": main,
            "curve-body": main,
            "calm": main,
            "calm-body": main,
            "curve-warning": warning,
            "curve-warning-body": warning,
            "curve-quiet": "ansi_default",
            "muted": "ansi_default",
            "frame": "ansi_default",
            "cursor-back": "ansi_white" if dark else "ansi_blue",
            "band": "ansi_default",
            "band-error": "ansi_default",
        },
    )


THEMES: Final = (_DARK, _LIGHT, _sixteen("sixteen-dark", dark=True), _sixteen("sixteen-light", dark=False))

_OPPOSITES: Final = {
    "aioresp-dark": "aioresp-light",
    "aioresp-light": "aioresp-dark",
    "sixteen-dark": "sixteen-light",
    "sixteen-light": "sixteen-dark",
}


def first() -> str:
    """Return the name of the theme for this terminal: full colour where it has that, and nothing else is wished.

    With NO_COLOR, and on a terminal of 16 colours, it is a theme of the terminal's own, which needs no background.
    """
    light = _on_light()
    if "NO_COLOR" in os.environ or Console().color_system in ("standard", "windows", None):
        return "sixteen-light" if light else "sixteen-dark"
    return "aioresp-light" if light else "aioresp-dark"


def opposite(name: str) -> str:
    """Return the name of the light theme that belongs to a dark one, and the other way round."""
    return _OPPOSITES.get(name, "aioresp-dark")


def is_sixteen(name: str) -> bool:
    """Return whether a theme is made of the terminal's own colours."""
    return next((theme.ansi for theme in THEMES if theme.name == name), False)


def _on_light() -> bool:
    """Return whether the terminal says by COLORFGBG, as rxvt and Konsole do, that its background is light."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return background in ("7", "15")
