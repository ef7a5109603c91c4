"""Users: people, each of one tenant and with one role in it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from controlplane.domain.call import Role
from controlplane.errors import InvalidInput, Violation

LONGEST_EMAIL: Final = 254
LONGEST_NAME: Final = 200
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD_BYTES: Final = 1024
ROLES: Final = (Role.VIEWER, Role.DEVELOPER, Role.APPROVER, Role.OPERATOR, Role.ADMIN)
# What mail servers take in practice; whether somebody reads it is only known once a mail came through.
_EMAIL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")


@dataclass(frozen=True, slots=True)
class User:
    """`password` is its hash, empty where there is none. `totp` is the sealed secret, good from `totp_at` on.

    `totp_step` is the last step of which a code was taken.
    """

    id: str
    tenant_id: str
    email: str
    name: str
    role: Role
    created_at: float
    password: str = field(default="", repr=False)
    disabled_at: float | None = None
    totp: str = field(default="", repr=False)
    totp_step: int = 0
    totp_at: float | None = None

    @property
    def second_factor(self) -> bool:
        return self.totp_at is not None


@dataclass(frozen=True, slots=True)
class UserSpec:
    """What an admin decides of a user."""

    email: str
    name: str
    role: Role
    disabled: bool = False

    def checked(self) -> UserSpec:
        """The same as it is stored; `InvalidInput` for what cannot be."""
        email, name = email_in(self.email, "/spec/email"), name_in(self.name, "/spec/name")
        return UserSpec(email, name, role_in(self.role, "/spec/role"), self.disabled)


@dataclass(frozen=True, slots=True)
class OauthLink:
    """An account at another service that logs a user in. `subject` is its id there."""

    provider: str
    subject: str
    user_id: str
    login: str
    created_at: float


def email_in(text: str, field_: str = "/email") -> str:
    """The address as it is stored and compared; `InvalidInput` for what cannot be one."""
    email = text.strip().lower()
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise refused(field_, "must be an e-mail address")
    return email


def name_in(text: str, field_: str = "/name") -> str:
    """A name that people can read."""
    name = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise refused(field_, f"must be 1 to {LONGEST_NAME} printable characters")
    return name


def new_password(text: str, field_: str = "/password") -> str:
    """The password, or `InvalidInput` for one that is too easy to guess or too long to hash."""
    if len(text) < SHORTEST_PASSWORD:
        raise refused(field_, f"must have at least {SHORTEST_PASSWORD} characters")
    if not hashable(text):
        raise refused(field_, f"must have at most {LONGEST_PASSWORD_BYTES} bytes, none of them NUL")
    return text


def hashable(password: str) -> bool:
    """Whether it can be a password at all; hashing what is longer would be a gift to whoever wants us busy."""
    return "\0" not in password and 0 < len(password.encode(errors="replace")) <= LONGEST_PASSWORD_BYTES


def role_in(role: Role, field_: str = "/role") -> Role:
    if role not in ROLES:
        raise refused(field_, "must be viewer, developer, approver, operator or admin")
    return role


def refused(field_: str, reason: str) -> InvalidInput:
    return InvalidInput(f"{field_}: {reason}", violations=(Violation(field_, reason),))
