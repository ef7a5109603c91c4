"""Routes, JSON codecs, OpenAPI and TypeScript out of protos: a protoc plugin, and a command for descriptor sets."""
