"""YAML that a user wrote, as plain values: text, numbers, true, false, null, lists and mappings, of a bounded size.

Whatever the text is, reading it ends soon, and in these values or in one line that says why not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

__all__ = ["LARGEST_BYTES", "NotPlain", "plain", "read_plain"]

#: The longest text that is read, in bytes.
LARGEST_BYTES = 1_000_000
#: An alias counts as all that it stands for: ten lines of aliases to aliases can stand for more than memory holds.
MOST_VALUES = 200_000
DEEPEST = 32
INT_BITS = 63


class NotPlain(ValueError):
    """The text is YAML, and holds what no setting can be; the message is one line."""


def read_plain(text: str) -> Any:
    """The values in ``text``. Raises yaml.YAMLError where it is no YAML and NotPlain, each with one line."""
    if len(text.encode(errors="surrogatepass")) > LARGEST_BYTES:
        raise NotPlain(f"it is longer than {LARGEST_BYTES:,} bytes")
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Measured().size(node, 0)
            values = loader.construct_document(node)
        finally:
            loader.dispose()
    except NotPlain:
        raise
    except RecursionError:
        raise NotPlain(f"it is nested more than {DEEPEST} deep") from None
    except Exception as error:  # PyYAML lets through what Python says of `!!int ""` or of the 31st of February
        raise yaml.YAMLError(" ".join(str(error).split()) or type(error).__name__) from error
    return plain(values)


def plain(value: Any, where: str = "") -> Any:
    """``value`` copied. Raises NotPlain with its place where it, or what it holds, is no plain value."""
    at = f" at {where!r}" if where else ""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if value.bit_length() > INT_BITS:
            raise NotPlain(f"a number{at} does not fit into {INT_BITS + 1} bits")
        return value
    if isinstance(value, str):
        if not _printable(value):
            raise NotPlain(f"text{at} holds a control character: {value[:40]!r}")
        return value
    if isinstance(value, list | tuple):
        return [plain(inner, f"{where}.{i}" if where else str(i)) for i, inner in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise NotPlain(f"a key{at} is no text: {str(key)[:40]!r}; put it in quotes")
            plain(key, where)
        return {key: plain(inner, f"{where}.{key}" if where else key) for key, inner in value.items()}
    raise NotPlain(f"a {type(value).__name__}{at} is neither text nor a number: {str(value)[:40]!r}; put it in quotes")


def _printable(text: str) -> bool:
    """Whether ``text`` can be shown on one line and written to a file: no control characters, no half characters."""
    return not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in text) and (
        "\u2028" not in text and "\u2029" not in text
    )


class _Measured:
    """The size and depth of nodes with every alias counted as what it stands for, in time linear in the text."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, int]] = {}  # by id: values, depth
        self.open: set[int] = set()

    def size(self, node: yaml.Node, depth: int) -> tuple[int, int]:
        if id(node) in self.open:
            raise NotPlain("an alias stands for what it is itself a part of")
        size, below = self.known.get(id(node), (0, 0))
        if not size:
            if depth >= DEEPEST:
                raise NotPlain(f"it is nested more than {DEEPEST} deep")
            self.open.add(id(node))
            inner = [self.size(child, depth + 1) for child in _children(node)]
            self.open.remove(id(node))
            size, below = 1 + sum(one[0] for one in inner), 1 + max((one[1] for one in inner), default=0)
            self.known[id(node)] = size, below
        if depth + below > DEEPEST:
            raise NotPlain(f"it is nested more than {DEEPEST} deep")
        if size > MOST_VALUES:
            raise NotPlain(f"it holds more than {MOST_VALUES:,} values, counting each alias as all that it stands for")
        return size, below


def _children(node: yaml.Node) -> Iterable[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
