"""Talks to a discovery service and to nodes as somebody who has nothing of p2p-chat: no code, no .proto file, no key.

Everything comes from reflection, as with grpcurl. Needs grpcio, grpcio-reflection and grpcio-health-checking.
Arguments: the network's name, the discovery service's HOST:PORT, the nodes' (separated by white space).
Prints a line "ok ..." for each thing that holds; exits with 1 at the first that doesn't.
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE_S = 10


class Server:
    """A server that is known by its address only."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address)
        self.reflection = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.reflection)

    def services(self) -> set[str]:
        return set(self.reflection.get_services())

    def health(self) -> str:
        stub = health_pb2_grpc.HealthStub(self.channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def call(self, service: str, method: str):
        """Makes a unary call with an empty request."""
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(descriptor.input_type)
        answer = message_factory.GetMessageClass(descriptor.output_type)
        unary = self.channel.unary_unary(
            f"/{service}/{method}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )
        return unary(request(), timeout=DEADLINE_S)


def check(holds: bool, what: str, found: object) -> None:
    if not holds:
        print(f"FAIL {what}: found {found}")
        sys.exit(1)
    print(f"ok   {what}", flush=True)


def check_server(server: Server, expected: set[str]) -> None:
    services = server.services()
    names = ", ".join(sorted(name.removeprefix("p2pchat.v1.") for name in expected))
    check(expected <= services, f"{server.address} reflects {names}", sorted(services))
    health = server.health()
    check(health == "SERVING", f"{server.address} says it is serving", health)


def main() -> None:
    network, discovery, nodes = sys.argv[1], Server(sys.argv[2]), [Server(address) for address in sys.argv[3].split()]

    check_server(discovery, {"p2pchat.v1.Discovery", "grpc.health.v1.Health"})
    records = discovery.call("p2pchat.v1.Discovery", "ListNetworks").records
    found = [(record.name, record.members, record.stale) for record in records]
    check(found == [(network, len(nodes), False)], f"ListNetworks lists {network} with {len(nodes)} members", found)

    peer_services = {f"p2pchat.v1.{name}" for name in ("Chat", "Election", "Liveness", "Membership")}
    for node in nodes:
        check_server(node, peer_services | {"grpc.health.v1.Health"})
        check("p2pchat.v1.Node" not in node.services(), f"{node.address} keeps its local API to itself", node.services())
        node.call("p2pchat.v1.Liveness", "Ping")
        check(True, f"{node.address} answers a ping", None)
        try:
            answer = node.call("p2pchat.v1.Chat", "Deliver")
            check(False, f"{node.address} takes no entries from strangers", answer)
        except grpc.RpcError as error:
            code = error.code()
            check(code == grpc.StatusCode.UNAUTHENTICATED, f"{node.address} takes no entries from strangers", error)


main()
