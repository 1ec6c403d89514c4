"""What each image weighs, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

from .layout import Layout


def rows(layouts: Mapping[str, Layout]) -> list[tuple[str, str, str, int]]:
    """Measures images.

    Args:
        layouts: Layout by image name.

    Returns:
        Image, platform, layer (the words of its history) and compressed bytes; a total after each platform.
    """
    found: list[tuple[str, str, str, int]] = []
    for name, layout in layouts.items():
        for platform, manifest in layout.manifests().items():
            history = layout.read(manifest["config"]["digest"]).get("history", [])
            words = [entry.get("created_by", "") for entry in history if not entry.get("empty_layer")]
            for number, layer in enumerate(manifest["layers"]):
                found.append((name, platform, words[number] if number < len(words) else "", layer["size"]))
            found.append((name, platform, "total", sum(layer["size"] for layer in manifest["layers"])))
    return found


def totals(layouts: Mapping[str, Layout]) -> dict[str, dict[str, int]]:
    """Measures whole images.

    Args:
        layouts: Layout by image name.

    Returns:
        Compressed bytes of all layers, by image and platform.
    """
    return {
        name: {
            platform: sum(layer["size"] for layer in manifest["layers"])
            for platform, manifest in layout.manifests().items()
        }
        for name, layout in layouts.items()
    }


def table(layouts: Mapping[str, Layout], width: int = 60) -> str:
    """Writes the sizes for people.

    Args:
        layouts: Layout by image name.
        width: Characters a layer's words may take.

    Returns:
        Lines of image, platform, millions of compressed bytes and layer.
    """
    lines = [f"{'IMAGE':<21}{'PLATFORM':<14}{'MB':>8}  LAYER"]
    for name, platform, words, size in rows(layouts):
        short = words if len(words) <= width else f"{words[: width - 1]}…"
        lines.append(f"{name:<21}{platform:<14}{size / 1e6:>8.2f}  {short}")
    return "\n".join(lines)
