"""What the operator uses of kafka-python, and a message that it lacks.

The two JSON files lay out ConsumerGroupDescribe (KIP-848) in the notation that kafka-python reads. Import
kafka-python only from here.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # It reads its layouts by functions that Python 3.11 and 3.12 deprecate and 3.13 does not.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka import errors
    from kafka.net.inet import KafkaNetSocket
    from kafka.net.manager import KafkaConnectionManager
    from kafka.net.sasl.oauth import AbstractTokenProvider
    from kafka.net.selector import NetworkSelector
    from kafka.protocol.admin import DeleteGroupsRequest, ListGroupsRequest, ListTransactionsRequest
    from kafka.protocol.api_message import ApiMessage
    from kafka.protocol.consumer import (
        LeaveGroupRequest,
        ListOffsetsRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
    )
    from kafka.protocol.metadata import FindCoordinatorRequest, MetadataRequest
    from kafka.protocol.producer import InitProducerIdRequest

    class ConsumerGroupDescribeRequest(ApiMessage, load_json=__package__):  # type: ignore[misc, call-arg]  # untyped
        """Who is in groups of the consumer protocol, and which partitions each member holds."""

    class ConsumerGroupDescribeResponse(ApiMessage, load_json=__package__):  # type: ignore[misc, call-arg]  # untyped
        """The answer to it; kafka-python finds it by its key."""


__all__ = [
    "AbstractTokenProvider",
    "ConsumerGroupDescribeRequest",
    "ConsumerGroupDescribeResponse",
    "DeleteGroupsRequest",
    "FindCoordinatorRequest",
    "InitProducerIdRequest",
    "KafkaConnectionManager",
    "KafkaNetSocket",
    "LeaveGroupRequest",
    "ListGroupsRequest",
    "ListOffsetsRequest",
    "ListTransactionsRequest",
    "MetadataRequest",
    "NetworkSelector",
    "OffsetCommitRequest",
    "OffsetFetchRequest",
    "errors",
]
