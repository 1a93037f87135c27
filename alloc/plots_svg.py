"""A drawing of matplotlib's as one SVG element that can stand in a page beside others.

Its colours become variables, to which the page's style sheet gives a value for light and one for dark screens.
"""

import re
from xml.etree import ElementTree

from markupsafe import Markup

# The colours of Okabe and Ito, which colour-blind readers tell apart. The page gives each name a value of its own.
COLOURS = {
    "ink": "#22282f",
    "grid": "#dfe3e8",
    "ours": "#0072b2",
    "first-come": "#e69f00",
    "other": "#8c959f",
    "bound": "#d55e00",
}
_SVG = "http://www.w3.org/2000/svg"
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(svg: bytes, name: str, label: str) -> Markup:
    """The drawing as one element for a page: no metadata, no style sheet, no ids or colours that meet another's."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({key: _attribute(key, value, name) for key, value in attributes.items()})
    size = {"viewBox": root.attrib["viewBox"], "class": "plot", "stroke-linejoin": "round"}
    root.attrib.clear()
    root.attrib.update({"xmlns": _SVG, **size, "role": "img", "aria-label": label})
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _attribute(key: str, value: str, name: str) -> str:
    """An attribute's value with its ids made unique, and its colours as variables of the page."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key == "style":
        value = _COLOUR.sub(_variable, value)
    return _REFERENCE.sub(rf"url(#{name}-\1)", value)


def _variable(match: re.Match[str]) -> str:
    names = [name for name, colour in COLOURS.items() if colour == match.group()]
    return f"var(--{names[0]}, {match.group()})" if names else match.group()
