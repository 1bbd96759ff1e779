"""The corpus of bad tokens as data: each a name and the values of `authorization` that carry it.

`forged` holds what anybody can make without the platform's key; `misissued` what only the platform's key
could sign, so that nothing but the named thing is wrong.
"""

from __future__ import annotations

import hmac
import json
import time
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.support.sign import encode

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256 (FIPS 186-4, D.1.2.3)."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to come in.

    Attributes:
        name: the attack.
        values: the values of `authorization`, each a header of its own.
        status: what the refusal's status may be.
        either: whether taking it is right as well as refusing it; a failure of the server never is.
    """

    name: str
    values: tuple[str, ...]
    status: frozenset[int] = frozenset({401})
    either: bool = False


def parts(token: str) -> tuple[Json, Json, bytes]:
    """Header, claims and signature of a token."""
    head, body, signature = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split("."))
    return json.loads(head), json.loads(body), signature


def joined(head: object, body: object, signature: bytes = b"") -> str:
    """A token put together by hand."""
    pack = (encode(json.dumps(each).encode()) for each in (head, body))
    return f"{'.'.join(pack)}.{encode(signature)}"


def forged(genuine: str, jwks: Mapping[str, Any]) -> list[Attempt]:
    """What anybody can make who has one good token of their own and the public keys."""
    every = (unsigned, confused, signatures, headers, shapes)
    cases = [(name, token) for make in every for name, token in make(genuine, jwks)]
    return [Attempt(name=name, values=(f"Bearer {token}",)) for name, token in cases]


Cases = Iterator[tuple[str, str]]


def unsigned(genuine: str, _jwks: Mapping[str, Any]) -> Cases:
    """No signature is asked for."""
    head, body, signature = parts(genuine)
    for algorithm in ("none", "None", "NONE", "nOnE", "", " none", "none\u0000", None, 0, [], ["ES256"], {}):
        yield f"alg {algorithm!r}, no signature", joined({**head, "alg": algorithm}, body)
        yield f"alg {algorithm!r}, a signature", joined({**head, "alg": algorithm}, body, signature)
    yield "no alg", joined({"kid": head["kid"]}, body, signature)
    yield "alg es256", joined({**head, "alg": "es256"}, body, signature)


def confused(genuine: str, jwks: Mapping[str, Any]) -> Cases:
    """A signature of another algorithm, made with what is public."""
    head, body, _ = parts(genuine)
    public = ECKey.import_key(jwks["keys"][0])
    point: Any = public.public_key
    secrets = {
        "PEM": public.as_pem(private=False), "PEM without end of line": public.as_pem(private=False).strip(),
        "DER": public.as_der(private=False), "JWK": json.dumps(jwks["keys"][0]).encode(),
        "JWK sorted": json.dumps(jwks["keys"][0], sort_keys=True, separators=(",", ":")).encode(),
        "JWKS": json.dumps(jwks).encode(), "x": jwks["keys"][0]["x"].encode(), "empty": b"",
        "kid": str(head["kid"]).encode(),
        "point": point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        "compressed point": point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
    }  # fmt: skip
    for size in ("256", "384", "512"):
        for name, secret in secrets.items():
            signed = joined({**head, "alg": f"HS{size}"}, body).rstrip(".")
            mac = hmac.digest(secret, signed.encode(), f"sha{size}")
            yield f"HS{size} with the public key as {name}", f"{signed}.{encode(mac)}"
            yield (
                f"ES256 said, HS{size} signed with {name}",
                f"{joined(head, body).rstrip('.')}.{encode(mac)}",
            )
    others = {"RS256": RSAKey.import_key(rsa.generate_private_key(65537, 2048)), "PS256": None,
              "ES384": ECKey.generate_key("P-384"), "ES512": ECKey.generate_key("P-521"),
              "ES256": ECKey.generate_key("P-256"), "ES256K": ECKey.generate_key("secp256k1"),
              "Ed25519": OKPKey.import_key(ed25519.Ed25519PrivateKey.generate())}  # fmt: skip
    for algorithm, key in others.items():
        used = key or others["RS256"]
        token = jwt.encode({**head, "alg": algorithm}, body, used, algorithms=[algorithm])
        yield f"{algorithm} of another key", token
        yield f"ES256 said, {algorithm} signed", f"{joined(head, body).rstrip('.')}.{token.split('.')[2]}"


def signatures(genuine: str, _jwks: Mapping[str, Any]) -> Cases:
    """Damaged signatures (the zeros are CVE-2022-21449's)."""
    head, body, signature = parts(genuine)
    stem = genuine.rpartition(".")[0]
    r, s = signature[:32], signature[32:]
    whole, half = int.from_bytes(r, "big"), int.from_bytes(s, "big")
    zero, one, order = (value.to_bytes(32, "big") for value in (0, 1, ORDER))
    bad = {
        "stripped": b"", "one byte": b"\x00", "zeros": zero + zero, "r zero": zero + s, "s zero": r + zero,
        "(1, 1)": one + one, "(n, n)": order + order, "(0, 1)": zero + one, "(n, s)": order + s,
        "swapped": s + r, "r twice": r + r, "cut": signature[:-1], "long": signature + b"\x00",
        "twice": signature * 2, "DER": encode_dss_signature(whole, half), "all ones": b"\xff" * 64,
        "r + n over the field": ((whole + ORDER) % (1 << 256)).to_bytes(32, "big") + s,
        "96 bytes": r.rjust(48, b"\0") + s.rjust(48, b"\0"), "64 KB": b"\x5a" * 64,
    }  # fmt: skip
    for name, content in bad.items():
        yield f"signature {name}", f"{stem}.{encode(content)}"
    yield "signature of other claims", joined(head, {**body, "tenant": "tnt_" + "0" * 32}, signature)
    yield "more scope under the same signature", joined(head, {**body, "scope": "*"}, signature)
    yield "no second dot", stem
    yield "signature in base64 with padding", genuine + "=="
    yield "signature cut by a character", genuine[:-1]


def headers(genuine: str, jwks: Mapping[str, Any]) -> Cases:
    """Headers by which a token would choose the verifier's mind (RFC 8725, 3.1 and 3.10)."""
    head, body, signature = parts(genuine)
    own = ECKey.generate_key("P-256", parameters={"kid": "own"})
    public = own.as_dict(private=False)
    url = "http://127.0.0.1:1/keys"
    chosen: dict[str, Json] = {
        "jwk": {"jwk": public}, "jwk of the same kid": {"jwk": {**public, "kid": head["kid"]}},
        "jku": {"jku": url}, "jku file": {"jku": "file:///etc/passwd"}, "x5u": {"x5u": url},
        "x5c": {"x5c": ["MIIB"]}, "x5t": {"x5t": "AAAA"}, "crit": {"crit": ["exp"]},
        "crit unknown": {"crit": ["http://evil.example/x"], "http://evil.example/x": True},
        "crit empty": {"crit": []}, "b64 false": {"b64": False, "crit": ["b64"]}, "zip": {"zip": "DEF"},
        "cty JWT": {"cty": "JWT"}, "typ JWE": {"typ": "JWE"}, "typ none": {"typ": "none"},
        "typ a list": {"typ": ["at+jwt"]}, "enc": {"enc": "A128GCM"}, "epk": {"epk": public},
    }  # fmt: skip
    kids: Json = {
        "path": "../../../../dev/null", "file": "/dev/null", "SQL": "' or '1'='1",
        "union": "x' union select '",
        "NUL": head["kid"] + "\u0000", "long": "k" * 6000, "empty": "", "an array": [head["kid"]],
        "an object": {"kid": head["kid"]}, "a number": 1, "null": None, "upper": str(head["kid"]).upper(),
        "blank": f" {head['kid']}", "newline": f"{head['kid']}\n", "shell": "$(id)", "url": url,
        "template": "{{7*7}}", "true": True, "unknown": "no-such-key",
    }  # fmt: skip
    for name, kid in kids.items():
        chosen[f"kid {name}"] = {"kid": kid}
    for name, change in chosen.items():
        yield f"{name}, signed by another key", own_token({**head, **change}, body, own)
        yield f"{name}, with the signature of the genuine", joined({**head, **change}, body, signature)
    without = {key: value for key, value in head.items() if key != "kid"}
    yield "no kid, signed by another key", own_token(without, body, own)
    for each in jwks["keys"][1:]:
        yield "kid of another key", joined({**head, "kid": each["kid"]}, body, signature)


def own_token(head: Json, body: Json, key: ECKey) -> str:
    """A token whose ES256 signature another key made, whatever its header says."""
    from tests.support.sign import sign_raw

    return sign_raw("", key, head, json.dumps(body))


def shapes(genuine: str, _jwks: Mapping[str, Any]) -> Cases:
    """What is no compact ES256 JWS at all."""
    head, body, signature = parts(genuine)
    first, second, third = genuine.split(".")
    private = ec.generate_private_key(ec.SECP256R1())
    wild = private.sign(b"x", ec.ECDSA(SHA256()))
    sealed = RSAKey.generate_key(2048)
    yield "a JWE", jwe.encrypt_compact({"alg": "RSA-OAEP", "enc": "A128GCM"}, json.dumps(body), sealed)
    yield "nested in a JWS", joined({**head, "cty": "JWT"}, genuine, signature)
    yield (
        "the JSON serialisation",
        encode(json.dumps({"payload": second, "protected": first, "signature": third}).encode()),
    )
    yield "detached payload", f"{first}..{third}"
    yield "detached header", f".{second}.{third}"
    yield "four parts", f"{genuine}.{third}"
    yield "five parts", f"{genuine}.{third}.{third}"
    yield "leading dot", f".{genuine}"
    yield "parts in another order", f"{second}.{first}.{third}"
    yield "base64 of the standard alphabet", f"{first}+/.{second}.{third}"
    yield "header not JSON", f"{encode(b'{')}.{second}.{third}"
    yield "header a list", joined(["ES256"], body, signature)
    yield "header a number", joined(7, body, signature)
    yield "header null", joined(None, body, signature)
    yield "payload a list", joined(head, [body], signature)
    yield "payload not JSON", f"{first}.{encode(b'{')}.{third}"
    yield "payload empty", f"{first}..{third}"
    yield "deep header", f"{encode(b'[' * 3000)}.{second}.{third}"
    twice = encode(b'{"alg":"none","alg":"ES256"}')
    yield "header of duplicate names", f"{twice}.{second}.{third}"
    yield "no text", "."
    yield "dots", "..."
    yield "one word", "admin"
    yield "a DER signature of another key", f"{first}.{second}.{encode(wild)}"
    yield "UTF-16 header", f"{encode(json.dumps(head).encode('utf-16'))}.{second}.{third}"
    yield "BOM before the header", f"{encode(json.dumps(head).encode('utf-8-sig'))}.{second}.{third}"


def misissued(claims: Json) -> list[tuple[str, Json, str, frozenset[int]]]:
    """Name, changes of the header, payload and statuses of what only the platform could sign."""
    refused, scope = frozenset({401}), frozenset({401, 403})
    cases: list[tuple[str, Json, str, frozenset[int]]] = []
    for name, change in wrong_claims().items():
        body = {key: value for key, value in {**fresh(claims), **change}.items() if value != "absent"}
        cases.append((name, {}, json.dumps(body), scope if "scope" in change else refused))
    for name, head in {
        "jku": {"jku": "http://127.0.0.1:1/"}, "jwk": {"jwk": {"kty": "EC"}}, "crit": {"crit": ["exp"]},
        "b64": {"b64": False}, "unknown member": {"x": 1}, "typ": {"typ": "dpop+jwt"},
        "no kid": {"kid": None},
        "kid a list": {"kid": ["a"]}, "cty": {"cty": "JWT"},
    }.items():  # fmt: skip
        cases.append((f"header {name}, genuinely signed", head, json.dumps(fresh(claims)), refused))
    for name, payload in {"a list": "[]", "null": "null", "a text": '"x"', "empty": "", "not JSON": "{",
                          "deep": "[" * 900 + "]" * 900}.items():  # fmt: skip
        cases.append((f"payload {name}, genuinely signed", {}, payload, refused))
    return cases


def fresh(claims: Json) -> Json:
    """The claims under a new id."""
    return {**claims, "jti": f"tok_{uuid.uuid4().hex}"}


def wrong_claims() -> dict[str, Json]:
    """One claim absent, of another type, or of a wrong value."""
    now = int(time.time())
    found: dict[str, Json] = {}
    for name in ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "tenant", "scope", "kind"):
        found[f"{name} absent"] = {name: "absent"}
        for wrong in (None, True, 7, [], {}, "", ["soma"] if name != "aud" else ["x"], {"soma": 1}):
            if name in {"exp", "iat", "nbf"} and wrong == 7:
                continue
            if name == "scope" and wrong == "":
                continue
            found[f"{name} {json.dumps(wrong)}"] = {name: wrong}
    for name in ("exp", "iat", "nbf"):
        for time_ in ("1e3", -1, 0, 2**63, 2**64, 1e300, str(now + 600), [now + 600]):
            found[f"{name} {time_}"] = {name: time_}
    found |= {
        "expired": {"exp": now - 1, "iat": now - 600, "nbf": now - 600}, "expired by far": {"exp": 1},
        "exp past as a float": {"exp": now - 0.5}, "begins in 10 minutes": {"nbf": now + 600},
        "issued in 10 minutes": {"iat": now + 600}, "iss of another case": {"iss": "Soma"},
        "iss with a slash": {"iss": "soma/"}, "iss with a blank": {"iss": " soma"},
        "aud of another case": {"aud": "SOMA"}, "aud a prefix": {"aud": "somaagent"},
        "kind workload": {"kind": "workload"}, "kind operator": {"kind": "operator"},
        "tenant too long": {"tenant": "t" * 300}, "sub too long": {"sub": "u" * 300},
        "jti too long": {"jti": "j" * 300},
    }  # fmt: skip
    return found


