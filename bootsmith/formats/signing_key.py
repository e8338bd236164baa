"""RSA keys as Alpine uses them: PKCS#1 v1.5 over SHA-1, public half as a PEM file.

A key can be derived from a public text. Such a key protects nothing, and is not meant
to: it lets a reproducible repository be made that tools accept only together with that
repository's own public key file. See apk-tools doc/apk-v2.5 (signatures) and RFC 8017.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from bootsmith.errors import FormatError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

LEAST_BITS = 2048
"""Shorter keys are not made and not taken."""

_PUBLIC_EXPONENT = 65537
_MILLER_RABIN_ROUNDS = 20
_SMALL_PRIMES = tuple(
    number
    for number in range(3, 2000, 2)
    if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
)


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """The numbers of one RSA key; `name` is the file name of its public half."""

    name: str
    # Not shown: a traceback must not tell a secret.
    prime_p: int = field(repr=False)
    prime_q: int = field(repr=False)

    @property
    def modulus(self) -> int:
        """The product of both primes."""
        return self.prime_p * self.prime_q

    def public_pem(self) -> bytes:
        """The public half as `-----BEGIN PUBLIC KEY-----` text (SubjectPublicKeyInfo)."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return (
            _private_key(self)
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def private_pem(self) -> bytes:
        """The private half as `-----BEGIN PRIVATE KEY-----` text (PKCS#8), not encrypted."""
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        return _private_key(self).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign_sha1(self, content: bytes | memoryview) -> bytes:
        """Raw PKCS#1 v1.5 signature of `content` over SHA-1 (openssl dgst -sha1 -sign)."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA1

        # hashlib takes any buffer without a copy; a modloop is large.
        digest = hashlib.sha1(content, usedforsecurity=False).digest()
        # SHA-1 is what .SIGN.RSA. means; apk of every release understands it.
        return _private_key(self).sign(digest, PKCS1v15(), Prehashed(SHA1()))  # noqa: S303


def derive_signing_key(*, name: str, seed: str, size_bits: int = 2048) -> SigningKey:
    """The key that belongs to `seed`: same text, same key, on any machine."""
    half = size_bits // 2
    prime_p = _derive_prime(f"{seed}\0p\0{size_bits}".encode(), half)
    prime_q = _derive_prime(f"{seed}\0q\0{size_bits}".encode(), half)
    return SigningKey(name=name, prime_p=prime_p, prime_q=prime_q)


def read_signing_key(pem: bytes, *, name: str, subject: object) -> SigningKey:
    """The key in the text of a private half, PKCS#8 or PKCS#1; `name` as in SigningKey.

    Raises FormatError for anything that builds cannot sign with; never tells what is in it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise FormatError(
            subject,
            "private key is encrypted, and a build asks nobody for a password",
            hint=f"decrypt it: openssl rsa -in {subject} -out {subject}",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise FormatError(
            subject,
            "is no private key in PEM form",
            expected="-----BEGIN PRIVATE KEY-----",
            hint="make one with: doit key",
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise FormatError(
            subject,
            "is a key of another kind",
            expected="RSA",
            got=type(key).__name__.removesuffix("PrivateKey").lstrip("_"),
            hint="make one with: doit key",
        )
    numbers = key.private_numbers()
    if key.key_size < LEAST_BITS or numbers.public_numbers.e != _PUBLIC_EXPONENT:
        raise FormatError(
            subject,
            "is no key to sign with",
            expected=f"{LEAST_BITS} bits or more, public exponent {_PUBLIC_EXPONENT}",
            got=f"{key.key_size} bits, {numbers.public_numbers.e}",
            hint="make one with: doit key",
        )
    return SigningKey(name=name, prime_p=numbers.p, prime_q=numbers.q)


def is_signature_valid(
    *, public_pem: bytes, content: bytes | memoryview, signature: bytes, digest: str = "sha1"
) -> bool:
    """Whether `signature` over `content` was made with the key's private half.

    `digest` is "sha1", "sha256" or "sha512". Raises FormatError if the PEM is not an RSA key.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    kinds: dict[str, type[hashes.SHA1 | hashes.SHA256 | hashes.SHA512]] = {
        "sha1": hashes.SHA1,
        "sha256": hashes.SHA256,
        "sha512": hashes.SHA512,
    }
    try:
        key = load_pem_public_key(public_pem)
    except ValueError as error:
        raise FormatError(
            "public key",
            f"not a PEM public key: {error}",
            hint="name the public half of an RSA key, in PEM",
        ) from None
    if not isinstance(key, RSAPublicKey):
        raise FormatError(
            "public key",
            "wrong kind of key",
            expected="RSA",
            got=type(key).__name__,
            hint="make one with: openssl genrsa 4096; apk takes RSA alone",
        )
    try:
        key.verify(
            signature,
            hashlib.new(digest, content).digest(),
            PKCS1v15(),
            Prehashed(kinds[digest]()),
        )
    except InvalidSignature:
        return False
    return True


@cache
def _private_key(key: SigningKey) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    exponent = pow(_PUBLIC_EXPONENT, -1, (key.prime_p - 1) * (key.prime_q - 1))
    public = rsa.RSAPublicNumbers(_PUBLIC_EXPONENT, key.modulus)
    return rsa.RSAPrivateNumbers(
        key.prime_p,
        key.prime_q,
        exponent,
        exponent % (key.prime_p - 1),
        exponent % (key.prime_q - 1),
        pow(key.prime_q, -1, key.prime_p),
        public,
    ).private_key()


@cache
def _derive_prime(seed: bytes, size_bits: int) -> int:
    stream = hashlib.shake_256(seed).digest(size_bits // 8)
    # The two top bits make the product of two such primes exactly twice as long.
    candidate = int.from_bytes(stream, "big") | 3 << (size_bits - 2) | 1
    while not (_is_prime(candidate) and (candidate - 1) % _PUBLIC_EXPONENT):
        candidate += 2
    return candidate


def _is_prime(number: int) -> bool:
    if any(number % small == 0 for small in _SMALL_PRIMES):
        return number in _SMALL_PRIMES
    # Miller-Rabin; the bases come from the number itself, so the answer is repeatable.
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    seed = number.to_bytes((number.bit_length() + 7) // 8, "big")
    for turn in range(_MILLER_RABIN_ROUNDS):
        base = int.from_bytes(hashlib.sha256(seed + bytes([turn])).digest(), "big") % number
        if base > 1 and not _passes_miller_rabin(number, base, odd, twos):
            return False
    return True


def _passes_miller_rabin(number: int, base: int, odd: int, twos: int) -> bool:
    value = pow(base, odd, number)
    if value in (1, number - 1):
        return True
    for _ in range(twos - 1):
        value = value * value % number
        if value == number - 1:
            return True
    return False
