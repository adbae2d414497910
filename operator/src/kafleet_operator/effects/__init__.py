"""Everything that reads or changes the world: the API server and Kafka. Nothing here decides what should be.

Rights it needs, in the namespaces it serves; the chart grants exactly these:

| group | resource | verbs | for |
| --- | --- | --- | --- |
| kafleet.dev | agentgroups | list watch patch | reading the wish; setting and dropping our finalizer |
| kafleet.dev | agentgroups/status | patch | status, written by server-side apply |
| kafleet.dev | agentgroups/finalizers | update | owner references that block deletion |
| apps | deployments | list watch create patch delete | a lane's agents |
| policy | poddisruptionbudgets | list watch create patch delete | how many agents a drain may take at once |
| networking.k8s.io | networkpolicies | list watch create patch delete | who may talk to agents |
| (core) | configmaps | get list watch create patch delete | lane files; reading referenced code |
| (core) | secrets | get list watch | referenced Secrets, hashed; only where the chart is told to allow it |
| (core) | serviceaccounts | list watch create patch delete | a lane's identity |
| (core) | pods | list watch | whether agents run |
| events.k8s.io | events | create | one Event a transition |

Nothing is needed for namespaces, leases or custom resource definitions.
"""
