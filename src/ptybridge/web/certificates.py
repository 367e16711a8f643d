"""A certificate authority of one's own and a certificate for this node, so that browsers can be told to trust it.

The authority's key never leaves the directory; who trusts the authority once need not be asked again when the node's
certificate is renewed. Keys are 0600 from birth, and files are replaced whole.
"""

import datetime
import ipaddress
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ptybridge.errors import ConfigInvalid, InvalidParams

AUTHORITY_DAYS: Final = 3650
# Browsers take none that is good for longer than 398 days (CA/Browser Forum, Baseline Requirements 6.3.2).
NODE_DAYS: Final = 397
# Renewing earlier than this before its end is not needed.
RENEW_DAYS: Final = 30
# Clocks differ.
_SKEW: Final = datetime.timedelta(hours=1)


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What there is now. `made`: whether it was made, or was still good."""

    directory: str
    authority: str
    cert: str
    key: str
    names: list[str]
    expires_at_ms: int
    made: bool


def directory_of(state_dir: str) -> Path:
    """Return where the certificates of a state directory lie."""
    return Path(state_dir) / "tls"


def ensure(
    directory: Path, names: Iterable[str] = (), *, days: int = NODE_DAYS, force: bool = False, now: Any = None
) -> Certificate:
    """Make an authority and a certificate for `names` besides this machine's own; keep those that are still good.

    Names that an earlier certificate has are kept. Raises `InvalidParams` for a name that is none, `ConfigInvalid` for
    files that cannot be read.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    wanted = [_checked(name) for name in names]
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    authority, authority_key = _authority(directory, now)
    present = _load(directory / "cert.pem")
    before = [] if present is None else _names(present)
    every = list(dict.fromkeys([*_own_names(), *before, *wanted]))
    good = (
        present is not None
        and (directory / "key.pem").exists()
        and set(before) == set(every)
        and present.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)
        and present.issuer == authority.subject
    )
    if force or not good or present is None:
        key = ec.generate_private_key(ec.SECP256R1())
        present = _node(every, key, authority, authority_key, now, days)
        chain = _pem(present) + _pem(authority)
        # The key first: a server that reads in between gets a pair that does not fit, and keeps the one it has.
        _replace(directory / "key.pem", _key_pem(key), 0o600)
        _replace(directory / "cert.pem", chain, 0o644)
        good = False
    return Certificate(
        directory=str(directory),
        authority=str(directory / "ca.pem"),
        cert=str(directory / "cert.pem"),
        key=str(directory / "key.pem"),
        names=every,
        expires_at_ms=int(present.not_valid_after_utc.timestamp() * 1000),
        made=not good,
    )


def _own_names() -> list[str]:
    host = socket.gethostname()
    own = ["localhost", "127.0.0.1", "::1"]
    try:
        return [*own, _checked(host)]
    except InvalidParams:
        return own  # a machine's name need not be a host's


def _checked(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.removeprefix("*.").split(".")
    fine = all(part and len(part) <= 63 and part.replace("-", "").isalnum() and part.isascii() for part in labels)
    if not fine or len(name) > 253:
        raise InvalidParams(f"{name!r} is neither a host's name nor an address")
    return name.lower()


def _authority(directory: Path, now: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    cert = _load(directory / "ca.pem")
    if cert is not None and cert.not_valid_after_utc > now + datetime.timedelta(days=NODE_DAYS):
        return cert, _load_key(directory / "ca-key.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ptybridge on {socket.gethostname()}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    cert = (
        _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _replace(directory / "ca-key.pem", _key_pem(key), 0o600)
    _replace(directory / "ca.pem", _pem(cert), 0o644)
    return cert, key


def _node(
    names: list[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key.public_key(), now, days)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(cert: x509.Certificate) -> list[str]:
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in found]


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigInvalid(f"{path} cannot be read as a certificate: {exc}", hint="remove it to have it made") from exc


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as exc:
        raise ConfigInvalid(f"{path} cannot be read as a key: {exc}", hint="remove ca.pem to have both made") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigInvalid(f"{path} is another kind of key", hint="remove ca.pem to have both made")
    return key


def _replace(path: Path, data: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
