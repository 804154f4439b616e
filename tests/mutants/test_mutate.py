"""That mutations are what they should be, and that each stage of tests is there."""

from __future__ import annotations

from tests.mutants.__main__ import MODULES, ROOT
from tests.mutants.mutate import Module

SOURCE = '''"""A docstring with 1 == 1."""

def found(a: int, b: list[int]) -> bool:
    """Return whether 2 < 3."""
    assert a == 1
    count = 7
    if a < count and b:
        count = 8
        logger.debug("not %d", 9)
        return True
    return count - a == 0
'''


def test_what_is_changed_and_what_is_left_alone() -> None:
    mutants = Module(SOURCE).mutants()
    changes = set()
    for mutant in mutants:
        changed = [
            new.strip() for old, new in zip(SOURCE.splitlines(), mutant.source.splitlines(), strict=True) if old != new
        ]
        assert len(changed) == 1
        assert mutant.source.splitlines()[mutant.line - 1].strip() == changed[0]
        changes.add(changed[0])
    assert changes == {
        "count = 8",
        "pass",
        "if (not (a < count and b)):",
        "if a < count or b:",
        "if a <= count and b:",
        "count = 9",
        "return False",
        "return count - a != 0",
        "return count + a == 0",
        "return count - a == 1",
    }
    assert len({mutant.source for mutant in mutants}) == len(mutants) == 11  # two statements become `pass`


def test_a_transition_is_left_out() -> None:
    source = "TABLE = frozenset({(A, B), (B, C), (C, A)})\n"
    assert [mutant.source for mutant in Module(source).mutants() if mutant.kind == "transition"] == [
        "TABLE = frozenset({(B, C), (B, C), (C, A)})\n",
        "TABLE = frozenset({(A, B), (C, A), (C, A)})\n",
        "TABLE = frozenset({(A, B), (B, C), (A, B)})\n",
    ]
    source = "NEXT = {(s.A, e.ON): s.B, (s.B, e.OFF): s.A, **ENDS}\n"
    assert [mutant.source for mutant in Module(source).mutants() if mutant.kind == "transition"] == [
        "NEXT = {(s.B, e.OFF): s.A, (s.B, e.OFF): s.A, **ENDS}\n",
        "NEXT = {(s.A, e.ON): s.B, (s.A, e.ON): s.B, **ENDS}\n",
    ]


def test_the_tests_of_each_module_are_there() -> None:
    for module, stages in MODULES.items():
        for path in (module, *" ".join(stages).split()):
            assert (ROOT / path).is_file(), path
