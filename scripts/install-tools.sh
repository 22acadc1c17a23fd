#!/usr/bin/env bash
# Installs what the tests and the demo use beside Rust: NBD clients, PostgreSQL, namespaces.
# Where that is not possible, it names what is missing and goes on: what needs it is skipped then.
set -u
missing=()
need() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
PATH="$PATH:/usr/sbin:/sbin"
need qemu-storage-daemon qemu-utils
need qemu-io qemu-utils
need nbdcopy libnbd-bin
need nbdkit nbdkit
need fio fio
need mkfs.ext4 e2fsprogs
need ip iproute2
need fusermount3 fuse3
need losetup mount
need setpriv util-linux
need python3 python3
need cmp diffutils
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
compgen -G "/usr/lib/postgresql/*/bin/pg_amcheck" >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    for package in "${missing[@]}"; do
        # --no-remove: an older qemu-system must not push newer qemu utilities out.
        apt-get install -y -qq --no-remove --no-install-recommends "$package" >/dev/null ||
            echo "could not install $package"
    done
else
    echo "not installed: ${missing[*]}"
    echo "as root on Debian: apt-get install --no-remove ${missing[*]}"
    echo "going on without; what needs them is skipped and says so"
fi
exit 0
