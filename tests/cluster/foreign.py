"""Speaks to a discovery service and a node with nothing but what gRPC reflection (v1alpha) tells.

Arguments: NDS_ADDRESS NODE_ADDRESS NETWORK
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE = 10


def check(fact, otherwise):
    if not fact:
        sys.exit(otherwise)


def call(channel, database, service, method, **fields):
    """A unary call of a method known only by name."""
    pool = descriptor_pool.DescriptorPool(database)
    described = pool.FindServiceByName(service).FindMethodByName(method)
    request = message_factory.GetMessageClass(described.input_type)(**fields)
    response = message_factory.GetMessageClass(described.output_type)
    invoke = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return invoke(request, timeout=DEADLINE)


def reflected(channel, who, expected):
    """The services that `who` lists, every one of which can be looked up."""
    database = ProtoReflectionDescriptorDatabase(channel)
    services = sorted(database.get_services())
    for name in expected:
        check(name in services, f"{who} does not list {name}, but {services}")
    pool = descriptor_pool.DescriptorPool(database)
    for name in services:
        methods = pool.FindServiceByName(name).methods
        check(methods, f"{who} describes {name} without methods")
    print(f"reflection: {who} lists {', '.join(services)}")
    return database


def healthy(channel, who):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE)
    check(answer.status == health_pb2.HealthCheckResponse.SERVING, f"{who} is not serving: {answer}")


def main(nds_address, node_address, network):
    base = ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
    with grpc.insecure_channel(nds_address) as nds, grpc.insecure_channel(node_address) as node:
        of_nds = reflected(nds, "the discovery service", [*base, "p2pchat.v1.Discovery"])
        peer = ["Chat", "Election", "Liveness", "Membership"]
        of_node = reflected(node, "a node", [*base, *(f"p2pchat.v1.{name}" for name in peer)])
        healthy(nds, "the discovery service")
        healthy(node, "the node")

        records = call(nds, of_nds, "p2pchat.v1.Discovery", "ListNetworks").records
        found = [record for record in records if record.name == network]
        check(len(found) == 1, f"{network} is listed {len(found)} times")
        check(found[0].leader_address == node_address, f"another node leads: {found[0]}")

        alive = call(node, of_node, "p2pchat.v1.Liveness", "Ping")
        check(not alive.HasField("standing"), f"a stranger is told where the node stands: {alive}")
        nosy = call(node, of_node, "p2pchat.v1.Liveness", "Ping", network=found[0].network)
        check(not nosy.HasField("standing"), f"a stranger is told where the node stands: {nosy}")
        try:
            call(node, of_node, "p2pchat.v1.Chat", "Fetch", network=found[0].network)
            sys.exit("a stranger may fetch")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.UNAUTHENTICATED, f"the refusal is {error.code()}")
    print(f"foreign client: found {network} at epoch {found[0].epoch}, pinged its leader, was refused the chat")


main(*sys.argv[1:])
