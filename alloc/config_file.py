"""YAML in and out: safe, with duplicate keys refused and `1e-3` read as the number that it is."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from .errors import InputError


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader keeps the last of two equal keys, reads `1e-3` as text and dates as objects; not so this one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key if isinstance(key, str | int | float) else str(key))
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str | bytes, source: str) -> Any:
    """The value that `text` holds. Raises InputError naming `source`, line and column."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{source}{place}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a value that its tag does not fit
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def read_config_file(name: str | Path) -> tuple[dict[str, Any], str]:
    """The mapping in a YAML file, or in the shipped config of that name, and the path or name for messages.

    Raises InputError when there is no such file or it does not hold a mapping.
    """
    source, text = _read(name)
    value = parse_yaml(text, source)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise InputError(f"{source}: holds {_kind(value)}, expected sections such as 'data:' and 'allocation:'")
    return value, source


def shipped_configs() -> dict[str, Any]:
    """The config files that come with the package, by name without `.yaml`."""
    folder = files("dualrec").joinpath("configs")
    return {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `values` with each "section.key=value" set. Raises InputError for one that does not read so."""
    merged = dict(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise InputError(
                f"{override!r} on the command line: expected section.key=value, such as allocation.gap=0.01"
            )
        _set(merged, keys, parse_yaml(text, f"{override!r} on the command line"))
    return merged


def _set(values: dict[str, Any], keys: list[str], value: object) -> None:
    """Set one nested entry, copying each mapping on the way so that the original stays as it was."""
    for key in keys[:-1]:
        inner = values.get(key)
        values[key] = dict(inner) if isinstance(inner, dict) else {}
        values = values[key]
    values[keys[-1]] = value


def _read(name: str | Path) -> tuple[str, bytes]:
    path = Path(name)
    try:
        return str(name), path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        folder = isinstance(error, IsADirectoryError)
    except OSError as error:
        raise InputError(f"config {name} cannot be read: {error.strerror}") from None
    shipped = shipped_configs()
    if str(name) in shipped:
        return f"shipped config {name}", shipped[str(name)].read_bytes()
    known = ", ".join(sorted(shipped))
    if folder:
        raise InputError(f"config {name} is a folder; give the path of a YAML file, or one of the shipped: {known}")
    raise InputError(f"config {name} does not exist; give the path of a YAML file, or one of the shipped: {known}")


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"only the value {value!r}"
