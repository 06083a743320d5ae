"""Credentials of a user that the KMS knows by certificate (RFC 6043 4.2.1.3, 4.2.3.3;
interpretations 34 to 37). The answer is protected with the envelope key that the request carried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mikeytool.client.ticket_files import Pending
from mikeytool.crypto.pem import private_key
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.profile import Profile, profile_of
from mikeytool.exchange.public_key import (
    Recipient,
    Signer,
    check_recipient,
    request_init_pk,
    resolve_init_pk,
)
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.pem_files import load_certificates
from mikeytool.storage.input_files import read_octets
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import SType


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A private key with its certificates, and the certificate of the KMS.

    The certificate of the KMS is trusted as given. Each use checks that it is valid at that time
    and names the KMS.
    """

    signer: Signer
    recipient: Recipient

    @classmethod
    def load(
        cls,
        key: Path,
        chain: Sequence[Path],
        kms: Path,
        passphrase: Callable[[], bytes],
        *,
        oaep: bool,
        pss: bool,
    ) -> PublicKey:
        """Read PEM files: the private key, its certificates, and the KMS's certificate.

        The user's own certificate comes first.

        Raises StateError, WireError, Refused or UsageError for files that cannot be used.
        """
        own = [one for path in chain for one in load_certificates(path)]
        signer = Signer(
            private_key(read_octets(key), str(key), passphrase),
            tuple(own),
            SType.RSA_PSS if pss else SType.RSA_PKCS1_V15,
        )
        theirs = load_certificates(kms)[0]
        return cls(signer, Recipient(theirs, oaep=oaep, named=True))

    def request(
        self, env: Environment, policy: TicketPolicy, initiator: Identity, kms: Identity
    ) -> Pending:
        """Make a REQUEST_INIT_PK; its answer is protected with the envelope key."""
        self._check(env, kms)
        made = request_init_pk(
            env,
            profile_of(policy.prf),
            policy,
            initiator=initiator,
            kms=kms,
            signer=self.signer,
            recipient=self.recipient,
        )
        return Pending(made.init, made.envelope_key, kms)

    def resolve(
        self, env: Environment, profile: Profile, ticket: TICKET, responder: Identity, kms: Identity
    ) -> Pending:
        """Make a RESOLVE_INIT_PK; its answer is protected with the envelope key."""
        self._check(env, kms)
        made = resolve_init_pk(
            env,
            profile,
            ticket,
            responder=responder,
            kms=kms,
            signer=self.signer,
            recipient=self.recipient,
        )
        return Pending(made.init, made.envelope_key, kms)

    def _check(self, env: Environment, kms: Identity) -> None:
        theirs = (self.recipient.certificate,)
        check_recipient(theirs, theirs, env.clock(), kms)
