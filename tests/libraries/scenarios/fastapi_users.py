"""fastapi-users: users who register, log in and out, with their tokens in RedisStrategy."""

import asyncio
import dataclasses
import uuid
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, RedisStrategy
from fastapi_users.db import BaseUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from redis import asyncio as redis_asyncio
from stage import kill_connections, repeated

USERS = 10
REQUESTS = 50


@dataclasses.dataclass
class User:
    """A row of the table of users, which is a dict here."""

    email: str
    hashed_password: str
    is_active: bool = True
    is_superuser: bool = False
    is_verified: bool = False
    id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)


class Users(BaseUserDatabase[User, uuid.UUID]):
    def __init__(self) -> None:
        self.users: dict[uuid.UUID, User] = {}

    async def get(self, id: uuid.UUID) -> User | None:
        return self.users.get(id)

    async def get_by_email(self, email: str) -> User | None:
        return next((user for user in self.users.values() if user.email == email), None)

    async def create(self, create_dict: dict[str, Any]) -> User:
        user = User(**create_dict)
        self.users[user.id] = user
        return user


class UserRead(schemas.BaseUser[uuid.UUID]):
    pass


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = "secret"


# The cheapest rounds that bcrypt has: the passwords are no part of what is tried.
passwords = PasswordHelper(PasswordHash((BcryptHasher(rounds=4),)))
database = Users()


async def manager() -> UserManager:
    return UserManager(database, passwords)


def make(redis: Any) -> FastAPI:
    backend = AuthenticationBackend(
        name="redis",
        transport=BearerTransport(tokenUrl="login"),
        get_strategy=lambda: RedisStrategy(redis, lifetime_seconds=3600),
    )
    users = FastAPIUsers[User, uuid.UUID](manager, [backend])
    app = FastAPI()
    app.include_router(users.get_auth_router(backend))
    app.include_router(users.get_register_router(UserRead, schemas.BaseUserCreate))
    signed_in = users.current_user(active=True)

    @app.get("/me")
    async def me(user: Annotated[User, Depends(signed_in)]) -> str:
        return user.email

    return app


def mail(number: int) -> str:
    return f"user{number}@example.com"


async def main(url: str) -> None:
    redis = redis_asyncio.from_url(url, decode_responses=True)
    transport = httpx.ASGITransport(make(redis))
    async with httpx.AsyncClient(transport=transport, base_url="http://users") as web:
        for number in range(USERS):
            registered = await web.post("/register", json={"email": mail(number), "password": "guess me"})
            assert registered.status_code == 201, registered.text

        async def login(number: int, password: str = "guess me") -> httpx.Response:
            return await web.post("/login", data={"username": mail(number), "password": password})

        assert (await login(0, "wrong")).status_code == 400
        logins = await asyncio.gather(*map(login, range(USERS)))
        tokens = [reply.json()["access_token"] for reply in logins]
        assert await redis.dbsize() == len(set(tokens)) == USERS
        assert 0 < await redis.ttl(f"fastapi_users_token:{tokens[0]}") <= 3600

        async def me(number: int) -> httpx.Response:
            return await web.get("/me", headers={"Authorization": f"Bearer {tokens[number]}"})

        for killed in (False, True):
            if killed:
                await kill_connections()
            numbers = [each % USERS for each in range(REQUESTS)]
            replies = await asyncio.gather(*(repeated(lambda number=number: me(number)) for number in numbers))
            assert [reply.json() for reply in replies] == [mail(number) for number in numbers]

        unknown = await web.get("/me", headers={"Authorization": "Bearer made-up"})
        assert unknown.status_code == 401

        for turns in range(0, 60, 4):
            tasks = [asyncio.ensure_future(me(number)) for number in range(USERS)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for number, outcome in enumerate(outcomes):
                if isinstance(outcome, httpx.Response):
                    assert outcome.json() == mail(number)
                else:
                    assert isinstance(outcome, asyncio.CancelledError), outcome

        out = await web.post("/logout", headers={"Authorization": f"Bearer {tokens[0]}"})
        assert out.status_code in {200, 204}, out.status_code
        assert [(await me(number)).status_code for number in range(2)] == [401, 200]
    await redis.aclose()
