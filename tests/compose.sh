#!/usr/bin/env bash
# The demo of docker-compose.yml, as its user would run it: up, talk, lose the leader, get it back, restart, down.
#
#   tests/compose.sh
#
# Needs a Docker engine and docker-compose 1.29 or Compose v2; pulls nothing: the base images are stand-ins made
# from Debian's packages and the Rust toolchain in use (tests/compose/stand-ins.sh). In the environment:
#   COMPOSE                     which Compose, such as "docker-compose"; default: whichever there is
#   BUILD_IMAGE, RUNTIME_IMAGE  base images to use in place of the stand-ins (both or none)
#   NDS_PORT, ALICE_PORT, ...   ports on the host; default: free ones
# The last line is "compose: N passed, N failed"; without an engine, "compose: 0 passed, 0 failed, 1 skipped".
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/compose/story.sh
source tests/compose/story.sh

readonly NETWORK=lab
readonly NODES=(alice bob carol dave)
said=()

skip() {
    printf '\n*** SKIPPED tests/compose.sh: %s ***\n\n' "$*"
    echo "compose: 0 passed, 0 failed, 1 skipped"
    exit 0
}

docker version >/dev/null 2>&1 || skip "no Docker engine answers"
if [[ -n ${COMPOSE:-} ]]; then
    read -ra COMPOSE <<<"$COMPOSE"
elif docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
elif docker-compose version >/dev/null 2>&1; then
    COMPOSE=(docker-compose)
else
    skip "there is neither docker-compose nor docker compose"
fi

project=p2pchat-test-$(date +%s)-$$
work=$(mktemp -d "${TMPDIR:-/tmp}/p2pchat-test.XXXXXX")
is_down=
export P2P_CHAT_IMAGE=p2pchat-test/p2p-chat:$project
# Port 0: a free one.
export NDS_PORT=${NDS_PORT:-0} ALICE_PORT=${ALICE_PORT:-0} BOB_PORT=${BOB_PORT:-0}
export CAROL_PORT=${CAROL_PORT:-0} DAVE_PORT=${DAVE_PORT:-0}
# BuildKit may run where it does not see the engine's own images.
export DOCKER_BUILDKIT=0

clean_up() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    if ((status != 0)); then
        step "What the containers said last"
        compose ps
        compose logs --no-color --tail 60
    fi
    if [[ -z $is_down ]]; then
        step "Cleaning up"
        compose down --volumes --remove-orphans --timeout 5
    fi
    docker image rm "$P2P_CHAT_IMAGE" >/dev/null 2>&1
    rm -rf "$work"
    echo
    echo "compose: $passed passed, $((status != 0)) failed"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

is_tool_there() { command -v "$1" >/dev/null; }
is_tool_there jq || { apt-get update && apt-get install -y --no-install-recommends jq; }
is_tool_there python3 || { apt-get update && apt-get install -y --no-install-recommends python3; }

step "Base images"
if [[ -z ${BUILD_IMAGE:-} || -z ${RUNTIME_IMAGE:-} ]]; then
    images=$(tests/compose/stand-ins.sh)
    read -r BUILD_IMAGE RUNTIME_IMAGE <<<"$images"
fi
export BUILD_IMAGE RUNTIME_IMAGE
echo "build: $BUILD_IMAGE, runtime: $RUNTIME_IMAGE"

step "Compose reads the file"
check "$("${COMPOSE[@]}" version 2>/dev/null | sed -n 1p) reads docker-compose.yml" compose config --quiet
check "the services are the ones of the demo" \
    equal "alice bob carol dave nds" "$(compose config --services | LC_ALL=C sort | xargs)"

step "Build"
limit_s=1500 check "the image builds" compose build
check "the image runs as a user of its own" \
    equal "p2p-chat" "$(docker image inspect --format '{{.Config.User}}' "$P2P_CHAT_IMAGE")"