def carried(genuine: str, other: str) -> list[Attempt]:
    """Good tokens in a wrong dress: the header's form, two headers, sizes."""
    bad = {
        "no scheme": (genuine,), "Basic": (f"Basic {genuine}",), "Token": (f"Token {genuine}",),
        "no blank": (f"Bearer{genuine}",), "a tab": (f"Bearer\t{genuine}",),
        "two blanks": (f"Bearer  {genuine}",),
        "a colon": (f"Bearer:{genuine}",), "an equals sign": (f"Bearer={genuine}",),
        "scheme twice": (f"Bearer Bearer {genuine}",), "quoted": (f'Bearer "{genuine}"',),
        "a parameter": (f'Bearer token="{genuine}"',), "empty": ("",), "scheme alone": ("Bearer",),
        "another scheme before": (f"Basic eDp5, Bearer {genuine}",), "text before": (f"xBearer {genuine}",),
        "text behind": (f"Bearer {genuine} x",), "comma behind": (f"Bearer {genuine},",),
        "joined with another": (f"Bearer {genuine}, Bearer {other}",),
        "joined with itself": (f"Bearer {genuine},Bearer {genuine}",),
        "joined with a bad one": (f"Bearer {genuine}, Bearer x.y.z",),
        "two headers, the second bad": (f"Bearer {genuine}", "Bearer x.y.z"),
        "two headers, the first bad": ("Bearer x.y.z", f"Bearer {genuine}"),
        "two headers, two users": (f"Bearer {genuine}", f"Bearer {other}"),
        "two headers, the first Basic": ("Basic eDp5", f"Bearer {genuine}"),
        "two headers alike": (f"Bearer {genuine}", f"Bearer {genuine}"),
    }  # fmt: skip
    found = [Attempt(name=name, values=values) for name, values in bad.items()]
    # Envoy passes an empty one on as none, and a scheme's case is free (RFC 9110, 11.1).
    found.append(Attempt(name="a second, empty header", values=(f"Bearer {genuine}", ""), either=True))
    cases = ("bearer", "BEARER", "bEaReR")
    free = [Attempt(name=f"scheme {one}", values=(f"{one} {genuine}",), either=True) for one in cases]
    return found + free


def huge(genuine: str) -> list[Attempt]:
    """Tokens longer than any that is issued."""
    too_large = frozenset({401, 400, 413, 429, 431, 500, 503})
    sizes = {8_193: frozenset({401}), 20_000: frozenset({401}), 59_000: too_large, 200_000: too_large,
             1_000_000: too_large}  # fmt: skip
    return [
        Attempt(name=f"{size} characters", values=(f"Bearer {genuine}{'A' * (size - len(genuine))}",),
                status=status)
        for size, status in sizes.items()
    ]  # fmt: skip
