"""AuthService."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.account import login_out, outcome_out, role_out, tokens_out, user_out
from controlplane.api.convert.common import timestamp
from controlplane.api.convert.mask import masked_fields
from controlplane.domain.call import Call, Role
from controlplane.domain.user import UserSpec
from controlplane.ports import Reader, Tx
from controlplane.usecases.accounts import factors, github, logins, me, passwords, setup, wstickets
from controlplane.usecases.accounts.parts import Accounts
from controlplane.usecases.services import Services
from swarm.auth.v1 import service_pb2 as pb

SERVICE = "swarm.auth.v1.AuthService"


def bindings(accounts: Accounts) -> Bindings:
    auth, after = Auth(accounts), accounts.refresh
    return {
        f"{SERVICE}.Login": Action(auth.login),
        f"{SERVICE}.CompleteLogin": Action(auth.complete),
        f"{SERVICE}.Refresh": Action(auth.refresh),
        f"{SERVICE}.Logout": Command(logout, after=after),
        f"{SERVICE}.Setup": Action(auth.setup),
        f"{SERVICE}.GetMe": Query(get_me),
        f"{SERVICE}.UpdateMe": Command(update_me),
        f"{SERVICE}.ChangePassword": Action(auth.change_password),
        f"{SERVICE}.ForgotPassword": Command(auth.forgot_password),
        f"{SERVICE}.ResetPassword": Action(auth.reset_password),
        f"{SERVICE}.StartGithub": Action(auth.start_github),
        f"{SERVICE}.FinishGithub": Action(auth.finish_github),
        f"{SERVICE}.ListLogins": Query(list_logins),
        f"{SERVICE}.RevokeLogin": Command(revoke_login, after=after),
        f"{SERVICE}.RevokeOtherLogins": Command(revoke_others, after=after),
        f"{SERVICE}.EnrollTotp": Action(auth.enroll_totp),
        f"{SERVICE}.ConfirmTotp": Action(auth.confirm_totp),
        f"{SERVICE}.DisableTotp": Action(auth.disable_totp),
        f"{SERVICE}.CreateWsTicket": Action(create_ws_ticket),
    }


@dataclass(frozen=True, slots=True)
class Auth:
    """The calls that need more than the store."""

    accounts: Accounts

    async def login(self, _: Services, call: Call, request: pb.LoginRequest) -> pb.LoginResponse:
        return outcome_out(await logins.log_in(self.accounts, call, request.email, request.password))

    async def complete(self, _: Services, call: Call, request: pb.CompleteLoginRequest) -> pb.CompleteLoginResponse:
        issued = await logins.complete(self.accounts, call, request.challenge, request.code)
        return pb.CompleteLoginResponse(tokens=tokens_out(issued))

    async def refresh(self, _: Services, call: Call, request: pb.RefreshRequest) -> pb.RefreshResponse:
        issued = await logins.refresh(self.accounts, call, request.refresh_token)
        return pb.RefreshResponse(tokens=tokens_out(issued))

    async def setup(self, _: Services, call: Call, request: pb.SetupRequest) -> pb.SetupResponse:
        spec = UserSpec(request.email, request.name, Role.ADMIN)
        issued = await setup.set_up(self.accounts, call, request.token, spec, request.password)
        return pb.SetupResponse(tokens=tokens_out(issued))

    async def change_password(
        self, _: Services, call: Call, request: pb.ChangePasswordRequest
    ) -> pb.ChangePasswordResponse:
        await passwords.change(self.accounts, call, request.current_password, request.new_password)
        return pb.ChangePasswordResponse()

    def forgot_password(self, tx: Tx, call: Call, request: pb.ForgotPasswordRequest) -> pb.ForgotPasswordResponse:
        passwords.forgot(tx, self.accounts, call, request.email)
        return pb.ForgotPasswordResponse()

    async def reset_password(
        self, _: Services, call: Call, request: pb.ResetPasswordRequest
    ) -> pb.ResetPasswordResponse:
        await passwords.reset(self.accounts, call, request.token, request.new_password)
        return pb.ResetPasswordResponse()

    async def start_github(self, _: Services, call: Call, _request: pb.StartGithubRequest) -> pb.StartGithubResponse:
        url, state = await github.start(self.accounts, call)
        return pb.StartGithubResponse(url=url, state=state)

    async def finish_github(self, _: Services, call: Call, request: pb.FinishGithubRequest) -> pb.FinishGithubResponse:
        outcome = outcome_out(
            await github.finish(self.accounts, call, state=request.state, code=request.code, error=request.error)
        )
        tokens = outcome.tokens if outcome.HasField("tokens") else None
        return pb.FinishGithubResponse(tokens=tokens, challenge=outcome.challenge)

    async def enroll_totp(self, _: Services, call: Call, request: pb.EnrollTotpRequest) -> pb.EnrollTotpResponse:
        enrolment = await factors.enroll(self.accounts, call, request.password)
        return pb.EnrollTotpResponse(secret=enrolment.secret, uri=enrolment.uri)

    async def confirm_totp(self, _: Services, call: Call, request: pb.ConfirmTotpRequest) -> pb.ConfirmTotpResponse:
        codes = await factors.confirm(self.accounts, call, request.code)
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def disable_totp(self, _: Services, call: Call, request: pb.DisableTotpRequest) -> pb.DisableTotpResponse:
        await factors.disable(self.accounts, call, request.code)
        return pb.DisableTotpResponse()


def logout(tx: Tx, call: Call, _request: pb.LogoutRequest) -> pb.LogoutResponse:
    logins.log_out(tx, call)
    return pb.LogoutResponse()


def get_me(reader: Reader, call: Call, _request: pb.GetMeRequest) -> pb.GetMeResponse:
    user, who = me.me(reader, call), call.principal
    return pb.GetMeResponse(
        user=user_out(user) if user else None,
        principal=who.name,
        role=role_out(who.role),
        scopes=sorted(who.scopes or ()),
    )


def update_me(tx: Tx, call: Call, request: pb.UpdateMeRequest) -> pb.UpdateMeResponse:
    fields = masked_fields(request.update_mask, request.profile)
    return pb.UpdateMeResponse(user=user_out(me.update_me(tx, call, request.profile.name, fields)))


def list_logins(reader: Reader, call: Call, _request: pb.ListLoginsRequest) -> pb.ListLoginsResponse:
    found = logins.list_logins(reader, call)
    return pb.ListLoginsResponse(logins=[login_out(login, call.principal.login_id) for login in found])


def revoke_login(tx: Tx, call: Call, request: pb.RevokeLoginRequest) -> pb.RevokeLoginResponse:
    logins.revoke_login(tx, call, request.id)
    return pb.RevokeLoginResponse()


def revoke_others(tx: Tx, call: Call, _request: pb.RevokeOtherLoginsRequest) -> pb.RevokeOtherLoginsResponse:
    return pb.RevokeOtherLoginsResponse(revoked=logins.revoke_others(tx, call))


async def create_ws_ticket(
    services: Services, call: Call, _request: pb.CreateWsTicketRequest
) -> pb.CreateWsTicketResponse:
    """No command: each connection of a browser asks for one, and that is nothing to keep in the audit log."""
    ticket, expires_at = await services.store.write(lambda tx: wstickets.create_ticket(tx, call))
    return pb.CreateWsTicketResponse(ticket=ticket, expires_at=timestamp(expires_at))
