"""gpgv: a detached OpenPGP signature checked against a keyring and nothing else."""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path

from bootsmith.errors import FormatError, SourceError
from bootsmith.tools.run import run_program

_ARMOR_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_ARMOR_END = "-----END PGP PUBLIC KEY BLOCK-----"
# From GnuPG doc/DETAILS: only GOODSIG is a good signature by a key that is still valid.
_REASONS = {
    "BADSIG": "the signature is of other content",
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "the key that signed it has expired",
    "REVKEYSIG": "the key that signed it was revoked",
    "NO_PUBKEY": "it was signed by a key that is not in the keyring",
    "NODATA": "the signature file holds no signature",
}


def check_signature(*, data: Path, signature: bytes, keyring: Path, subject: object) -> str:
    """Check a detached signature (binary or armored) of `data`; return the signer's key id.

    `keyring` is binary or armored. Raises SourceError, naming `subject`, unless gpgv says
    that a key of the keyring made a good signature.
    """
    with tempfile.TemporaryDirectory(prefix="bootsmith-gpgv-") as directory:
        signature_file = Path(directory, "signature")
        signature_file.write_bytes(signature)
        keyring_file = Path(directory, "keyring.gpg")
        keyring_file.write_bytes(binary_keyring(keyring))
        said = run_program(
            # --homedir: a private one, or the user's own trusted keys would count as well;
            # --status-fd: the only output that is meant to be read by programs.
            ["gpgv", "--homedir", directory, "--keyring", keyring_file, "--status-fd", "1",
             signature_file, data],
            accepted_statuses=(0, 1, 2),
            needed_by="the iso builder, to check the signature of a downloaded ISO",
        )  # fmt: skip
    statuses = [line.split()[1:] for line in said.text.splitlines() if line.startswith("[GNUPG:] ")]
    good = [words[1] for words in statuses if words[0] == "GOODSIG"]
    bad = [words for words in statuses if words[0] in _REASONS]
    if good and not bad:
        return good[0]
    reasons = [f"{_REASONS[words[0]]} ({' '.join(words[:2])})" for words in bad]
    raise SourceError(
        subject,
        "signature is not good",
        expected=f"one by a key in {keyring}",
        got="; ".join(dict.fromkeys(reasons)) or "no answer from gpgv",
        hint="check signature_url and keyring in the release's recipe; do not use this ISO",
    )


def binary_keyring(keyring: Path) -> bytes:
    """The bytes of a keyring file, out of their armor if they have one: gpgv wants them bare."""
    try:
        content = keyring.read_bytes()
    except OSError as error:
        raise SourceError(
            keyring, f"keyring cannot be read ({error.strerror})",
            hint="correct keyring in the release's recipe",
        ) from None  # fmt: skip
    if not content.lstrip().startswith(_ARMOR_BEGIN.encode()):
        return content
    keys = b""
    for block in content.decode("ascii", "replace").split(_ARMOR_BEGIN)[1:]:
        # Headers end with an empty line; a line that starts with = is the CRC, which
        # RFC 9580 lets readers ignore.
        _, _, body = block.split(_ARMOR_END)[0].replace("\r", "").partition("\n\n")
        text = "".join(line for line in body.split("\n") if not line.startswith("="))
        try:
            keys += base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise FormatError(
                keyring,
                f"damaged armor in the keyring ({error})",
                hint="get the keyring again from where its owner publishes it",
            ) from None
    return keys
