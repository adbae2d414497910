"""Who may do what in a Kafka, as its administrator says; the rights are those that the documents list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from documents import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Principals:
    """Users and ACLs of the Kafka at an address where everything is allowed."""

    bootstrap_servers: str

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def set_password(self, user: str, password: str) -> None:
        """Make a SCRAM user, or give it another password."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin = self.admin()
        changed = admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user, info, password.encode())]
        )
        changed[user].result()

    def allow(self, *grants: AclBinding) -> None:
        admin = self.admin()
        for created in admin.create_acls(list(grants)).values():
            created.result()

    def forbid(self, *grants: AclBinding) -> None:
        """Take ACLs away."""
        admin = self.admin()
        wanted = [
            AclBindingFilter(
                grant.restype,
                grant.name,
                grant.resource_pattern_type,
                grant.principal,
                grant.host,
                grant.operation,
                grant.permission_type,
            )
            for grant in grants
        ]
        for deleted in admin.delete_acls(wanted).values():
            assert deleted.result()


def grant(user: str, kind: str, name: str, operation: str) -> AclBinding:
    """Return an ACL; `name` with a trailing * is a prefix."""
    is_prefix = name.endswith("*")
    return AclBinding(
        ResourceType.BROKER if kind == "cluster" else ResourceType[kind.upper().replace(" ", "_")],
        "kafka-cluster" if kind == "cluster" else name.removesuffix("*"),
        ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
        AclPermissionType.ALLOW,
    )


def rights_of(who: str, user: str, names: Mapping[str, Sequence[str]]) -> list[AclBinding]:
    """Return the ACLs that a table under Security in docs/operations.md lists, and no other.

    `who` is what the table is of, `names` says what stands for each word of its column `of`.
    """
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    _, _, section = text.partition(f"| {who} needs | of | allowed | for |\n")
    assert section, who
    rows = [row.strip("| ").split(" | ") for row in section.split("\n\n")[0].splitlines()[1:]]
    return [
        grant(user, kind, name, operation.strip("`"))
        for kind, of, allowed, _ in rows
        for name in names[of]
        for operation in allowed.split(", ")
    ]
