"""The vocabulary of conditions: what each says, and what to do about each reason."""

from __future__ import annotations

CONDITIONS = {
    "Ready": "The summary: False if any other condition is, else Unknown if any other is.",
    "Accepted": "The spec makes sense, and what it refers to exists.",
    "TopicsReady": "Every topic exists as wished.",
    "AgentsReady": "Every lane has its agents ready, and its group has a member for every partition.",
    "Progressing": "No lane has records waiting and nobody to take them.",
}

REASONS = {
    "AllReady": "Nothing is wrong.",
    "InvalidSpec": (
        "The spec asks for something impossible. The message names the field: change it. "
        "Meanwhile the fleet goes on as it was."
    ),
    "ReferenceNotFound": (
        "A ConfigMap, a Secret, a key of one, or a topic that is referred to does not exist. Create "
        "it, or refer to another. Agents that run go on."
    ),
    "NameConflict": (
        "A Kubernetes object of the name that is needed belongs to somebody else. Delete it, or "
        "name the resource differently."
    ),
    "TopicConflict": (
        "A topic of that name exists and belongs to somebody else. Choose another name, set "
        '`managed: false` to use it as it is, or the annotation `kafleet.dev/adopt: "true"` to '
        "take over one that has no owner."
    ),
    "TopicLost": (
        "A topic was deleted outside and made again; the records in it are lost. Nothing is to be done: "
        "agents that read it end, forget the offsets of the old one, and start again. Find out who deletes "
        "topics."
    ),
    "TopicRejected": (
        "Kafka will not make or change a topic as it is wished: a setting or value that it does not know, "
        "more copies than brokers, or a policy of the cluster. The message has Kafka's own words: change "
        "`config` or `replicationFactor`. Everything else goes on, and the operator tries again."
    ),
    "PartitionDecreaseNotSupported": (
        "Kafka cannot take partitions away. Set `partitions` to what the topic has."
    ),
    "PartitionGrowthNotAllowed": (
        "More partitions move keys to other partitions, so that records of one key can overtake "
        "each other. Set `onGrowth: Reorder` to allow it."
    ),
    "ReplicationFactorChangeNotSupported": (
        "The topic has another replication factor. Reassign its replicas with `kafka-reassign- "
        "partitions`, or set `replicationFactor` to what the topic has."
    ),
    "KafkaUnreachable": (
        "No broker answered. Check `connection.bootstrapServers` and the brokers; agents that run "
        "are left alone."
    ),
    "NotAuthorized": "Kafka or the API server refused the operator. Grant the right that the message names.",
    "RollingOut": (
        "Agents or topics are on their way. If it lasts, the message says what is waited for; "
        "then see `kubectl describe pod`."
    ),
    "CrashLooping": "Agents end again and again. Read `kubectl logs --previous` of the pods that are named.",
    "Suspended": "`suspend: true`: no agent runs, work waits. Set it to false to go on.",
    "Deleting": (
        "The resource is going, and the message says what it waits for. `deletionPolicy: Retain` "
        "lets it go at once, and leaves topics and offsets behind."
    ),
    "InternalError": "The operator could not finish, and tries again. Its log has the details.",
}
