"""The stages of a call, one module each; `controlplane.api.pipeline` puts them in order."""
