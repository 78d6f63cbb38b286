"""Access to the values of a JSON document, with a UserError that names the place of a wrong value."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from centernet.documents import HIGHEST, LOWEST, place_of
from centernet.errors import UserError, shown


class JsonValue:
    """One value of a document, and its place in it. The C++ program has the same class (json_file.h).

    Every method raises UserError "SOURCE: PLACE must be ..., found ...: REMEDY" if the value is of another form.
    """

    def __init__(self, value: Any, source: str, remedy: str, place: str = ""):
        self.value, self.source, self.remedy, self.place = value, source, remedy, place

    def fail(self, what: str) -> NoReturn:
        """Raise UserError: this value `what`, for example "must be positive"."""
        raise UserError(f"{self.source}: {self.place or 'the document'} {what}, found {shown(self.value)}: "
                        f"{self.remedy}")

    def __getitem__(self, key: str) -> JsonValue:
        found = self.get(key)
        if found is None:
            raise UserError(f"{self.source}: the key '{place_of(self.place, key)}' is missing: {self.remedy}")
        return found

    def get(self, key: str) -> JsonValue | None:
        """Return the value of an object's key; None if the object does not have it."""
        if not isinstance(self.value, dict):
            self.fail("must be an object")
        return self._child(key, self.value[key]) if key in self.value else None

    def _child(self, key: str | int, value: Any) -> JsonValue:
        return JsonValue(value, self.source, self.remedy, place_of(self.place, key))

    def items(self, *counts: int) -> list[JsonValue]:
        """Return the elements of a list. With counts, it must have one of these numbers of elements."""
        if not isinstance(self.value, list):
            self.fail("must be a list")
        if counts and len(self.value) not in counts:
            self.fail(f"must be a list of {' or '.join(map(str, counts))} values")
        return [self._child(number, value) for number, value in enumerate(self.value)]

    def pairs(self) -> list[tuple[str, JsonValue]]:
        """Return keys and values of an object."""
        if not isinstance(self.value, dict):
            self.fail("must be an object")
        return [(key, self._child(key, value)) for key, value in self.value.items()]

    def whole(self, lowest: int = LOWEST, highest: int = HIGHEST) -> int:
        """Return a whole number between two limits; 4.0 is one."""
        if type(self.value) not in (int, float) or self.value % 1 != 0 \
                or not lowest <= self.value <= highest:
            range_ = str(lowest) if lowest == highest else f"a whole number from {lowest} to {highest}"
            self.fail(f"must be {range_}")
        return int(self.value)

    def number(self) -> float:
        """Return a finite number."""
        if type(self.value) not in (int, float):
            self.fail("must be a number")
        return float(self.value)

    def positive(self) -> float:
        """Return a finite number above 0."""
        number = self.number()
        if not number > 0:
            self.fail("must be a number above 0")
        return number

    def boolean(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            self.fail("must be true or false")
        return self.value

    def text(self, choices: Sequence[str] = ()) -> str:
        """Return a text. With choices, it must be one of them."""
        if not isinstance(self.value, str) or (choices and self.value not in choices):
            self.fail(f"must be {' or '.join(choices) or 'text'}")
        return self.value
