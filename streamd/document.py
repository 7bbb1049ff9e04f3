"""YAML files that people write, read into pydantic models: every problem at once, with file, line, key and a way out.

The configuration and the settings of a person are read by it alike. No message shows a secret.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from streamd.credentials import redact
from streamd.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_Model = TypeVar("_Model", bound=BaseModel)


def read(content: bytes, name: str, model: type[_Model], context: object = None) -> _Model:
    """A YAML file's content as a checked model; `name` is how messages call the file, `context` goes to its validators.

    Raises ConfigError with every problem of the file at once, in the order of its lines, none of which shows a secret.
    """
    document = _Document(name)
    data = document.read(content)
    found = None
    try:
        found = model.model_validate({} if data is None else data, context=context)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            document.complain(*_problem(problem, data, model))
    if document.problems or found is None:
        raise ConfigError(document.sentences())
    return found


_Key = tuple[str | int, ...]
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """SafeLoader without what a file of this size does not need: aliases, which can contain themselves, and tags."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "tags (!name) are not supported", event.start_mark)
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported; write the value again", mark)
        return super().compose_node(parent, index)


class _Document:
    """One YAML file as plain values, with the line of every key, and the problems found in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[_Key, int] = {(): 1}
        self.problems: list[tuple[int, str]] = []

    def read(self, content: bytes) -> object:
        """The content, keys always text. Raises ConfigError where it is not YAML; a key given twice is a problem."""
        try:
            text = content.decode("utf-8-sig")
            loader = _Loader(text)
            node = loader.get_single_node()
            return None if node is None else self._value(loader, node, ())
        except RecursionError:
            line, what = 1, "nested too deeply; expected a few levels of keys and values"
        except UnicodeDecodeError as error:
            line, what = content[: error.start].count(b"\n") + 1, "not UTF-8 text; save it in UTF-8"
        except yaml.reader.ReaderError as error:
            line, what = text[: error.position].count("\n") + 1, "there is a character that YAML does not allow"
        except yaml.MarkedYAMLError as error:
            line, what = error.problem_mark.line + 1 if error.problem_mark else 1, _syntax_problem(error)
        raise ConfigError([f"{self._name}:{line}: {what}"]) from None

    def complain(self, key: _Key, sentence: str) -> None:
        """Adds a problem of `key`, which is named as far as it stands in the file or is missing there."""
        line = next(self._lines[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self._lines)
        self.problems.append((line, f"{_dotted(key)}: {sentence}" if key else sentence))

    def sentences(self) -> list[str]:
        """The problems with file and line, in the order of lines; an address given as a key is redacted here as well."""
        ordered = sorted(self.problems, key=lambda problem: problem[0])
        return [f"{self._name}:{line}: {redact(sentence)}" for line, sentence in ordered]

    def _value(self, loader: _Loader, node: yaml.Node, key: _Key) -> object:
        if isinstance(node, yaml.MappingNode):
            mapping: dict[str, object] = {}
            for name_node, value_node in node.value:
                # As it is written: a camera may be called `no` or `1`.
                name = str(name_node.value) if isinstance(name_node, yaml.ScalarNode) else "?"
                inner = (*key, name)
                line = name_node.start_mark.line + 1
                if name in mapping:
                    self.problems.append((line, f"{_dotted(inner)}: given twice, first in line {self._lines[inner]}"))
                    continue
                self._lines[inner] = line
                mapping[name] = self._value(loader, value_node, inner)
            return mapping
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self._lines[(*key, index)] = item.start_mark.line + 1
                items.append(self._value(loader, item, (*key, index)))
            return items
        if node.tag in _NUMBERS and ":" in node.value:
            return node.value  # 1:30, which YAML takes for ninety
        try:
            return loader.construct_object(node)
        except ValueError:  # such as 2026-13-01, which YAML takes for a date
            return node.value


def _syntax_problem(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    advice = "put text that holds ': ' or ' #', or begins with a sign, in quotes"
    if "\\t" in problem:
        advice = "indent with spaces, not with tabs"
    elif "alias" in problem:
        return problem
    elif "tag" in problem or "anchor" in problem:  # their names are not shown: it may be a password that begins with ! or &
        problem = "there is a value that begins with '!' or '&'"
    elif "single document" in str(error.context):
        return "a second document begins here; expected one"
    elif "expected <block end>" in problem or "expected ',' or" in problem:
        advice = "look at the indentation and brackets of this line and the one before"
    return f"not YAML: {problem}; {advice}"


def _problem(error: Mapping[str, Any], data: object, model: type[BaseModel]) -> tuple[_Key, str]:
    """Key and sentence of one of pydantic's errors (`ValidationError.errors`) about `data`."""
    key = tuple(part for part in error["loc"] if part != "[key]")
    kind, given, context = str(error["type"]), error["input"], error.get("ctx", {})
    section = _section_at(key[:-1], model) if key and isinstance(key[-1], str) else None
    about = section.model_fields.get(str(key[-1])) if section is not None else None
    if kind == "extra_forbidden" and section is not None:
        return key, _unknown_key(str(key[-1]), section.model_fields)
    if kind == "missing":
        return key, f"missing; expected {_lower(about.description if about else None)}"
    key = _as_written(key, data)
    if kind == "value_error":
        return key, str(context["error"])
    if kind == "literal_error":
        choices = str(context["expected"])
        near = difflib.get_close_matches(str(given), re.findall(r"'([^']+)'", choices), n=1)
        return key, f"expected {choices}, found {shown(given)}" + (f"; did you mean {near[0]!r}?" if near else "")
    expected = _expected(kind, about, context)
    found = "" if "password" in key else f", found {shown(given)}"
    if isinstance(given, str) and expected.startswith("a number") and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", given):
        mantissa, exponent = re.split("[eE]", given)
        plain = f" or {float(given):g}" if abs(int(exponent)) < 5 else ""
        found += f", which is text to YAML; write {mantissa}.0e{int(exponent):+}{plain}"
    return key, f"expected {expected}{found}"


