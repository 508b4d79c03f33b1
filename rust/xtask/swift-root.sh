#!/usr/bin/env bash
# Swift for a Debian whose release has none: the packages of one that has, unpacked in a folder, and a command run there.
# As root.
#
#     swift-root.sh ROOT REPOSITORY TARGET COMMAND...
#
# Makes ROOT when it is not there (about a minute, 2.5 GB), then runs the command in it. The two folders are seen inside
# under their own names, nothing else of this machine is. Everything mounted is in a namespace of its own and goes with
# the command; the command goes with this script, however that ends.
set -euo pipefail
root=$1 repository=$2 target=$3
shift 3

RELEASE=trixie
# Compilers need a linker and C's headers; base-files has the links /bin, /lib and so on that the others unpack into.
PACKAGES="base-files bash coreutils swiftlang libc6-dev libstdc++-14-dev binutils"
# Longer than any of it takes: what hangs is ended.
SECONDS_AT_MOST=900

private() { setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child -- "$@"; }

# The mirror that this machine takes its own packages from.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' "Release: $(. /etc/os-release && echo "$VERSION_CODENAME")" \
        'Component: main' 'Created-By: Packages' | head -n 1
}

# Apt, which sees no other sources and no installed package: all that the packages need is fetched, into this folder.
fetch() {
    local folder=$1 mirror
    mirror=$(mirror)
    [ -n "$mirror" ] || { apt-get update -q && mirror=$(mirror); }
    [ -n "$mirror" ] || { echo "this machine's mirror of Debian is not to be found" >&2; return 1; }
    mkdir -p "$folder"/{lists,archives}/partial
    : >"$folder/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $RELEASE main" >"$folder/sources.list"
    cat >"$folder/apt.conf" <<CONF
Dir::State::Lists "$folder/lists";
Dir::State::Status "$folder/status";
Dir::Cache "$folder";
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
    export APT_CONFIG=$folder/apt.conf
    apt-get update -q
    # shellcheck disable=SC2086 # They are several.
    apt-get install -q --yes --download-only $PACKAGES
}

# Unpacks the packages. None is set up: what a compiler needs of that is done here.
make() {
    local packages=$root.packages part=$root.part package
    rm -rf --one-file-system -- "$root" "$part" "$packages"
    (fetch "$packages")
    mkdir -p "$part"
    dpkg-deb --extract "$packages"/archives/base-files_*.deb "$part"
    for package in "$packages"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$part" --keep-directory-symlink
    done
    ldconfig -r "$part"
    ln -sf ../libexec/swift/bin/swift "$part/usr/bin/swift"
    rm -rf -- "$packages"
    echo "$PACKAGES" >"$part/made-of"
    mv -T -- "$part" "$root"
}

mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock 9
[ "$(cat "$root/made-of" 2>/dev/null)" = "$PACKAGES" ] || make
exec 9>&-

private bash -euc '
    root=$1
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    device() { mknod -m 666 "$root/dev/$1" c 1 "$2"; }
    device null 3; device zero 5; device full 7; device random 8; device urandom 9
    ln -s /proc/self/fd "$root/dev/fd"
    for folder in "$2" "$3"; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    shift 3
    exec chroot "$root" env -i HOME=/tmp PATH=/usr/bin:/bin LANG=C.UTF-8 timeout --kill-after 5 "$@"
' bash "$root" "$repository" "$target" "$SECONDS_AT_MOST" "$@"
