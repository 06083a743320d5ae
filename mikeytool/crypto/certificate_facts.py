"""A human-readable summary of the certificate in a CERT payload (RFC 3830 6.7).

Nothing is checked here; `certificates` decides which certificates to trust.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from mikeytool.crypto.certificates import read_certificate
from mikeytool.wire.errors import Refused
from mikeytool.wire.payloads import CERT
from mikeytool.wire.registry import CertType

Json = dict[str, Any]


def certificate_facts(cert: CERT) -> Json:
    """Return subject, issuer, subjectAltName, validity and key of a certificate, or its `url`.

    If the payload is not a certificate, `error` says why.
    """
    if cert.cert_type == CertType.X509V3_URL:
        return {"url": cert.cert_data.decode("utf-8", "replace")}
    try:
        certificate = read_certificate(cert.cert_data)
        return {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "san": _alternative_names(certificate),
            "valid_from": certificate.not_valid_before_utc.isoformat().replace("+00:00", "Z"),
            "valid_to": certificate.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
            "key": _key(certificate),
            "sha256": certificate.fingerprint(SHA256()).hex(),
        }
    except (Refused, ValueError) as error:
        return {"error": str(error)}


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    """Return the names as OpenSSL prints them: the kind, a colon, the name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [f"{_KINDS.get(type(name), type(name).__name__)}:{_text(name)}" for name in found.value]


_KINDS: dict[type[x509.GeneralName], str] = {
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
    x509.DNSName: "DNS",
    x509.IPAddress: "IP",
    x509.DirectoryName: "DirName",
    x509.RegisteredID: "RID",
}


def _text(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return name.value.rfc4514_string()
    if isinstance(name, x509.RegisteredID):
        return name.value.dotted_string
    return name.value.hex() if isinstance(name, x509.OtherName) else str(name.value)


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, dsa.DSAPublicKey):
        return f"DSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")
