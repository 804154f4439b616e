"""Replies of vector sets."""

from __future__ import annotations

from typing import Any

from aioresp.command import Converter
from aioresp.record import Record
from aioresp.replies import array_or_none, mapping, parts, record, string


class RawVector(Record):
    """A vector as the server keeps it: how, its bytes, its length before it was normalised, and for q8 its range."""

    quantization: str
    raw: bytes
    l2: float
    range: float | None


class VectorSetInfo(Record):
    """Reply of VINFO; a field that the server does not send is None."""

    quant_type: str
    vector_dim: int
    size: int
    max_level: int
    hnsw_m: int | None
    projection_input_dim: int | None
    attributes_count: int | None
    vset_uid: int | None
    hnsw_max_node_uid: int | None


def vector(value: Any) -> list[float] | None:
    """Return the numbers of a vector; RESP2 has them as text."""
    return None if value is None else [float(number) for number in parts(value)]


def raw_vector(value: Any) -> RawVector | None:
    """Return a vector as it is kept."""
    if value is None:
        return None
    quantization, raw, l2, *rest = parts(value)
    return RawVector(string(quantization), raw, float(l2), float(rest[0]) if rest else None)


_vector_set_info: Converter[VectorSetInfo] = record(VectorSetInfo, quant_type=string)


def vector_set_info(value: Any) -> VectorSetInfo | None:
    """Return what VINFO says, or None for nil."""
    return None if value is None else _vector_set_info(value)


def links(value: Any) -> list[list[Any]] | None:
    """Return the neighbours layer by layer."""
    return array_or_none(value)


def links_with_scores(value: Any) -> list[list[tuple[Any, float]]] | None:
    """Return the neighbours with their scores layer by layer; RESP2 has flat lists, with the scores as text."""
    if value is None:
        return None
    return [[(element, float(score)) for element, score in mapping(layer).items()] for layer in parts(value)]


def similar(with_scores: bool, with_attribs: bool) -> Converter[list[Any]]:
    """Return a converter of what VSIM finds: RESP3 has a map of it, RESP2 a flat list."""

    def convert(value: Any) -> list[Any]:
        if not with_scores and not with_attribs:
            return list(parts(value))
        if not (with_scores and with_attribs):
            found = mapping(value).items()
            return [(element, float(score)) for element, score in found] if with_scores else list(found)
        if isinstance(value, dict):
            return [(element, float(score), attributes) for element, (score, attributes) in value.items()]
        items = iter(parts(value))
        return [(element, float(score), attributes) for element, score, attributes in zip(*(items,) * 3, strict=True)]

    return convert