def _expected(kind: str, about: FieldInfo | None, context: Mapping[str, Any]) -> str:
    """What would have been right, in words; for numbers with their range."""
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        return "a section of keys and values"
    if kind in ("tuple_type", "list_type"):
        return "a list such as [a, b]"
    if kind == "too_short":
        return "at least one entry"
    types = {about.annotation, *get_args(about.annotation)} if about is not None else set()
    null = " or null" if NoneType in types else ""
    if bool in types:
        return "true or false"
    if int in types or float in types:
        return ("a whole number" if int in types else "a number") + _range(about.metadata if about else ()) + null
    if kind in ("string_too_long", "string_too_short"):
        return f"text of {'at most' if kind == 'string_too_long' else 'at least'} {next(iter(context.values()))} characters"
    if kind in ("path_type", "is_instance_of"):
        return "a path" + null
    return "text in quotes" + null


def _range(metadata: Sequence[object]) -> str:
    bounds = {name: getattr(item, name) for item in metadata for name in ("gt", "ge", "lt", "le") if hasattr(item, name)}
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']:g} to {bounds['le']:g}"
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return " " + " and ".join(f"{words[name]} {bound:g}" for name, bound in bounds.items()) if bounds else ""


def _unknown_key(name: str, known: Mapping[str, FieldInfo]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; known here: {', '.join(known)}"


def _section_at(key: _Key, model: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the section that stands at a key, or None where there is none."""
    kind: Any = model
    for part in key:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            about = kind.model_fields.get(str(part))
            kind = about.annotation if about is not None else None
        elif get_origin(kind) in (dict, Mapping):
            kind = get_args(kind)[1]
        else:
            return None
        kind = next((choice for choice in get_args(kind) if choice is not NoneType), kind) if _is_union(kind) else kind
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _as_written(key: _Key, data: object) -> _Key:
    """`key` without what a short form leaves out: `cameras.front`, not `cameras.front.source`, where that is plain text."""
    for depth, part in enumerate(key):
        if isinstance(data, str):
            return key[:depth]
        data = data.get(part) if isinstance(data, Mapping) else None
    return key


def _dotted(key: _Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def shown(value: object) -> str:
    """A value as a message may show it: short, without secrets, and of lists and sections only that they are one."""
    if isinstance(value, str):
        if "@" in value and re.search(r"\s", value):
            return "text with a space in it"  # an address whose password cannot be told from the rest
        text = redact(value)
        return repr(text if len(text) <= 80 else text[:77] + "...")
    if isinstance(value, list | Mapping):
        return "a list" if isinstance(value, list) else "a section"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    return str(value)


def _lower(sentence: str | None) -> str:
    text = (sentence or "a value").rstrip(".")
    return text[0].lower() + text[1:]
