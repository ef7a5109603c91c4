"""Pictures of people, of AuthService."""

from __future__ import annotations

from google.api.httpbody_pb2 import HttpBody

from controlplane.api.bindings import Action, Bindings, Command, Query
from controlplane.api.convert.common import timestamp
from controlplane.domain.call import Call
from controlplane.notices import Pictures
from controlplane.ports import Reader, Tx
from controlplane.usecases.accounts import avatars
from controlplane.usecases.services import Services
from swarm.auth.v1 import service_pb2 as pb

SERVICE = "swarm.auth.v1.AuthService"


def bindings(pictures: Pictures) -> Bindings:
    async def upload(services: Services, call: Call, request: pb.UploadAvatarRequest) -> pb.UploadAvatarResponse:
        avatar = await avatars.upload(services.store, pictures, call, request.image)
        return pb.UploadAvatarResponse(updated_at=timestamp(avatar.updated_at))

    return {
        f"{SERVICE}.UploadAvatar": Action(upload),
        f"{SERVICE}.DeleteAvatar": Command(delete),
        f"{SERVICE}.GetAvatar": Query(get),
    }


def delete(tx: Tx, call: Call, _request: pb.DeleteAvatarRequest) -> pb.DeleteAvatarResponse:
    avatars.delete(tx, call)
    return pb.DeleteAvatarResponse()


def get(reader: Reader, call: Call, request: pb.GetAvatarRequest) -> HttpBody:
    avatar = avatars.get(reader, call, request.user_id)
    return HttpBody(content_type=avatar.type, data=avatar.image)
