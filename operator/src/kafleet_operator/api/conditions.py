"""The vocabulary of conditions: what each says, and what to do about each reason."""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """What a reason means, what to do about it, and the command to begin with, for a fleet called triage."""

    means: str
    do: str
    command: str = ""


_LOG = "kubectl --namespace kafleet-system logs deployment/kafleet"
_PATCH = "kubectl patch agentgroup triage --type merge --patch '{}'"
_PODS = "kubectl describe pods --selector kafleet.dev/resource=triage"

CONDITIONS = {
    "Ready": "The summary: False if any other condition is, else Unknown if any other is.",
    "Accepted": "The spec makes sense, and what it refers to exists.",
    "TopicsReady": "Every topic exists as wished.",
    "AgentsReady": "Every lane has its agents ready, and its group has a member for every partition.",
    "Progressing": "No lane has records waiting and nobody to take them.",
}

REASONS = {
    "AllReady": Reason("Nothing is wrong", "Nothing"),
    "InvalidSpec": Reason(
        "The spec asks for something impossible. Meanwhile the fleet goes on as it was, and of too many "
        "replicas as many run as there are partitions",
        "Read the message: it names the field and the way out",
        "kubectl describe agentgroup triage",
    ),
    "ReferenceNotFound": Reason(
        "A ConfigMap, a Secret, a key of one, or a topic with `managed: false` that the spec names does not "
        "exist. Agents that run go on",
        "Create it, or refer to another; the fleet goes on by itself",
        "kubectl get configmaps,secrets",
    ),
    "NameConflict": Reason(
        "A Kubernetes object of the name that is needed belongs to somebody else, who is named",
        "Remove that object, or name the resource differently",
        "kubectl get deployment,configmap,serviceaccount triage-workers",
    ),
    "TopicConflict": Reason(
        "A topic of that name exists and belongs to somebody else, or was named and nobody allowed to adopt "
        "it",
        "Choose another name, set `managed: false` to use it as it is, or take over one that has no owner by "
        "the annotation",
        "kubectl annotate agentgroup triage kafleet.dev/adopt=true",
    ),
    "RetentionRisk": Reason(
        "The oldest record that waits has used half of the retention of its topic; Kafka deletes it when all "
        "is used",
        "Raise `retention.ms` in the topic's `config`, and see why work waits: too few agents, a key that "
        "fails again and again, or a fleet that is suspended",
        "kubectl describe agentgroup triage",
    ),
    "OffsetsLost": Reason(
        "A consumer group had committed offsets that Kafka has no more: brokers forget them when a group was "
        "empty for too long (`offsets.retention.minutes`, 7 days by default), or somebody deleted them. "
        "Agents begin where `delivery.startFrom` says: `earliest` repeats work, `latest` passes over what "
        "waits",
        "Nothing, if that is right; else set the offsets while the fleet is suspended, with "
        "`kafka-consumer-groups --reset-offsets`",
        "kubectl describe agentgroup triage",
    ),
    "TopicLost": Reason(
        "A topic was deleted outside and made again; the records in it are lost. Agents that read it end, "
        "forget the offsets of the old one, and start again",
        "Nothing; find out who deletes topics",
    ),
    "TopicRejected": Reason(
        "Kafka will not make or change a topic as it is wished: a setting or value that it does not know, "
        "more copies than brokers, or a policy of the cluster. Everything else goes on, and the operator "
        "tries again",
        "Change `config` or `replicationFactor`: the message has Kafka's own words",
        "kubectl describe agentgroup triage",
    ),
    "PartitionDecreaseNotSupported": Reason(
        "Fewer partitions are asked for than the topic has: Kafka cannot take any away",
        "Set `partitions` to what the topic has",
        "kubectl get agentgroup triage --output jsonpath='{.status.topics}'",
    ),
    "PartitionGrowthNotAllowed": Reason(
        "More partitions move keys to other partitions, so that records of one key can overtake each other",
        "Set `partitions` back, or allow it",
        _PATCH.format('{"spec": {"tasks": {"onGrowth": "Reorder"}}}'),
    ),
    "ReplicationFactorChangeNotSupported": Reason(
        "The topic exists with another replication factor",
        "Set `replicationFactor` to what the topic has, or reassign its replicas with Kafka's own "
        "`kafka-reassign-partitions`",
    ),
    "KafkaUnreachable": Reason(
        "No broker answered. Nothing is changed, and agents that run are left alone",
        "Check `connection.bootstrapServers`, the brokers and the network; the operator's log has the causes "
        "as the client gives them",
        _LOG,
    ),
    "NotAuthorized": Reason(
        "Kafka or the API server refused the operator: wrong credentials, a certificate that is not trusted, "
        "or a missing right",
        "Mend what the message names, or grant it",
        "kubectl describe agentgroup triage",
    ),
    "RollingOut": Reason(
        "Topics are being made, agents start or are replaced, or partitions are still without an agent",
        "Wait; the message says for what. If it lasts, look at the pods",
        _PODS,
    ),
    "CrashLooping": Reason(
        "Agents end again and again; most often the handler cannot be imported",
        "Read the last words of the pods that are named",
        "kubectl logs --previous --selector kafleet.dev/resource=triage",
    ),
    "Recovered": Reason(
        "Only of Events: an agent's container ended without leaving its group, and the operator removed it, "
        "so that others go on with its work",
        "If it happens often, read the last words of the pod that is named",
        "kubectl logs --previous --selector kafleet.dev/resource=triage",
    ),
    "Suspended": Reason(
        "`suspend: true`: no agent runs, and work waits",
        "Set it to false to go on",
        _PATCH.format('{"spec": {"suspend": false}}'),
    ),
    "Draining": Reason(
        "A lane is no longer wished: its agents work off what waits for them, for `drainTimeout` at most; "
        "then they go, and their group",
        "Wait; the message says for what",
        _PODS,
    ),
    "Deleting": Reason(
        "The resource is going: agents end, then Kafka is cleaned up",
        "Wait; the message says for what. `deletionPolicy: Retain` lets it go at once, and leaves topics and "
        "offsets behind",
        _PATCH.format('{"spec": {"deletionPolicy": "Retain"}}'),
    ),
    "InternalError": Reason(
        "Kafka or the API server refused a request for a reason of its own (a topic setting it does not "
        "know, a quota), or the operator has a defect; it tries again",
        "Read the message; report a defect with the operator's log",
        _LOG,
    ),
}
