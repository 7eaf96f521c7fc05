"""Certificates that sign manifests: the operator's, or one for tests whose name says so."""

import datetime as dt
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TEST_NAME = "Onetake test certificate, proves nothing"
_LIFETIME = dt.timedelta(days=365)


class Signature(NamedTuple):
    """A certificate chain, the leaf first, and the leaf's key, both PEM."""

    chain: str
    key: str


def read_signature(chain: Path, key: Path) -> Signature:
    """The operator's certificate chain and key.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not PEM, or the key is not the leaf's.
        TypeError: the key needs a password.
    """
    signature = Signature(chain.read_text(), key.read_text())
    leaf = x509.load_pem_x509_certificates(signature.chain.encode())[0]
    private = serialization.load_pem_private_key(signature.key.encode(), None)
    if getattr(getattr(private, "curve", None), "name", "") != "secp256r1":
        raise ValueError("the key is not one of P-256")
    if private.public_key() != leaf.public_key():
        raise ValueError("the key is not that of the chain's first certificate")
    return signature


def trial_signature() -> Signature:
    """A test certificate, made for this process under a root of its own."""
    return make_signature(TEST_NAME)


@cache
def make_signature(name: str, lifetime: dt.timedelta = _LIFETIME) -> Signature:
    """A new P-256 leaf under a new root, valid from now, as C2PA's certificate profile wants."""
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(f"{name} (root)", f"{name} (root)", root_key, root_key, lifetime)
    leaf = _certificate(name, f"{name} (root)", leaf_key, root_key, lifetime)
    chain = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (leaf, root))
    key = leaf_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Signature(chain.decode(), key.decode())


def _certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    lifetime: dt.timedelta,
) -> x509.Certificate:
    names = [
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Onetake"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        for name in (subject, issuer)
    ]
    is_root = subject == issuer
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(issuer_name=names[1], subject_name=names[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(_usage(is_root=is_root), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(*, is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_root, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=is_root, crl_sign=is_root,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
