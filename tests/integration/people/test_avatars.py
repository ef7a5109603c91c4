"""Pictures of people: what is taken, what is kept, who sees it."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from swarm_sdk import NotFoundError, SwarmError
from swarm_sdk.types import TenantSpec
from tests.integration.accounts.people import Town


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format=kind, **options)
    return out.getvalue()


def colour(picture: Image.Image, row: int) -> tuple[int, ...]:
    found = picture.convert("RGB").getpixel((128, row))
    assert isinstance(found, tuple)
    return found


def bomb(side: int) -> bytes:
    """A small PNG that says it is `side` pixels wide and high."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


TENANT = TenantSpec(name="Acme")
RED = Image.new("RGB", (300, 200), "red")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_picture_is_kept_as_a_square_of_its_own(town: Town, kind: str) -> None:
    ann = await town.person("ann")
    user = (await ann.auth.me()).user
    await ann.auth.upload_avatar(encoded(RED, kind))
    kept = Image.open(io.BytesIO(await ann.auth.avatar(user.id)))
    assert (kept.format, kept.size) == ("WEBP", (256, 256))
    red, green, blue = colour(kept, 128)
    assert red > 240
    assert green + blue < 30


async def test_nothing_else_of_the_file_is_kept(town: Town) -> None:
    ann = await town.person("ann")
    user = (await ann.auth.me()).user
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    exif[0x0112] = 6  # lies on its side
    sheet = Image.new("RGB", (400, 200), "red")
    sheet.paste((0, 0, 255), (0, 0, 200, 200))
    await ann.auth.upload_avatar(encoded(sheet, "JPEG", exif=exif))
    content = await ann.auth.avatar(user.id)
    assert b"taken at home" not in content
    kept = Image.open(io.BytesIO(content)).convert("RGB")
    assert colour(kept, 20)[2] > 200  # upright: blue is above red
    assert colour(kept, 230)[0] > 200


async def test_of_what_moves_the_first_picture_is_kept(town: Town) -> None:
    ann = await town.person("ann")
    user = (await ann.auth.me()).user
    frames = [Image.new("RGB", (64, 64), "blue"), RED.resize((64, 64))]
    await ann.auth.upload_avatar(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    kept = Image.open(io.BytesIO(await ann.auth.avatar(user.id)))
    assert not getattr(kept, "is_animated", False)
    assert colour(kept, 128)[2] > 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        encoded(RED, "PNG")[:200],
        encoded(RED, "BMP"),
        bomb(5_000),
        bomb(60_000),
        b"x" * ((2 << 20) + 1),
    ],
    ids=["empty", "text", "svg", "cut", "bmp", "large", "bomb", "too many bytes"],
)
async def test_what_is_no_picture_is_refused_by_its_field(town: Town, content: bytes) -> None:
    ann = await town.person("ann")
    with pytest.raises(SwarmError) as caught:
        await ann.auth.upload_avatar(content)
    assert (caught.value.code, caught.value.violations[0].field) == ("INVALID_ARGUMENT", "/image")
    with pytest.raises(NotFoundError):
        await ann.auth.avatar((await ann.auth.me()).user.id)


async def test_a_picture_is_seen_in_its_tenant_only_and_goes_when_it_is_told_to(town: Town) -> None:
    await town.admin.admin.create_tenant("acme", TENANT)
    ann, bob = await town.person("ann"), await town.person("bob")
    eve = await town.person("eve", tenant="acme")
    user = (await ann.auth.me()).user
    await ann.auth.upload_avatar(encoded(RED, "PNG"))
    assert await bob.auth.avatar(user.id) == await ann.auth.avatar(user.id)
    with pytest.raises(NotFoundError):
        await eve.auth.avatar(user.id)
    await ann.auth.delete_avatar()
    for client in (ann, bob):
        with pytest.raises(NotFoundError):
            await client.auth.avatar(user.id)
    with pytest.raises(NotFoundError):
        await ann.auth.delete_avatar()
