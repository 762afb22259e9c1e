"""Webhooks against a local server: what arrives, what is tried again, and that nobody waits."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.live.monitor import Monitor
from lossdoctor.live.rows import KINDS
from lossdoctor.live.telling.payloads import encode, event_payload, slack, verdict_payload
from lossdoctor.live.telling.webhooks import Webhook
from tests.live.telling.telling_samples import EXPLOSION, OVERFITTING, REMARK, event, standing, verdict

GOLDEN = Path(__file__).parent / "golden"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A local server that answers each request with the next of its answers (the last one again and again)."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [status(200)]
        self.got: list[tuple[str, str, dict[str, str], Any]] = []
        self.release = threading.Event()  # lets hanging answers end
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.take(self, json.loads(body))

            def do_GET(self) -> None:
                outer.take(self, None)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        self.got.append((handler.command, handler.path, dict(handler.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/services/secret-token"


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.release.set()
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries a hundredth as long."""
    monkeypatch.setattr("lossdoctor.live.telling.webhooks._FIRST_WAIT", 0.01)


def monitor() -> Monitor:
    return standing("gpt", "runs/gpt")


def until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


# what arrives


def test_a_verdict_arrives(server: Server) -> None:
    hook = Webhook(server.url, headers={"Authorization": "Bearer x"})
    hook.on_verdict(monitor(), verdict((EXPLOSION,)))
    hook.finish(monitor())
    ((command, path, headers, body),) = server.got
    assert (command, path) == ("POST", "/services/secret-token")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Authorization"] == "Bearer x"
    assert (body["kind"], body["run"], body["step"], body["severity"]) == ("verdict", "gpt", 950, "critical")
    assert [f["code"] for f in body["announced"]] == ["LD101"]
    assert (hook.sent, hook.lost) == (1, 0)


def test_the_payload_is_golden() -> None:
    payload = verdict_payload(verdict((EXPLOSION,), (OVERFITTING,), (REMARK,)), "gpt", "runs/gpt", now=1_700_000_000)
    told = {
        "json": json.loads(encode(payload)),
        "slack": json.loads(encode(slack(payload))),
        "event json": json.loads(encode(event_payload(event(), "gpt", "runs/gpt"))),
        "event slack": json.loads(encode(slack(event_payload(event(), "gpt", "runs/gpt")))),
    }
    golden = json.loads((GOLDEN / "webhook.json").read_text("utf-8"))
    assert told == golden


def test_slack_stays_within_its_limits() -> None:
    payload = {**verdict_payload(verdict(tuple([EXPLOSION] * 400))), "run": "r" * 5_000}
    message = slack(payload)
    assert len(message["blocks"]) <= 50
    assert all(len(b["text"]["text"]) <= 3_000 for b in message["blocks"] if b["type"] == "section")
    assert len(message["text"]) <= 4_000


def test_slack_takes_text_as_text(server: Server) -> None:
    hook = Webhook(server.url, style="slack")
    hook.on_event(standing("<!channel> & co"), event(message="a <b> & c"))
    hook.finish(monitor())
    body = server.got[0][3]
    assert body["text"] == "&lt;!channel&gt; &amp; co: stalled at step 40: a &lt;b&gt; &amp; c"
    assert set(body) == {"text", "blocks"}


def test_only_what_is_asked_for_is_sent(server: Server) -> None:
    hook = Webhook(server.url, least="critical", events=["stalled", "announced"])
    hook.on_verdict(monitor(), verdict((OVERFITTING,)))
    hook.on_verdict(monitor(), verdict((OVERFITTING, EXPLOSION)))
    hook.on_verdict(monitor(), verdict())
    for kind in KINDS:
        hook.on_event(monitor(), event(kind))
    hook.finish(monitor())
    assert [b["kind"] for _, _, _, b in server.got] == ["verdict", "event"]
    assert [f["code"] for f in server.got[0][3]["announced"]] == ["LD101"]
    assert server.got[1][3]["event"]["kind"] == "stalled"  # "announced" is told by its verdict


def test_messages_keep_their_order(server: Server) -> None:
    server.answers = [status(200), status(503), status(200)]
    hook = Webhook(server.url)
    for step in range(12):
        hook.on_event(monitor(), event(step=step))
    hook.finish(monitor())
    assert [b["step"] for _, _, _, b in server.got] == [0, 1, 1, *range(2, 12)]


# what is tried again


def test_a_server_error_is_tried_again(server: Server) -> None:
    server.answers = [status(500), status(502), status(200)]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: hook.sent == 1)
    assert len(server.got) == 3
    assert hook.lost == 0


def test_too_many_requests_are_asked_again_when_the_server_says(server: Server) -> None:
    server.answers = [status(429, Retry_After="1"), status(200)]
    hook = Webhook(server.url)
    began = time.monotonic()
    hook.on_event(monitor(), event())
    assert until(lambda: hook.sent == 1)
    assert time.monotonic() - began >= 1.0  # not the hundredth of a second of our own back-off


def test_a_refusal_is_not_tried_again(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [status(404), status(200)]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: hook.lost == 1)
    hook.on_event(monitor(), event())  # another message is
    assert until(lambda: hook.sent == 1)
    assert "(status 404; check the URL)" in caplog.text


