"""The names and addresses of the native cluster's one node, its pods and its services."""

NODE = "kafleet-node"
LINK = "kafleet0"
HOST_IP = "10.213.0.1"
NODE_IP = "10.213.0.2"
LINK_BITS = 24
POD_CIDR = "10.213.64.0/24"
SERVICE_CIDR = "10.213.128.0/20"
API_SERVICE_IP = "10.213.128.1"
DNS_SERVICE_IP = "10.213.128.10"
API_PORT = 6443
