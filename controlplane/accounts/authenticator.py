"""Who calls: the prefix of a credential tells its kind, and each kind has one way to be checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.accounts.access import JwtAccessTokens
from controlplane.accounts.live import Live, unknown_key
from controlplane.accounts.tokens import HEADER, Tokens
from controlplane.domain.call import Principal, Role
from controlplane.domain.credential import API_KEY, Purpose, digest_of, well_formed
from controlplane.errors import Unauthenticated
from controlplane.ports import Store

JWT = "eyJ"


@dataclass(frozen=True, slots=True)
class Authenticator:
    """`authenticate` is all that the pipeline needs of it, `authenticate_ticket` and `again` what sockets do."""

    tokens: Tokens
    access: JwtAccessTokens
    live: Live
    store: Store

    def authenticate(self, metadata: Mapping[str, str]) -> Principal:
        """The principal of a bearer credential, without a look at the store."""
        scheme, _, credential = metadata.get(HEADER, "").partition(" ")
        if scheme.lower() == "bearer" and credential.startswith(JWT):
            claims = self.access.read(credential, self.store.now())
            return self.live.person(claims.user_id, claims.login_id, claims.issued_at)
        if scheme.lower() == "bearer" and credential.startswith(API_KEY):
            if not well_formed(credential, API_KEY):
                raise unknown_key()
            return self.live.program(digest_of(credential))
        return self.tokens.authenticate(metadata)

    def again(self, principal: Principal) -> Principal:
        """The same caller as of now; `Unauthenticated` once the login was ended, the key revoked, the user shut out."""
        return self.live.again(principal)

    async def authenticate_ticket(self, ticket: str) -> Principal:
        """Whoever asked for this ticket, which is used up then."""
        purpose = Purpose.WS_TICKET
        found = None
        if well_formed(ticket, purpose.prefix):
            digest, now = digest_of(ticket), self.store.now()
            found = await self.store.write(lambda tx: tx.take_one_time_token(purpose, digest, now))
        if found is None:
            raise Unauthenticated("the ticket is not known, was used or has expired", reason="invalid_ticket")
        return self.again(principal_in(found.data))


def principal_in(data: str) -> Principal:
    """The caller that a ticket was given to; what may have changed since is looked up anew."""
    name, role, tenant_id, user_id, login_id = json.loads(data)
    return Principal(name, Role(role), tenant_id, user_id=user_id, login_id=login_id)
