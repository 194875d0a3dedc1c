#!/bin/sh
# Run once in a fresh tree, before it is ever booted: the people of the stories, and the package where there is one.
set -eu

# "correct-horse" for everybody; few rounds, for it is typed often.
password='$5$rounds=1000$jitdtests$WbEM83CuSIb/FHMLe/TY7gpKpu.HyMbFdB70wEeOuzB'

for group in webops leads oncall; do groupadd "$group"; done
getent group jit-operators >/dev/null || groupadd --system jit-operators

person() {
    useradd --create-home --shell /bin/bash --password "$password" --uid "$2" ${3:+--groups "$3"} "$1"
}
person alice 2001 webops             # has to type her password
person bob 2002 leads,oncall         # approves, by two groups
person carol 2003 leads,adm          # approves, and reads the record
person dave 2004 webops              # NOPASSWD
person oscar 2005 jit-operators,webops
person mallory 2006                  # NOPASSWD in sudoers, and in no role
usermod --password "$password" root

cat >/etc/sudoers.d/stories <<'END'
alice, bob, carol ALL=(ALL:ALL) ALL
dave, oscar, mallory ALL=(ALL:ALL) NOPASSWD: ALL
END
chmod 0440 /etc/sudoers.d/stories

cat >/etc/doas.conf <<'END'
permit nopass dave
permit nopass mallory
permit alice
END
chmod 0600 /etc/doas.conf

if [ -e /stage/jitd.deb ]; then
    export DEBIAN_FRONTEND=noninteractive
    dpkg --install /stage/jitd.deb
fi
