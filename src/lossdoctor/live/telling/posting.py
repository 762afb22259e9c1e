"""One POST to a webhook, and whether trying again makes sense. Nothing here ever names the URL: it is a secret."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

_SCHEMES = ("http", "https")
_TRY_AGAIN = frozenset({408, 425, 429})  # and every 5xx
_MOST_READ = 1 << 12
_LONGEST_AFTER = 3600.0
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f-\x9f]")


class Refusal(Exception):
    """The message cannot be delivered, now or later; the text says why, in words without the URL."""


class Retry(Exception):
    """The message could not be delivered now; ``after`` is how many seconds the server wants to be left alone."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def checked(url: str) -> str:
    """The URL when it may be posted to; raises ValueError (which does not repeat it) otherwise.

    >>> checked("file:///etc/passwd")
    Traceback (most recent call last):
    ValueError: a webhook needs an http:// or https:// URL, got one that begins with 'file:'
    """
    if not isinstance(url, str) or not url.strip():
        raise ValueError(f"a webhook needs an http:// or https:// URL, got {type(url).__name__} without content")
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the webhook's URL is malformed (host or port)") from None
    if parts.scheme.lower() not in _SCHEMES:
        begins = f"one that begins with {parts.scheme[:20] + ':'!r}" if parts.scheme else "one without either"
        raise ValueError(f"a webhook needs an http:// or https:// URL, got {begins}")
    if not host:
        raise ValueError("the webhook's URL names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the webhook's URL holds a user name or password; give them as headers={'Authorization': …}")
    if _NOT_IN_URLS.search(url) or not url.isascii():
        raise ValueError("the webhook's URL holds characters that must be written as %XX")
    return url


def place(url: str) -> str:
    """What may be shown of a URL: its host, and its port where it names one.

    >>> place("https://hooks.example.com:8443/services/secret")
    'hooks.example.com:8443'
    """
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
    """Send JSON.

    Args:
        timeout: seconds for connecting, and for each piece of the answer.

    Raises:
        Refusal: the server does not want it, or sends us somewhere we do not go.
        Retry: no connection, no answer in time, or the server asks to come again.
    """
    request = Request(url, data=body, method="POST", headers={**_headers(), **headers})
    try:
        with _opener().open(request, timeout=timeout) as answer:
            answer.read(_MOST_READ)
    except HTTPError as error:
        with error:
            raise _judged(error) from None
    except URLError as error:
        raise Retry(_words(error.reason)) from None
    except (OSError, HTTPException) as error:
        raise Retry(_words(error)) from None


def _headers() -> dict[str, str]:
    from lossdoctor import __version__

    return {"Content-Type": "application/json; charset=utf-8", "User-Agent": f"lossdoctor/{__version__}"}


def _judged(error: HTTPError) -> Refusal | Retry:
    said = f"status {error.code}"
    if error.code in _TRY_AGAIN or error.code >= 500:
        return Retry(said, _after(error.headers))
    hint = {401: "check its credentials", 403: "it may have been revoked", 404: "check the URL", 410: "it was deleted"}
    return Refusal(f"{said}; {hint[error.code]}" if error.code in hint else said)


def _after(headers: Message | None) -> float | None:
    """Seconds that ``Retry-After`` asks for, given in seconds or as a date."""
    said = (headers.get("Retry-After") if headers is not None else None) or ""
    try:
        seconds = float(said)
    except ValueError:
        try:
            date = parsedate_to_datetime(said)
        except ValueError:
            return None
        from datetime import UTC, datetime

        seconds = (date - datetime.now(UTC)).total_seconds() if date.tzinfo else 0.0
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_AFTER)


def _words(reason: Any) -> str:
    """An error without what it may quote of the request."""
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    return type(reason).__name__


def _opener() -> OpenerDirector:
    return build_opener(_Redirects)


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect with the same POST, to http(s) only and never from https to http.

    The standard handler would turn the POST into a GET without the message.
    """

    max_redirections = 5

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request:
        del fp, msg, headers
        try:
            target = checked(newurl)
        except ValueError:
            raise Refusal("it redirects to something that is no http(s) URL") from None
        if urlsplit(req.full_url).scheme == "https" and urlsplit(target).scheme != "https":
            raise Refusal("it redirects from https to http, where the message could be read")
        if code == 303:  # "see other": the message was taken, what is there only says so
            return Request(target, headers=_headers(), method="GET")
        same = place(target) == place(req.full_url)  # the user's headers may hold a credential for that host alone
        kept = {k: v for k, v in req.header_items() if k.lower() not in ("host", "content-length")}
        return Request(target, data=req.data, headers=kept if same else _headers(), method="POST")
