"""Taking members out of a group from outside, which confluent-kafka cannot."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    from kafka.admin import KafkaAdminClient, MemberToRemove


def remove(bootstrap_servers: str, group: str, member: str) -> None:
    """Take a member out of its group; nothing happens if it is gone already."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        admin.remove_group_members(group, [MemberToRemove(member_id=member)])
    finally:
        admin.close()
