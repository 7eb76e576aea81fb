#!/usr/bin/env bash
# Prepare a User Mode Linux guest with evdev, uinput and joydev, from Debian packages only. Nothing is installed system-wide
# but tools for building. No root, no KVM and no host module are needed to run it.
#
# usage: tests/vm/prepare.sh [CACHE]      default: .cache/vm of this checkout. Does nothing where it is ready.
#
# Debian's binary lacks the three drivers, so they are built as modules from the source of that very binary (under 1 minute).
# On CPUs whose vector registers need more than 2696 bytes (AMX: Sapphire Rapids and later) that binary cannot start
# processes at all; there a small kernel is built from the same source (4 minutes of CPU).
set -euo pipefail
recipe="recipe 1 $(sha256sum <"$(dirname "$0")/kernel.config")" # raise the number when the cache must be made anew
here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-$here/../../.cache/vm}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
cd "$cache"

fail() { echo "prepare.sh: $*" >&2; exit 2; }
# One at a time: two test runs may share the cache.
exec 9>lock
flock 9

boots() { # KERNEL: whether it runs a program; when that ends, so does the kernel, by a panic that names the exit code
  said=$( (ulimit -c 0; exec timeout 60 "$1" mem=128M rootfstype=hostfs rootflags=/ ro init=/bin/true con=null \
    con0=null,fd:1 panic=-1 "uml_dir=$cache/run" umid=probe </dev/null 2>&1) || true)
  case $said in *exitcode=0x00000000*) ;; *) return 1 ;; esac
}

if [ -f ok ] && [ "$(head -1 ok)" = "$recipe" ] && boots ./linux; then
  tail -1 ok
  exit 0
fi
rm -rf ok linux mods build
started=$SECONDS
command -v apt-get >/dev/null || fail "needs Debian (apt-get); on other systems load the uinput module and run the tests directly"
sudo=
[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo=sudo; }
export DEBIAN_FRONTEND=noninteractive
need=()
for package in flex bison bc xz-utils make gcc libc6-dev; do
  dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
done
apt-cache show user-mode-linux >/dev/null 2>&1 || $sudo apt-get update -q >apt.log 2>&1 || fail "apt-get update failed: $(tail -1 apt.log)"
if [ ${#need[@]} -gt 0 ]; then
  $sudo apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${need[@]}" >apt.log 2>&1 ||
    fail "cannot install ${need[*]}: $(tail -1 apt.log)"
fi

# Built-Using names the exact source of the binary, like 6.1.176-1.
version=$(apt-cache show user-mode-linux | sed -n 's/^Built-Using: linux (= \(.*\))$/\1/p' | head -1)
[ -n "$version" ] || fail "this system's packages have no user-mode-linux (Debian has)"
release=${version%%-*}
source=linux-source-$(echo "$release" | cut -d. -f1,2)
mkdir build
cd build
apt-get download -q user-mode-linux busybox-static evtest >../download.log 2>&1 || fail "download failed: $(tail -1 ../download.log)"
# Where that source has left the mirror, any of the same series will do: modules are told the binary's release.
apt-get download -q "$source=$version" >>../download.log 2>&1 || apt-get download -q "$source" >>../download.log 2>&1 ||
  fail "download failed: $(tail -1 ../download.log)"
rm -rf ../uml ../bb ../witness
dpkg -x user-mode-linux_*.deb ../uml
dpkg -x busybox-static_*.deb ../bb
dpkg -x evtest_*.deb ../witness # somebody else's eyes for the tests
dpkg-deb --fsys-tarfile "$source"_*.deb | tar -xO --wildcards './usr/src/*.tar.xz' | tar -xJ
cd "$source"

if boots "$cache/uml/usr/bin/linux.uml"; then
  kind="Debian's kernel $release with our modules"
  zcat "$cache/uml/usr/share/doc/user-mode-linux/config.gz" >.config
  scripts/config -m INPUT_EVDEV -e INPUT_MISC -m INPUT_UINPUT -m INPUT_JOYDEV
  {
    make -s ARCH=um olddefconfig
    make -s -j"$(nproc)" ARCH=um KERNELRELEASE="$release" modules_prepare
    make -s -j"$(nproc)" ARCH=um KERNELRELEASE="$release" KBUILD_MODPOST_WARN=1 \
      drivers/input/evdev.ko drivers/input/misc/uinput.ko drivers/input/joydev.ko
  } >"$cache/build.log" 2>&1 || fail "building the modules failed: see $cache/build.log"
  mkdir "$cache/mods"
  cp drivers/input/evdev.ko drivers/input/joydev.ko drivers/input/misc/uinput.ko \
    "$cache"/uml/usr/lib/uml/modules/*/kernel/fs/overlayfs/overlay.ko "$cache/mods/"
  cp "$cache/uml/usr/bin/linux.uml" "$cache/linux"
else
  kind="our kernel $release"
  echo "prepare.sh: Debian's kernel does not run on this CPU; building one (4 minutes of CPU) ..." >&2
  # Room for the vector registers of every CPU so far; ptrace uses as much of it as the machine has.
  sed -i 's/DEFINE_LONGS(HOST_FP_SIZE, 2696)/DEFINE_LONGS(HOST_FP_SIZE, 16384)/' arch/x86/um/user-offsets.c
  {
    make -s ARCH=um allnoconfig KCONFIG_ALLCONFIG="$here/kernel.config"
    make -s -j"$(nproc)" ARCH=um vmlinux
  } >"$cache/build.log" 2>&1 || fail "building the kernel failed: see $cache/build.log"
  strip -o "$cache/linux" vmlinux
  boots "$cache/linux" || fail "User Mode Linux does not run on this machine (see $here/README.md)"
fi
cd "$cache"
rm -rf build run uml
{
  echo "$recipe"
  echo "guest ready: $kind, prepared in $((SECONDS - started)) s"
} >ok
tail -1 ok
