"""Every error the operator raises on purpose. Each carries the condition reason that a user will read."""

from __future__ import annotations


class KafleetError(Exception):
    """Something a condition can say. `reason` is one of the reasons in the API reference."""

    reason = "InternalError"


class InvalidSpec(KafleetError):
    """The resource cannot be understood; the message names the field and the way out."""

    reason = "InvalidSpec"


class KafkaUnreachable(KafleetError):
    """No broker answered in time."""

    reason = "KafkaUnreachable"


class NotAuthorized(KafleetError):
    """Kafka or the API server refused the operator's credentials or rights."""

    reason = "NotAuthorized"


class Denied(NotAuthorized):
    """A broker answered that the operator may not do this, and that says nothing of anything else."""


class ReferenceNotFound(KafleetError):
    """Something that a spec, or the operator's own settings, name is not there."""

    reason = "ReferenceNotFound"


class NameConflict(KafleetError):
    """A Kubernetes object of that name belongs to somebody else."""

    reason = "NameConflict"


class TopicConflict(KafleetError):
    """Somebody made a topic of that name first."""

    reason = "TopicConflict"


class TopicRejected(KafleetError):
    """Kafka will not have a topic as it is wished; the message has Kafka's own words."""

    reason = "TopicRejected"


class ApiUnavailable(KafleetError):
    """The API server did not answer, or not with sense."""


class NotFound(KafleetError):
    """The API server has no such object."""


class Conflict(KafleetError):
    """The object changed, or was made again, since it was read: read it anew and decide again."""


class Rejected(KafleetError):
    """The API server or Kafka understood a request and refused it; its message says why."""
