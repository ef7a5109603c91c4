"""Logging in, and the account of whoever is logged in."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from swarm.auth.v1 import service_pb2 as pb
from swarm.auth.v1.auth_pb2 import Login, Profile, Tokens, User
from swarm.auth.v1.service_pb2 import EnrollTotpResponse, GetMeResponse, LoginResponse, StartGithubResponse
from swarm.auth.v1.service_pb2_grpc import AuthServiceStub
from swarm_sdk.transport import Transport


class Auth:
    """Calls that hand out tokens are sent once: a token that was used up on the way cannot be asked for again."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = AuthServiceStub(transport.channel)

    async def login(self, email: str, password: str) -> LoginResponse:
        """Tokens, or a challenge for `complete`."""
        return await self._transport.once(self._stub.Login, pb.LoginRequest(email=email, password=password))

    async def complete(self, challenge: str, code: str) -> Tokens:
        """`code` is of the authenticator app, or a recovery code."""
        request = pb.CompleteLoginRequest(challenge=challenge, code=code)
        return (await self._transport.once(self._stub.CompleteLogin, request)).tokens

    async def refresh(self, refresh_token: str) -> Tokens:
        request = pb.RefreshRequest(refresh_token=refresh_token)
        return (await self._transport.once(self._stub.Refresh, request)).tokens

    async def logout(self) -> None:
        await self._transport.change(self._stub.Logout, pb.LogoutRequest())

    async def setup(self, token: str, *, email: str, name: str, password: str) -> Tokens:
        """Makes the first admin, with the token of the setup link."""
        request = pb.SetupRequest(token=token, email=email, name=name, password=password)
        return (await self._transport.once(self._stub.Setup, request)).tokens

    async def me(self) -> GetMeResponse:
        return await self._transport.read(self._stub.GetMe, pb.GetMeRequest())

    async def rename(self, name: str) -> User:
        request = pb.UpdateMeRequest(profile=Profile(name=name), update_mask=FieldMask(paths=["name"]))
        return (await self._transport.change(self._stub.UpdateMe, request)).user

    async def upload_avatar(self, image: bytes) -> None:
        """PNG, JPEG, WebP or GIF of at most 2 MiB."""
        await self._transport.change(self._stub.UploadAvatar, pb.UploadAvatarRequest(image=image))

    async def delete_avatar(self) -> None:
        await self._transport.change(self._stub.DeleteAvatar, pb.DeleteAvatarRequest())

    async def avatar(self, user_id: str) -> bytes:
        """WebP, 256 by 256 pixels, of somebody in the same tenant."""
        return bytes((await self._transport.read(self._stub.GetAvatar, pb.GetAvatarRequest(user_id=user_id))).data)

    async def change_password(self, current: str, new: str) -> None:
        request = pb.ChangePasswordRequest(current_password=current, new_password=new)
        await self._transport.once(self._stub.ChangePassword, request)

    async def forgot_password(self, email: str) -> None:
        await self._transport.change(self._stub.ForgotPassword, pb.ForgotPasswordRequest(email=email))

    async def reset_password(self, token: str, new: str) -> None:
        request = pb.ResetPasswordRequest(token=token, new_password=new)
        await self._transport.once(self._stub.ResetPassword, request)

    async def start_github(self) -> StartGithubResponse:
        return await self._transport.once(self._stub.StartGithub, pb.StartGithubRequest())

    async def finish_github(self, *, state: str, code: str = "", error: str = "") -> LoginResponse:
        """As `login`."""
        request = pb.FinishGithubRequest(state=state, code=code, error=error)
        answer = await self._transport.once(self._stub.FinishGithub, request)
        tokens = answer.tokens if answer.HasField("tokens") else None
        return LoginResponse(tokens=tokens, challenge=answer.challenge)

    async def logins(self) -> Sequence[Login]:
        """Where the user is logged in, newest first."""
        return (await self._transport.read(self._stub.ListLogins, pb.ListLoginsRequest())).logins

    async def revoke(self, login_id: str) -> None:
        await self._transport.change(self._stub.RevokeLogin, pb.RevokeLoginRequest(id=login_id))

    async def revoke_others(self) -> int:
        return (await self._transport.change(self._stub.RevokeOtherLogins, pb.RevokeOtherLoginsRequest())).revoked

    async def enroll_totp(self, password: str = "") -> EnrollTotpResponse:
        return await self._transport.once(self._stub.EnrollTotp, pb.EnrollTotpRequest(password=password))

    async def confirm_totp(self, code: str) -> Sequence[str]:
        """Turns the second factor on; answers the recovery codes."""
        return (await self._transport.once(self._stub.ConfirmTotp, pb.ConfirmTotpRequest(code=code))).recovery_codes

    async def disable_totp(self, code: str) -> None:
        await self._transport.once(self._stub.DisableTotp, pb.DisableTotpRequest(code=code))

    async def ws_ticket(self) -> str:
        """Opens one WebSocket within 30 seconds."""
        return (await self._transport.once(self._stub.CreateWsTicket, pb.CreateWsTicketRequest())).ticket
