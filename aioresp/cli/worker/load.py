"""Import of the queues that a command line names, as `module:attribute`.

Owns what is said of a name that leads nowhere. Never hides a fault of the application: that keeps its traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType

from aioresp.hints import meant
from aioresp.recipes import Queue


class CannotLoad(Exception):
    """A name on the command line leads to no queue; the message says why, after a traceback where there is one."""


def load(name: str) -> Queue:
    """Return the queue that `module:attribute` names. Modules are searched in the current directory first."""
    path, colon, attribute = name.partition(":")
    if not path or (colon and not attribute) or path.endswith(".py") or "/" in path:
        raise CannotLoad(f"'{name}' is not of the form module:attribute, such as app:queue or shop.jobs:queue")
    module = _imported(path, name)
    if not colon:
        raise CannotLoad(f"'{name}' names no attribute: {_queues(module, path)}")
    found: object = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            hint = meant(part, [each for each in dir(found) if not each.startswith("_")])
            raise CannotLoad(f"{name}: there is no '{part}'{hint or '; ' + _queues(module, path)}") from None
    if not isinstance(found, Queue):
        raise CannotLoad(f"{name} is {type(found).__name__}, not a queue: {_queues(module, path)}")
    return found


def _imported(path: str, name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{path}.".startswith(f"{error.name}."):
            raise CannotLoad(f"{name}: there is no module '{error.name}' in {here} or among the packages") from None
        raise CannotLoad(f"{_trace(error)}{name} cannot be imported") from None
    except (Exception, SystemExit) as error:
        raise CannotLoad(f"{_trace(error)}{name} cannot be imported") from None


def _trace(error: BaseException) -> str:
    """Return the traceback without the frames of this command and of Python's import."""
    own = (__file__, importlib.__file__)
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith((*own, "<frozen importlib")):
        frames = frames.tb_next
    return "".join(traceback.format_exception(error.with_traceback(frames)))


def _queues(module: ModuleType, path: str) -> str:
    """Return what to write in place of the name."""
    names = [name for name, value in vars(module).items() if isinstance(value, Queue)]
    if names:
        return "write " + " or ".join(f"{path}:{name}" for name in names)
    return f'there is no queue in {path}; make one with `queue = Queue(redis, "name")`'
