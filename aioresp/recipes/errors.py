"""Exceptions of the recipes, under one root.

Owns what each error says. Never shows a payload: arguments and results of jobs may be secret.
"""

from __future__ import annotations

from aioresp.errors import RedisError


class RecipeError(RedisError):
    """Base of the errors that only recipes raise."""
