"""examples/analytics over HTTP, as `make analytics` starts it: what is accepted, refused and stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.examples.kit import application

VIEW = {"kind": "view", "page": "/shoes", "user": "ada", "ms": 12}


@pytest.mark.ci
def test_events_are_accepted_or_refused_with_a_word_and_stored_once(tmp_path: Path) -> None:
    with application("analytics", "--rate", "0", "--dir", str(tmp_path)) as app:
        url = app.line(r"takes events at (\S+)")
        with httpx2.Client() as http:

            def post(content: Any) -> tuple[int, Any]:
                body = content if isinstance(content, bytes) else msgspec.json.encode(content)
                answer = http.post(url, content=body)
                return answer.status_code, answer.json()

            many = [{**VIEW, "id": f"event-{number:03}", "kind": "click"} for number in range(100)]
            assert post(VIEW) == (202, {"accepted": 1})
            assert post(many) == (202, {"accepted": 100})
            assert post(many) == (202, {"accepted": 100})  # again, as after an answer that never came

            for wrong, word in (
                (b"{", "truncated"),
                (b'{"kind": "view\xff"}', "UTF-8"),
                ([], "Expected 1 to 1000 events, got 0"),
                ([VIEW] * 1001, "got 1001"),
                ({"kind": "view", "page": "/"}, "missing required field `user`"),
                ([VIEW, {**VIEW, "ms": "12"}], "Expected `int`, got `str` - at `$[1].ms`"),
                ({**VIEW, "ms": 1 << 70}, "$.ms"),
                ({**VIEW, "kind": "View"}, "$.kind"),
                ({**VIEW, "page": "shoes"}, "$.page"),
                ({**VIEW, "user": "a\0"}, "$.user"),
                ({**VIEW, "user": "a" * 201}, "$.user"),
                ({**VIEW, "id": "short"}, "$.id"),
                ({**VIEW, "at": 1}, "unknown field `at`"),
            ):
                status, said = post(wrong)
                assert status == 422
                assert word in said["error"]
            assert http.get(url).status_code == 405
            status, said = post(b" " * (1 << 20) + b"1")
            assert status == 413

            page = http.get(app.url)
            assert "<title>analytics" in page.text
            assert http.get(f"{app.url}/style.css").headers["content-type"].startswith("text/css")
            assert http.post(f"{app.url}/pause", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403

        live = app.url.replace("http", "ws") + "/live"
        with pytest.raises(InvalidStatus), connect(live, proxy=None, origin=Origin("https://example.org")):
            pass
        with connect(live, proxy=None) as socket:
            while True:
                seen = msgspec.json.decode(socket.recv(timeout=30))
                if seen.get("summary", {}).get("total") == 101 and seen["books"]["waiting"] == 0:
                    break
        assert seen["summary"]["kinds"] == [["click", 100], ["view", 1]]
        assert seen["summary"]["pages"] == [["/shoes", 101]]
        assert len(seen["summary"]["latest"]) == 10
        assert seen["trouble"] == []
        assert app.end() < 5

    with closing(sqlite3.connect(tmp_path / "analytics.db")) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (101,)
