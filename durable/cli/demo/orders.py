"""The demo's input: orders as JSON lines, each checked before anything is started."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from durable._model.ids import check_name
from durable.cli.demo.shop import DECLINED, Order
from durable.cli.failures import Failure
from durable.errors import InvalidName

__all__ = ["Expected", "PACKAGED", "expected", "read_orders"]

PACKAGED: Final = Path(__file__).with_name("orders.jsonl")
_ID_BYTES_MAX: Final = 200
_SHAPE: Final = (
    '{"id": "7", "customer": "Ada", "email": "ada@example.com", "city": "Bath", "card": "4242424242424242", '
    '"items": [{"sku": "TEA-001", "quantity": 1, "price": "12.50"}]}'
)


def read_orders(path: Path) -> list[Order]:
    """All orders of a file; empty lines are skipped.

    Raises:
        Failure: It cannot be read, or a line is not an order; the message names the line.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {error}", "Give a file of JSON lines with --input.") from None
    orders: dict[str, Order] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        order = _order(line, f"{path}, line {number}")
        if order.id in orders:
            raise Failure(
                f"{path}, line {number}: order {order.id!r} is there already, on line {lines[order.id]}.",
                "Each order needs an id of its own.",
            )
        orders[order.id], lines[order.id] = order, number
    if not orders:
        raise Failure(f"{path} holds no order.", f"One per line, like: {_SHAPE}")
    return list(orders.values())


def _order(line: str, where: str) -> Order:
    try:
        order = Order.model_validate(json.loads(line))
        check_name("order id", order.id)
    except json.JSONDecodeError as error:
        raise Failure(f"{where}: not JSON: {error.msg} at column {error.colno}.", f"Write it like: {_SHAPE}") from None
    except RecursionError:
        raise Failure(f"{where}: nested too deeply.", f"Write it like: {_SHAPE}") from None
    except InvalidName as error:
        raise Failure(f"{where}: {error}", "Give it another id.") from None
    except ValidationError as error:
        raise Failure(f"{where}: {_told(error)}", f"Write it like: {_SHAPE}") from None
    if len(order.id.encode()) > _ID_BYTES_MAX:
        raise Failure(f"{where}: the id has more than {_ID_BYTES_MAX} bytes.", "Give it a shorter id.")
    return order


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    said = "is missing" if first["type"] == "missing" else first["msg"][:1].lower() + first["msg"][1:]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return (f"{place}: {said}" if place else said) + more + "."


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of an order.

    Attributes:
        effects: Steps that complete, each exactly once.
    """

    state: Literal["completed", "refused"]
    effects: frozenset[str]


def expected(order: Order) -> Expected:
    """The whole model of the shop, as a pure function of the input."""
    if order.card[-4:] in DECLINED:
        return Expected("refused", frozenset({"reserve_stock", "release_stock", "notify"}))
    effects = {"reserve_stock", "charge_card", "print_label", "send_receipt", "notify"}
    return Expected("completed", frozenset(effects))
