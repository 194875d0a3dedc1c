#!/bin/bash
# Makes a layer with more Debian packages over a tree of tests/hosts.sh: tests/more.sh TREE LAYER PACKAGE...
# What conflicts with them is removed. @PACKAGE is only downloaded, with what it depends on, so that the host, which has no
# network, can install it with apt. Quick where the layer is there already.
set -euo pipefail

tree=${1:?usage: tests/more.sh TREE LAYER PACKAGE...}
layer=${2:?usage: tests/more.sh TREE LAYER PACKAGE...}
shift 2

stamp="$(cat "$tree/.jit-tree"), more: $*"
if [ "$(cat "$layer/.jit-tree" 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi
echo "hosts: adding $* to ${tree##*/}" >&2
# A run that was killed may have left it mounted.
umount --lazy "$layer.tmp/tree" 2>/dev/null || true
rm -rf --one-file-system "$layer" "$layer.tmp"
mkdir -p "$layer.tmp/upper" "$layer.tmp/work" "$layer.tmp/tree"
root=$layer.tmp/tree
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$layer.tmp/upper,workdir=$layer.tmp/work" "$root"
trap 'umount --lazy "$root"' EXIT
cp /etc/resolv.conf "$root/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
chroot "$root" apt-get update -qq >&2
install=() download=()
for package; do
    case $package in
        @*) download+=("${package#@}") ;;
        *) install+=("$package") ;;
    esac
done
if [ ${#install[@]} -gt 0 ]; then
    chroot "$root" apt-get install -qq -y --no-install-recommends "${install[@]}" >&2
fi
chroot "$root" apt-get clean
# One by one: packages that conflict with each other can be downloaded all the same.
for package in "${download[@]}"; do
    chroot "$root" apt-get install -qq -y --download-only "$package" >&2
done
if [ ${#download[@]} -eq 0 ]; then
    rm -rf "$root"/var/lib/apt/lists/*
fi
printf '%s\n' "$stamp" >"$root/.jit-tree"
umount "$root"
trap - EXIT
mv "$layer.tmp/upper" "$layer"
rm -rf --one-file-system "$layer.tmp"
