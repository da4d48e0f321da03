"""An OpenID provider for tests: real discovery, codes and signed tokens, and no passwords.

It speaks the authorization code flow of OpenID Connect Core 1.0 over HTTP on this machine. Its
sign-in page has one button a person; who presses it is signed in as them.
"""

import base64
import json
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "decisions"
CLIENT_SECRET = "a secret of tests"
_TOKEN_SECONDS = 300


@dataclass
class Provider:
    """Whom it knows, by e-mail with the claims of their tokens; and what it has given out."""

    people: Mapping[str, Mapping[str, Any]]
    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "test"}))
    grants: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def configuration(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/end",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
        }

    def sign_in_page(self, request: Mapping[str, str]) -> str:
        """A form with a button for each person."""
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in request.items()
        )
        buttons = "".join(
            f'<p><button name="person" value="{escape(email)}">{escape(email)}</button></p>'
            for email in self.people
        )
        return (
            '<!doctype html><html lang="en"><title>Who are you?</title><h1>Who are you?</h1>'
            f'<form action="/grant">{fields}{buttons}</form></html>'
        )

    def granted(self, request: Mapping[str, str]) -> str:
        """Where the browser goes back to, with a code that stands for the person."""
        code = secrets.token_urlsafe(16)
        self.grants[code] = dict(request)
        back = {"code": code, "state": request.get("state", "")}
        return f"{request['redirect_uri']}?{urlencode(back)}"

    def tokens(self, request: Mapping[str, str]) -> dict[str, Any] | None:
        """The tokens for a code, once; None for one that was not given out to this client."""
        grant = self.grants.pop(request.get("code", ""), None)
        if grant is None or grant["redirect_uri"] != request.get("redirect_uri"):
            return None
        challenge = grant.get("code_challenge")
        if challenge and challenge != _challenge(request.get("code_verifier", "")):
            return None
        access = secrets.token_urlsafe(16)
        self.grants[access] = grant
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": _TOKEN_SECONDS,
            "id_token": self._id_token(grant),
        }

    def claims(self, email: str) -> dict[str, Any]:
        """What is told of a person."""
        return {"sub": sha256(email.encode()).hexdigest()[:16], "email": email} | dict(
            self.people[email]
        )

    def _id_token(self, grant: Mapping[str, str]) -> str:
        now = int(time.time())
        claims = self.claims(grant["person"]) | {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
        }
        if "nonce" in grant:
            claims["nonce"] = grant["nonce"]
        return jwt.encode({"alg": "RS256", "kid": "test"}, claims, self.key)


def _challenge(verifier: str) -> str:
    """The S256 challenge of RFC 7636."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@contextmanager
def running(people: Mapping[str, Mapping[str, Any]]) -> Generator[Provider]:
    """A provider that answers at its `issuer` until the block ends."""
    provider = Provider(people)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            request = _single(url.query)
            match url.path:
                case "/.well-known/openid-configuration":
                    self._json(provider.configuration())
                case "/keys":
                    self._json({"keys": [provider.key.as_dict(private=False)]})
                case "/authorize" if request.get("client_id") == CLIENT_ID:
                    self._answer(200, "text/html", provider.sign_in_page(request))
                case "/grant" if request.get("person") in provider.people:
                    self._redirect(provider.granted(request))
                case "/userinfo" if (token := self._bearer()) in provider.grants:
                    self._json(provider.claims(provider.grants[token]["person"]))
                case "/end":
                    self._redirect(request.get("post_logout_redirect_uri", "/"))
                case _:
                    self._answer(404, "text/plain", "there is nothing here")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            request = _single(body)
            tokens = provider.tokens(request) if self._is_client(request) else None
            if self.path != "/token" or tokens is None:
                self._json({"error": "invalid_grant"}, status=400)
            else:
                self._json(tokens)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: a test's output is not the place."""

        def _is_client(self, request: Mapping[str, str]) -> bool:
            basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            given = self.headers.get("authorization", "").removeprefix("Basic ")
            return given == basic or request.get("client_secret") == CLIENT_SECRET

        def _bearer(self) -> str:
            return self.headers.get("authorization", "").removeprefix("Bearer ")

        def _json(self, value: Mapping[str, Any], *, status: int = 200) -> None:
            self._answer(status, "application/json", json.dumps(value))

        def _answer(self, status: int, kind: str, text: str) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _redirect(self, address: str) -> None:
            self.send_response(302)
            self.send_header("Location", address)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def _single(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}
