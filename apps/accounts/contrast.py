"""Whether a brand's accent can be read: contrast of two colours (WCAG 2.2, 1.4.3), and the nearest shade that passes.

Colours are `#rrggbb`. Pure functions.
"""

from __future__ import annotations

import colorsys

# The page on light and the panel on dark (static/voltdesk/tokens.css): the harder one of each pair of surfaces.
LIGHT_BACKGROUND = "#f5f6f8"
DARK_BACKGROUND = "#1b2027"
MINIMUM = 4.5
_STEPS = 255


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 … 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def passes(colour: str, background: str) -> bool:
    """Whether text in `colour` can be read on `background`."""
    return contrast(colour, background) >= MINIMUM


def nearest_passing(colour: str, background: str) -> str:
    """The same hue with as little more, or less, lightness as makes it pass; `colour` itself where it passes."""
    if passes(colour, background):
        return colour
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    for step in range(1, _STEPS + 1):
        for moved in (lightness - step / _STEPS, lightness + step / _STEPS):
            shade = _hex(colorsys.hls_to_rgb(hue, min(max(moved, 0.0), 1.0), saturation))
            if passes(shade, background):
                return shade
    return "#000000" if passes("#000000", background) else "#ffffff"


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red / 255, green / 255, blue / 255


def _hex(channels: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in channels)


def _luminance(colour: str) -> float:
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in _channels(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
