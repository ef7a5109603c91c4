"""Logging in with GitHub: by an account that is linked, or by an address that GitHub has verified."""

from __future__ import annotations

import base64
import hashlib
import secrets

from controlplane.domain import lifetimes
from controlplane.domain.call import HOME, Call, Role
from controlplane.domain.credential import OneTimeToken, Purpose, digest_of, new_secret, well_formed
from controlplane.domain.user import OauthLink, User, UserSpec
from controlplane.errors import FailedPrecondition, Forbidden, InvalidInput, Unauthenticated
from controlplane.identity import OauthProfile, OauthProvider
from controlplane.ports import Tx
from controlplane.usecases.accounts.audit import note
from controlplane.usecases.accounts.logins import Challenge, Issued, proceed
from controlplane.usecases.accounts.parts import Accounts, active
from controlplane.usecases.accounts.users import new_user


async def start(accounts: Accounts, call: Call) -> tuple[str, str]:
    """Where to send the browser, and the state that it has to come back with."""
    provider = _provider(accounts)
    state, verifier = new_secret(Purpose.OAUTH_STATE.prefix), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    digest, until = digest_of(state), call.now + lifetimes.OAUTH_STATE
    sealed = accounts.seal.seal(verifier, digest)
    token = OneTimeToken(digest, Purpose.OAUTH_STATE, "", until, sealed)
    await accounts.store.write(lambda tx: tx.add_one_time_token(token))
    return provider.authorize_url(state, challenge), state


async def finish(accounts: Accounts, call: Call, *, state: str, code: str, error: str) -> Issued | Challenge:
    """What the browser came back with. A state is taken once, also when GitHub or the person refused."""
    provider, digest = _provider(accounts), digest_of(state)
    found = None
    if well_formed(state, Purpose.OAUTH_STATE.prefix):
        found = await accounts.store.write(lambda tx: tx.take_one_time_token(Purpose.OAUTH_STATE, digest, call.now))
    if found is None:
        raise Unauthenticated("begin again: this way back was used or has expired", reason="invalid_state")
    if error:
        raise Unauthenticated(f"{provider.name} did not log you in: {error[:100]}", reason="oauth_refused")
    if not code:
        raise InvalidInput("the code is missing", reason="no_code")
    profile = await provider.profile(code, accounts.seal.open(found.data, digest))
    outcome = await accounts.store.write(lambda tx: _enter(tx, accounts, call, provider.name, profile))
    await accounts.refresh()
    return outcome


def _enter(tx: Tx, accounts: Accounts, call: Call, provider: str, profile: OauthProfile) -> Issued | Challenge:
    link = tx.oauth_link(provider, profile.subject)
    user = active(tx, tx.user(link.user_id)) if link else _by_address(tx, accounts, call, profile)
    if user is None:
        words = f"nobody here goes by the {provider} account {profile.login}; ask an admin for an account"
        raise Forbidden(words, reason="no_account")
    if link is None:
        if any(each.provider == provider for each in tx.oauth_links(user.id)):
            raise Forbidden(f"{user.email} logs in with another {provider} account", reason="linked_otherwise")
        tx.add_oauth_link(OauthLink(provider, profile.subject, user.id, profile.login, call.now))
        note(tx, "auth.link", call, user, provider=provider, login=profile.login)
    return proceed(tx, accounts, call, user, provider)


def _by_address(tx: Tx, accounts: Accounts, call: Call, profile: OauthProfile) -> User | None:
    """Only addresses that were verified there say anything; a new user comes in as a viewer."""
    for email in profile.emails:
        if known := tx.user_by_email(email):
            return active(tx, known)
    welcome = [email for email in profile.emails if email.rpartition("@")[2] in accounts.signup_domains]
    if not welcome:
        return None
    spec = UserSpec(welcome[0], profile.name or profile.login, Role.VIEWER).checked()
    user = new_user(spec, HOME, "", call.now)
    tx.add_user(user)
    note(tx, "user.create", call, user, signup=profile.login)
    return user


def _provider(accounts: Accounts) -> OauthProvider:
    if accounts.github is None:
        words = "this deployment has no GitHub login: set github_client_id and SWARM_GITHUB_CLIENT_SECRET"
        raise FailedPrecondition(words, reason="github_not_configured")
    return accounts.github
