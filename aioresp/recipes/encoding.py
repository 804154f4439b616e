"""Encoding of arguments and results as JSON, decoded by the annotations of a function.

Owns the signature of a function as it travels. Never unpickles: what a stranger writes into Redis runs no code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar, get_type_hints

import msgspec

from aioresp.errors import ArgumentError, ArgumentTypeError, DecodeError

T = TypeVar("T")


def _write(value: Any) -> Any:
    """Return a model of pydantic as what JSON can hold."""
    if not callable(getattr(value, "model_dump", None)) or isinstance(value, type):
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")  # as msgspec says it
    return value.model_dump(mode="json", by_alias=True)


def _read(kind: Any, value: Any) -> Any:
    """Return a model of pydantic, made of what JSON has held."""
    if not callable(getattr(kind, "model_validate_json", None)):
        if isinstance(kind, type) and isinstance(value, kind):
            return value  # as of `object`
        raise TypeError(f"Expected `{getattr(kind, '__name__', kind)}`, got `{type(value).__name__}`")
    try:
        return kind.model_validate_json(_unordered.encode(value))
    except ValueError as error:
        details: list[Any] = getattr(error, "errors", list)()  # the text of pydantic shows the data
        where = ", ".join(".".join(map(str, each["loc"])) or kind.__name__ for each in details[:3])
    raise ValueError(f"{kind.__name__} refuses {where or 'it'}")


_encoder: Final = msgspec.json.Encoder(order="deterministic", enc_hook=_write)

#: It takes what the other refuses: dicts whose keys are numbers, dates or enums. Their order is that of the dict.
_unordered: Final = msgspec.json.Encoder(enc_hook=_write)


def encode(value: object, where: str) -> bytes:
    """Return a value as JSON; `where` names it in the ArgumentTypeError.

    Equal values have the same bytes, unless their dicts have other keys than text and another order.
    """
    try:
        try:
            return _encoder.encode(value)
        except TypeError:
            return _unordered.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise ArgumentTypeError(
            f"{where} is {type(value).__name__}, which cannot be written as JSON: {_reason(error)}; pass numbers, text,"
            " bytes, lists, dicts, dates, enums, dataclasses, msgspec structs or pydantic models"
        ) from None


class Decoder(Generic[T]):
    """Decoder of JSON into the type of one annotation."""

    def __init__(self, annotation: Any) -> None:
        try:
            self._decoder = msgspec.json.Decoder(annotation, dec_hook=_read)
        except TypeError as error:
            raise ArgumentTypeError(f"{annotation} cannot be decoded from JSON: {error}") from None

    def decode(self, data: bytes | str | msgspec.Raw, where: str) -> T:
        """Return the value. Raise DecodeError, which names `where` and the place, never the data."""
        try:
            value: T = self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"{where} does not fit its type: {_reason(error)}") from None
        return value


class Signature(Generic[T]):
    """Parameters and result of a function, as they travel. Annotations are read at first use, when all names exist."""

    def __init__(self, function: Callable[..., object], name: str) -> None:
        self.name = name
        self._function = function
        self._signature = inspect.signature(function)
        self._decoders: dict[str, Decoder[Any]] | None = None
        #: The least and the most arguments of a call by position that binding would leave as it is: most calls.
        self._plain = _plain(self._signature)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the arguments of a call as JSON, `[[positional], {by name}]`, equal for equal calls.

        Defaults are not sent: the worker's own apply. Raise ArgumentTypeError for arguments that the function does not
        take, or that JSON cannot hold.
        """
        least, most, places = self._plain
        if kwargs:
            args, kwargs = _in_places(args, kwargs, places)
        if not kwargs and least <= len(args) <= most:
            try:
                return _encoder.encode((args, {}))
            except Exception:
                pass  # the other way names the argument
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentTypeError(f"{self.name}(): {error}") from None
        positional, named = bound.args, bound.kwargs
        try:
            return encode((positional, named), self.name)
        except ArgumentTypeError:
            for place, value in bound.arguments.items():  # again, one by one, to name the argument
                encode(value, f"{self.name}(): the argument {place}")
            raise

    def decode(self, data: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments, each decoded by its annotation; raise DecodeError if they do not fit the function."""
        try:
            raw_args, raw_kwargs = _envelope.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(
                f"the payload of {self.name} is not of the form [[...], {{...}}]: {_reason(error)}"
            ) from None
        decoders = self._decoders or self.resolve()
        least, most, _ = self._plain
        if not raw_kwargs and least <= len(raw_args) <= most:
            return [
                decoder.decode(raw, f"the argument {place} of {self.name}")
                for raw, (place, decoder) in zip(raw_args, decoders.items(), strict=False)
            ], {}
        try:
            bound = self._signature.bind(*raw_args, **raw_kwargs)
        except TypeError as error:
            raise DecodeError(f"the payload of {self.name} does not fit the function: {error}") from None
        for place, value in bound.arguments.items():
            kind = self._signature.parameters[place].kind
            decoder = decoders[place]
            where = f"the argument {place} of {self.name}"
            if kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[place] = tuple(decoder.decode(one, where) for one in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[place] = {key: decoder.decode(one, where) for key, one in value.items()}
            else:
                bound.arguments[place] = decoder.decode(value, where)
        return list(bound.args), dict(bound.kwargs)

    def result(self, data: bytes) -> T:
        """Return the result, decoded by the annotation of the function."""
        value: T = (self._decoders or self.resolve())["return"].decode(data, f"the result of {self.name}")
        return value

    def resolve(self) -> dict[str, Decoder[Any]]:
        """Return the decoders of the parameters in order, and of "return".

        Raise ArgumentError if an annotation cannot be read, ArgumentTypeError if JSON cannot be decoded into it.
        """
        try:
            hints = get_type_hints(self._function, include_extras=True)
        except NameError as error:
            raise ArgumentError(
                f"{self.name}: an annotation cannot be read at run time: {error}; import its name outside of"
                " `if TYPE_CHECKING`"
            ) from None
        names = (*self._signature.parameters, "return")
        self._decoders = {name: Decoder(hints.get(name, Any)) for name in names}
        return self._decoders


def _plain(signature: inspect.Signature) -> tuple[int, int, tuple[str | None, ...]]:
    """Return the least and the most arguments that a call by position may have; (1, 0) if such calls are not plain.

    Also return the names of those that may be given by name, too.
    """
    kinds = inspect.Parameter
    positional = [each for each in signature.parameters.values() if each.kind <= kinds.POSITIONAL_OR_KEYWORD]
    others = [each for each in signature.parameters.values() if each.kind > kinds.POSITIONAL_OR_KEYWORD]
    if any(each.kind == kinds.VAR_POSITIONAL or _is_needed(each) for each in others):
        return 1, 0, ()
    names = tuple(each.name if each.kind == kinds.POSITIONAL_OR_KEYWORD else None for each in positional)
    return sum(each.default is kinds.empty for each in positional), len(positional), names


def _in_places(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], places: tuple[str | None, ...]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return a call with arguments by name put in their places, as binding does; as it is if some have none there."""
    found = list(args)
    for name in places[len(args) :]:
        if name is None or name not in kwargs:
            break
        found.append(kwargs[name])
    return (tuple(found), {}) if len(found) - len(args) == len(kwargs) else (args, kwargs)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.kind == inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty


_envelope: Final = msgspec.json.Decoder(tuple[list[msgspec.Raw], dict[str, msgspec.Raw]])


def _reason(error: BaseException) -> str:
    """Return what msgspec says, which names types and places; a UnicodeDecodeError would show the data."""
    if isinstance(error, UnicodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error)
