"""How pydantic is asked to carry a type: its own schema, tuned so that what is stored can be read back exactly.

Pydantic's defaults are made for talking to others: bytes become UTF-8 text, NaN becomes null, a set is written in hash
order. A model brings its own configuration, which a ``TypeAdapter`` cannot change from outside. So the schema is
generated as usual and the few settings that matter are set on every level of a copy; the class itself is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import (
    CoreConfig,
    PydanticSerializationUnexpectedValue,
    SchemaSerializer,
    SchemaValidator,
    core_schema,
    to_json,
)

__all__ = ["Tuned", "tuned"]

CONFIG: Final[CoreConfig] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "strings",  # the words stay valid JSON; a float field reads them back
    "ser_json_timedelta": "iso8601",
    "ser_json_temporal": "iso8601",
    "hide_input_in_errors": True,  # values may be secrets
    # Values are written under their field names, so that an alias for writing need not be one for reading; inputs
    # that come from elsewhere may use the aliases.
    "validate_by_name": True,
    "validate_by_alias": True,
}
CONFIGURED: Final = frozenset({"model", "dataclass", "typed-dict"})
OPAQUE: Final = frozenset({"metadata", "default", "expected", "members", "config", "cls"})
"""Keys of a core schema under which there is data, not schema."""


class Tuned(NamedTuple):
    """The two halves of one type."""

    serializer: SchemaSerializer
    validator: SchemaValidator


def tuned(annotation: Any) -> Tuned:
    """The serializer and validator of one annotation.

    Raises:
        Exception: Whatever pydantic says about a type it cannot handle.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if not adapter.pydantic_complete:
        adapter.rebuild(raise_errors=True)
    schema = _tune(adapter.core_schema)
    # Else a nested model's own serializer is taken as it was built, with its own settings. Pydantic before 2.13 has no
    # such choice: what it would write there could not be read by a later one, so there is no way round it.
    return Tuned(
        SchemaSerializer(schema, CONFIG, _use_prebuilt=False), SchemaValidator(schema, CONFIG, _use_prebuilt=False)
    )


def _tune(node: Any) -> Any:
    if type(node) is list:
        return [_tune(item) for item in node]
    if type(node) is tuple:  # a choice of a union with its label
        return tuple(_tune(item) for item in node)
    if type(node) is not dict:
        return node
    kind = node.get("type")
    copy = {key: value if key in OPAQUE else _tune_part(key, value) for key, value in node.items()}
    if kind in CONFIGURED:
        copy["config"] = {**(copy.get("config") or {}), **CONFIG}
    elif kind in ("set", "frozenset") and "serialization" not in copy:
        copy["serialization"] = core_schema.wrap_serializer_function_ser_schema(_in_order, when_used="json")
    return copy


def _tune_part(key: str, value: Any) -> Any:
    # Here the keys are the user's own names, which may look like ours.
    if key in ("fields", "choices") and type(value) is dict:
        return {name: _tune(part) for name, part in value.items()}
    return _tune(value)


def _in_order(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Write a set by its encoded elements, in order: hash order differs between processes, fingerprints may not."""
    if not isinstance(value, (set, frozenset)):
        raise PydanticSerializationUnexpectedValue(f"Expected a set, given {type(value).__name__}")
    items = handler(value)
    return sorted(items, key=to_json) if isinstance(items, list) else items
