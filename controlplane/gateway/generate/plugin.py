"""protoc's side: a request on standard input, files or errors on standard output.

Options go by --NAME_opt: strict, descriptors (classes out of descriptors instead of _pb2 modules), shallow_masks,
title=TEXT.
"""

from __future__ import annotations

from typing import BinaryIO, TextIO

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import Edition, FileDescriptorSet

from controlplane.gateway.generate.api import Api, Refusal
from controlplane.gateway.generate.output import Options, generated, left_out

_KNOWN = frozenset({"strict", "descriptors", "shallow_masks", "title"})


def run(source: BinaryIO, target: BinaryIO, notes: TextIO) -> int:
    """Answers one request. Faults of the API are protoc's to report, so that 0 is right for them too."""
    request = CodeGeneratorRequest.FromString(source.read())
    target.write(answer(request, notes).SerializeToString(deterministic=True))
    return 0


def answer(request: CodeGeneratorRequest, notes: TextIO) -> CodeGeneratorResponse:
    features = CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL | CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS
    response = CodeGeneratorResponse(
        supported_features=features,
        minimum_edition=Edition.EDITION_PROTO2,
        maximum_edition=Edition.EDITION_2024,
    )
    given = [word.partition("=") for word in request.parameter.split(",") if word]
    words = {word for word, _, _ in given}
    if words - _KNOWN:
        response.error = f"unknown options: {', '.join(sorted(words - _KNOWN))}"
        return response
    try:
        api = Api(FileDescriptorSet(file=request.proto_file), request.file_to_generate)
        options = Options(
            strict="strict" in words,
            modules="descriptors" not in words,
            shallow_masks="shallow_masks" in words,
            title=next((value for word, _, value in given if word == "title"), "API"),
        )
        for path, content in generated(api, options).items():
            response.file.add(name=path, content=content)
    except Refusal as refusal:
        response.error = str(refusal)
        return response
    notes.writelines(f"{line}\n" for line in left_out(api, options))
    return response
