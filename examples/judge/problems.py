"""Problems of the judge, and programs that show what it makes of them."""

from __future__ import annotations

from typing import Final, NamedTuple


class Problem(NamedTuple):
    """A task for programs that read standard input, and the outputs that are right."""

    id: str
    title: str
    text: str
    cases: tuple[tuple[str, str], ...]
    solution: str

    def is_right(self, case: int, output: str) -> bool:
        """Compare line by line; blanks at the ends of lines, and empty lines at the end, do not count."""
        return lines(output) == lines(self.cases[case][1])


def lines(output: str) -> list[str]:
    """Return the lines that count."""
    return [line.rstrip() for line in output.rstrip().splitlines()]


def _fizzbuzz(count: int) -> str:
    words = {0: "FizzBuzz", **dict.fromkeys((3, 6, 9, 12), "Fizz"), **dict.fromkeys((5, 10), "Buzz")}
    return "\n".join(words.get(number % 15, str(number)) for number in range(1, count + 1))


SUM: Final = Problem(
    "sum",
    "Sum",
    "The input has integers, separated by blanks or line ends. Print their sum. It may be large, and the input empty.",
    (
        ("1 2 3\n", "6"),
        ("-5\n5\n", "0"),
        (f"{10**18} {10**18}\n", str(2 * 10**18)),
        ("", "0"),
    ),
    "import sys\n\nprint(sum(int(word) for word in sys.stdin.read().split()))\n",
)

FIZZBUZZ: Final = Problem(
    "fizzbuzz",
    "FizzBuzz",
    "The input is a number n. Print the numbers from 1 to n, a line each. Print Fizz for those divisible by 3, Buzz "
    "for those divisible by 5, and FizzBuzz for those divisible by both.",
    tuple((f"{count}\n", _fizzbuzz(count)) for count in (3, 5, 15, 100)),
    """n = int(input())
for i in range(1, n + 1):
    print("Fizz" * (i % 3 == 0) + "Buzz" * (i % 5 == 0) or i)
""",
)

PALINDROMES: Final = Problem(
    "palindromes",
    "Palindromes",
    "Print yes or no for each line of the input: is it a palindrome? Only letters and digits count, and A is a.",
    (
        ("level\nlever\n", "yes\nno"),
        ("A man, a plan, a canal: Panama!\n", "yes"),
        ("No lemon, no melon\n12 21\n12 12\n", "yes\nyes\nno"),
        ("É\nÉté\n", "yes\nyes"),
    ),
    """import sys

for line in sys.stdin.read().splitlines():
    letters = [c for c in line.lower() if c.isalnum()]
    print("yes" if letters == letters[::-1] else "no")
""",
)

PROBLEMS: Final = {problem.id: problem for problem in (SUM, FIZZBUZZ, PALINDROMES)}

#: Programs to try for any problem, besides its solution.
SAMPLES: Final = {
    "wrong answer": 'print("42")\n',
    "error": 'print("<b>so far, so good</b>")\nprint([1, 2, 3][3])\n',
    "endless loop": 'print("thinking ...", flush=True)\nwhile True:\n    pass\n',
    "endless output": 'while True:\n    print("all work and no play makes Jack a dull boy")\n',
    "1 GB of memory": "hoard = bytearray(10**9)\nprint(len(hoard))\n",
    "fork bomb": "import os\n\nwhile True:\n    os.fork()\n",
}
