#!/usr/bin/env bash
# The main job on the embedded default: an example repository and a spec card in, one pull request per ticket out.
# DEMO_STATE names another state directory; DEMO_KEEP=0 stops everything at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

state=$(realpath -m "${DEMO_STATE:-.swarm/demo}")
upstream=$state/upstream/shelf.git
export SWARM_STATE_DIR=$state
swarm() { .venv/bin/swarm "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

[ "$(id -u)" -eq 0 ] || { echo "demo: root is needed to start microVMs: sudo make demo" >&2; exit 1; }
[ "${DEMO_KEEP:-1}" = 1 ] || trap 'swarm down' EXIT

say "A repository to work on: $upstream"
if [ ! -d "$upstream" ]; then
  work=$(mktemp -d)
  cp -R examples/shelf/. "$work"
  git -C "$work" init --quiet --initial-branch=main
  git -C "$work" add .
  git -C "$work" -c user.name=Example -c user.email=example@localhost commit --quiet --message="A shelf for books"
  mkdir -p "$(dirname "$upstream")"
  git clone --quiet --bare "$work" "$upstream"
  rm -rf "$work"
fi

say "The control plane and one host (the first start builds an image and bakes a template)"
swarm up

say "Seven features with two diamonds among them, each in a microVM of its own"
swarm run --spec examples/shelf.card.json --repo "$upstream" --follow

say "Boot times by tier: T0 a paused VM resumed, T1 restored in a waiting VMM, T1s in a new one, T2 cold"
swarm vm tiers

say "Where to look next"
cat <<MORE
  export SWARM_STATE_DIR=$state PATH=\$PWD/.venv/bin:\$PATH
  swarm pr show TKT-002           what a ticket made
  swarm ticket logs TKT-002       what its agent said
  swarm pr merge TKT-002          merge it
  swarm ticket events TKT-002     every step of its way
  swarm status                    what runs now
  swarm down                      stop everything
MORE