def test_a_dead_server_is_given_up_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    hook = Webhook(f"http://127.0.0.1:{port}/services/secret-token", retries=2)
    for _ in range(3):
        hook.on_event(monitor(), event())
    assert until(lambda: hook.lost == 3)
    assert len(caplog.records) == 1
    assert "Connection refused, 3 tries" in caplog.text


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_takes_the_message_along(server: Server, code: int) -> None:
    server.answers = [status(code, Location="/elsewhere"), status(200)]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: hook.sent == 1)
    assert [(c, p) for c, p, _, _ in server.got] == [("POST", "/services/secret-token"), ("POST", "/elsewhere")]
    assert server.got[1][3] == server.got[0][3]


def test_a_redirect_to_another_host_takes_no_credentials(server: Server) -> None:
    other = Server()
    server.answers = [status(307, Location=other.url)]
    hook = Webhook(server.url, headers={"Authorization": "Bearer x"})
    hook.on_event(monitor(), event())
    assert until(lambda: hook.sent == 1)
    other.server.shutdown()
    other.server.server_close()
    assert "Authorization" in server.got[0][2]
    assert "Authorization" not in other.got[0][2]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "data:,x"])
def test_a_redirect_elsewhere_is_refused(server: Server, target: str) -> None:
    server.answers = [status(307, Location=target)]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: hook.lost == 1)
    assert len(server.got) == 1


def test_redirects_in_a_circle_end(server: Server) -> None:
    server.answers = [status(307, Location="/again")]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: hook.lost == 1)
    assert len(server.got) < 20


# in a run


def test_a_monitored_run_tells_what_happens(server: Server, tmp_path: Path) -> None:
    with Monitor(tmp_path / "gpt", name="gpt", actions=[Webhook(server.url)]) as monitored:
        for step in range(200):
            monitored.log(step, loss=1.0 if step < 100 else float("nan"))
    kinds = [b["event"]["kind"] if b["kind"] == "event" else b["kind"] for _, _, _, b in server.got]
    assert kinds == ["verdict", "finished"]
    assert [f["code"] for f in server.got[0][3]["announced"]] == ["LD101"]
    assert server.got[0][3]["folder"] == str(tmp_path / "gpt")


# nobody waits


def hang(server: Server) -> Answer:
    return lambda _: server.release.wait(20) and None  # type: ignore[func-returns-value]


def test_a_hanging_server_holds_up_nobody(server: Server) -> None:
    server.answers = [hang(server)]
    hook = Webhook(server.url, timeout=0.3, retries=0, queue=5, flush=0.5)
    began = time.perf_counter()
    for step in range(500):
        hook.on_event(monitor(), event(step=step))
    assert time.perf_counter() - began < 1.0  # 500 messages: nobody waited for a timeout of 0.3 s
    began = time.perf_counter()
    hook.finish(monitor())
    assert time.perf_counter() - began < 1.5
    assert hook.sent == 0
    assert until(lambda: not hook._busy)
    assert hook.lost == 500


def test_finish_does_not_wait_for_a_long_retry_after(server: Server) -> None:
    server.answers = [status(429, Retry_After="3000")]
    hook = Webhook(server.url, flush=5)
    hook.on_event(monitor(), event())
    assert until(lambda: len(server.got) == 1)
    began = time.perf_counter()
    hook.finish(monitor())
    assert time.perf_counter() - began < 2
    assert hook.lost == 1


def test_finish_cuts_the_back_off_short(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossdoctor.live.telling.webhooks._FIRST_WAIT", 50.0)
    server.answers = [status(500), status(200)]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: len(server.got) == 1)
    hook.finish(monitor())
    assert hook.sent == 1


def test_nothing_is_left_to_wait_for_when_nothing_was_sent() -> None:
    hook = Webhook("https://hooks.example.com/x")
    began = time.perf_counter()
    hook.finish(monitor())
    assert time.perf_counter() - began < 0.1
    assert hook._thread is None


def test_it_serves_a_second_run(server: Server) -> None:
    hook = Webhook(server.url)
    for _ in range(2):
        hook.start(monitor())
        hook.on_event(monitor(), event())
        hook.finish(monitor())
    assert hook.sent == 2


# the URL is a secret, and must be one that can be posted to


def test_the_url_is_never_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [status(404)]
    hook = Webhook(server.url)
    hook.on_event(monitor(), event())
    assert until(lambda: hook.lost == 1)
    assert "secret" not in caplog.text + repr(hook)
    assert "127.0.0.1" in caplog.text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "without content"),
        ("hooks.example.com/secret", "one without either"),
        ("file:///etc/secret", "begins with 'file:'"),
        ("https:///secret", "names no host"),
        ("https://host:port/secret", "malformed"),
        ("https://me:secret@host/", "user name or password"),
        ("https://host/se cret", "must be written as %XX"),
        ("https://host/secret\nX: y", "must be written as %XX"),
        ("https://host/sécret", "must be written as %XX"),
        (None, "NoneType"),
    ],
)
def test_a_bad_url_is_told_without_repeating_it(url: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        Webhook(url)
    assert "cret" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "teams"}, "unknown webhook style 'teams'; styles are json and slack"),
        ({"least": "high"}, "unknown severity 'high'; severities are info, warning, critical"),
        ({"events": ["stal"]}, "unknown event 'stal'; events are announced,"),
        ({"timeout": 0}, "needs timeout > 0"),
        ({"queue": 0}, "queue >= 1"),
    ],
)
def test_bad_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Webhook("https://hooks.example.com/x", **options)
