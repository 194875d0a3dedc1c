#!/bin/bash
# Makes the Debian trees that the test hosts lie on: tests/hosts.sh FOLDER. Quick where they are there already.
# A tree remembers what it was made of; another list of packages makes it anew. JIT_MIRROR names another mirror.
set -euo pipefail

folder=${1:?usage: tests/hosts.sh FOLDER}

common=systemd,systemd-sysv,dbus,libpam-systemd,polkitd,pkexec,sudo,rsyslog,pamtester,strace,sqlite3,procps
common+=,util-linux,passwd,opendoas,login,tzdata,at,cron
declare -A packages=([bookworm]=$common [trixie]=$common,sudo-rs,util-linux-extra)

say() { echo "hosts: $*" >&2; }

[ "$(id -u)" -eq 0 ] || { say "booting hosts needs root"; exit 1; }

missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >&2
fi

mkdir -p "$folder"
for release in "${!packages[@]}"; do
    tree=$folder/$release
    stamp="$release ${packages[$release]}"
    if [ -d "$tree" ] && [ "$(cat "$tree/.jit-tree" 2>/dev/null)" = "$stamp" ]; then
        continue
    fi
    say "making $release; this fetches about 100 MB, once"
    rm -rf --one-file-system "$tree.tmp"
    mmdebstrap --quiet --variant=minbase --include="${packages[$release]}" "$release" "$tree.tmp" \
        ${JIT_MIRROR:+"$JIT_MIRROR"} >&2
    printf '%s\n' "$stamp" >"$tree.tmp/.jit-tree"
    rm -rf --one-file-system "$tree"
    mv "$tree.tmp" "$tree"
done
