"""Asking the node's servers whether they serve."""

import contextlib
import http.client
import socket
import ssl
from pathlib import Path

from localcluster.addresses import API_PORT, DNS_SERVICE_IP, NODE_IP

ANSWER_SECONDS = 2


def api_answers(path: str, pki: Path) -> bool:
    """Tell whether the API server answers 200 to the administrator's GET."""
    try:
        context = ssl.create_default_context(cafile=pki / "ca.crt")
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        connection = http.client.HTTPSConnection(NODE_IP, API_PORT, context=context, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def name_resolves(name: str) -> bool:
    """Tell whether the cluster's DNS service has an address (RFC 1035, one A question) for the name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_SECONDS)
        try:
            client.sendto(question, (DNS_SERVICE_IP, 53))
            answer = client.recv(512)
        except OSError:
            return False
    failure_code, answers = answer[3] & 15, answer[7]
    return failure_code == 0 and answers > 0