step "Up"
check "the containers are created, each after those it needs" compose up --detach
await 120 "all five containers are healthy" are_healthy nds "${NODES[@]}"
await 30 "four members, one view" agree 4 "${NODES[@]}"
echo "     $view"
first_leader=$(leader)
check "alice, who made the network, leads it" equal alice "$first_leader"
await 15 "the discovery service lists $first_leader" is_listed_with bob "$first_leader"

step "Health, from a neighbour's container"
check "the discovery service is healthy" p2p_chat alice health nds:7400
for node in "${NODES[@]}"; do
    check "$node is healthy" p2p_chat nds health "$node:7500"
done

step "A foreign gRPC client, on the host, through the published ports"
packages=$work/python
if { python3 -m pip --version || { apt-get update && apt-get install -y python3-pip; }; } >/dev/null 2>&1 \
    && python3 -m pip install --quiet --target "$packages" grpcio grpcio-reflection grpcio-health-checking; then
    PYTHONPATH=$packages timeout 120 python3 tests/compose/foreign_client.py "$NETWORK" "$(published nds 7400)" \
        "$(for node in "${NODES[@]}"; do published "$node" 7500; done)" | tee "$work/foreign" || die "the foreign client"
    passed=$((passed + $(grep -c '^ok' "$work/foreign")))
else
    echo "*** SKIPPED the foreign client: Python's gRPC packages can't be installed here ***"
fi

step "A conversation"
say alice "hello from alice"
for node in bob carol dave; do say "$node" "hello alice, $node here"; done
await 30 "everybody shows the same history, everything in it once" have_everything "${NODES[@]}"

step "kill -9 of the leader, $first_leader"
highest=$(highest_id)
epoch=$(listed bob | cut -d ' ' -f 2)
compose kill -s SIGKILL "$first_leader"
await 10 "$first_leader is dead" is_stopped "$first_leader"
survivors=()
for node in "${NODES[@]}"; do [[ $node == "$first_leader" ]] || survivors+=("$node"); done
await 60 "the survivors follow a new leader, the lowest id, and $first_leader has dropped out" agree 3 "${survivors[@]}"
echo "     $view"
next_leader=$(leader)
await 15 "the discovery service lists $next_leader" is_listed_with "${survivors[1]}" "$next_leader"
next_epoch=$(listed "${survivors[0]}" | cut -d ' ' -f 2)
check "the epoch grew: $epoch, $next_epoch" test "$next_epoch" -gt "$epoch"
for node in "${survivors[@]}"; do say "$node" "$node goes on without $first_leader"; done
await 30 "the survivors show the same history" have_everything "${survivors[@]}"

step "$first_leader comes back"
compose start "$first_leader"
await 60 "$first_leader is healthy" are_healthy "$first_leader"
await 60 "four members, one view" agree 4 "${NODES[@]}"
echo "     $view"
check "$next_leader still leads" equal "$next_leader" "$(leader)"
check "$first_leader has a new id, higher than all before" test "$(id_of "$first_leader")" -gt "$highest"
check "no election was held" equal "$next_epoch" "$(listed "$next_leader" | cut -d ' ' -f 2)"
await 30 "$first_leader has everything it missed" have_everything "${NODES[@]}"
say "$first_leader" "back again"
await 30 "everybody hears it" have_everything "${NODES[@]}"

step "Stop and start all, keeping the volumes"
compose stop
for service in nds "${NODES[@]}"; do
    check "$service ended by itself when asked to" equal 0 "$(inspect "$service" '{{.State.ExitCode}}')"
done
compose down
check "the containers are created anew" compose up --detach
await 120 "all five containers are healthy" are_healthy nds "${NODES[@]}"
await 60 "four members, one view" agree 4 "${NODES[@]}"
echo "     $view"
await 30 "nothing was lost" have_everything "${NODES[@]}"
say dave "good night"
await 30 "everybody hears it" have_everything "${NODES[@]}"

step "Down, data too"
compose down --volumes
check "no container is left" equal "" "$(containers)"
check "no volume is left" equal "" "$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project")"
check "no network is left" equal "" "$(docker network ls --quiet --filter "label=com.docker.compose.project=$project")"
is_down=yes
