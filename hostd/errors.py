"""Errors of the host daemon. Each class owns the canonical code it is reported with and the attempt's cause."""

from __future__ import annotations

from collections.abc import Sequence


class HostError(Exception):
    """Base: `code` goes into a command's answer, `cause` into a finished attempt, the text to a person."""

    code = "INTERNAL"
    cause = "host_failed"
    exit_code = 1


class ConfigError(HostError):
    """Unusable configuration; `faults` holds one line per fault."""

    code = "INVALID_ARGUMENT"
    exit_code = 2

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class StateDirBusyError(HostError):
    """Another hostd owns the state directory."""

    code = "FAILED_PRECONDITION"
    exit_code = 5


class DamagedStateError(HostError):
    """A file under the state directory cannot be used; the text names it and says what to do."""

    code = "FAILED_PRECONDITION"
    exit_code = 5


class InvalidRequestError(HostError):
    """The control plane asked for something malformed."""

    code = "INVALID_ARGUMENT"


class NotFoundError(HostError):
    """No such image, template, VM or attempt on this host."""

    code = "NOT_FOUND"


class UnsupportedError(HostError):
    """The driver cannot do it."""

    code = "UNIMPLEMENTED"


class WrongStateError(HostError):
    """The VM or attempt is not in a state that allows it."""

    code = "FAILED_PRECONDITION"


class HostFullError(HostError):
    """The host's VM or memory cap is reached."""

    code = "RESOURCE_EXHAUSTED"
    cause = "host_full"


class TemplateError(HostError):
    """An image or template is missing, damaged, or could not be built."""

    code = "FAILED_PRECONDITION"
    cause = "template_failed"


class VmLostError(HostError):
    """The VM ended by itself or could not be started."""

    code = "UNAVAILABLE"
    cause = "vm_lost"


class UnhealthyError(VmLostError):
    """The guest gave no sign of life for so long that it is given up."""

    cause = "unhealthy"


class MirrorError(HostError):
    """This host's own copy of a repository cannot be used."""

    code = "INTERNAL"


class UpstreamError(HostError):
    """The upstream repository could not be reached; the text holds no credential."""

    code = "UNAVAILABLE"
    cause = "git_down"


class UpstreamLimitedError(UpstreamError):
    """The upstream refuses calls because there were too many."""

    code = "RESOURCE_EXHAUSTED"
    cause = "git_rate_limited"


class PushFailedError(UpstreamError):
    """The upstream was reached and does not take the branch."""

    code = "FAILED_PRECONDITION"
    cause = "push_failed"


class RepositoryRefusedError(UpstreamError):
    """A repository that does not exist, admits nobody or cannot be worked with, or a URL or ref that is not allowed."""

    code = "INVALID_ARGUMENT"
    cause = "bad_ticket"


class BundleError(HostError):
    """An agent bundle could not be fetched or is not what its digest says."""

    code = "UNAVAILABLE"
    cause = "bundle_failed"


class BrokerError(HostError):
    """The broker process is gone or refused a request."""

    code = "UNAVAILABLE"
    cause = "vm_lost"


class AttemptTimeoutError(HostError):
    """The attempt ran longer than its ticket allows."""

    code = "DEADLINE_EXCEEDED"
    cause = "timeout"


class NotReadyError(HostError):
    """Repository, image and VM were not ready in time."""

    code = "DEADLINE_EXCEEDED"


class StalledError(HostError):
    """The attempt made no progress for too long."""

    code = "DEADLINE_EXCEEDED"
    cause = "stalled"


class ViolationError(HostError):
    """The guest broke its protocol too often."""

    code = "PERMISSION_DENIED"
    cause = "violation"


class HostStoppingError(HostError):
    """hostd is on its way down."""

    code = "UNAVAILABLE"
    cause = "host_stopping"
