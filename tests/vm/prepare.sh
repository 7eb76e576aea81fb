#!/usr/bin/env bash
# Prepare a User Mode Linux guest with evdev, uinput, joydev and the drivers of real gamepads, from Debian packages only.
# Nothing is installed system-wide but tools for building. No root, no KVM and no host module are needed to run it.
#
# usage: tests/vm/prepare.sh [CACHE]      default: .cache/vm of this checkout. Does nothing where it is ready.
#
# The kernel is built from Debian's source with kernel.config (4.5 minutes of CPU): Debian's own user-mode-linux has none of
# these drivers, cannot take hid-playstation or xpad as modules, and does not run on CPUs with AMX.
set -euo pipefail
recipe="recipe 2 $(sha256sum <"$(dirname "$0")/kernel.config")" # raise the number when the cache must be made anew
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
rm -rf ok linux mods uml build
started=$SECONDS
command -v apt-get >/dev/null || fail "needs Debian (apt-get); on other systems load the uinput module and run the tests directly"
sudo=
[ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo=sudo; }
export DEBIAN_FRONTEND=noninteractive
need=()
for package in flex bison bc xz-utils make gcc libc6-dev; do
  dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
done
source_package() { # 6.12 is what the fixes below were made for; others of the sixes are likely to do
  local all
  all=$(apt-cache search --names-only '^linux-source-6\.[0-9]+$' | cut -d' ' -f1 | sort -V)
  grep -x linux-source-6.12 <<<"$all" || tail -1 <<<"$all"
}
[ -n "$(source_package)" ] || $sudo apt-get update -q >apt.log 2>&1 || fail "apt-get update failed: $(tail -1 apt.log)"
if [ ${#need[@]} -gt 0 ]; then
  $sudo apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${need[@]}" >apt.log 2>&1 ||
    fail "cannot install ${need[*]}: $(tail -1 apt.log)"
fi

source=$(source_package)
[ -n "$source" ] || fail "this system's packages have no linux-source-6.12 (Debian has)"
mkdir build
cd build
apt-get download -q "$source" busybox-static evtest >../download.log 2>&1 || fail "download failed: $(tail -1 ../download.log)"
rm -rf ../bb ../witness
dpkg -x busybox-static_*.deb ../bb
dpkg -x evtest_*.deb ../witness # somebody else's eyes for the tests
dpkg-deb --fsys-tarfile "$source"_*.deb | tar -xO --wildcards './usr/src/*.tar.xz' | tar -xJ
rm ./*.deb
cd "$source"

echo "prepare.sh: building the guest's kernel (4.5 minutes of CPU) ..." >&2
# Room for the vector registers of every CPU so far (11008 bytes with AMX); ptrace uses as much of it as the machine has.
sed -i 's/DEFINE_LONGS(HOST_FP_SIZE, 2696)/DEFINE_LONGS(HOST_FP_SIZE, 16384)/' arch/x86/um/user-offsets.c
# Gamepad drivers and USB are closed to machines without memory-mapped I/O; those used here need none. The one call that
# does is on a path for host controllers with memory of their own.
sed -i '/^menuconfig INPUT_JOYSTICK/,/help/{/depends on !UML/d}' drivers/input/joystick/Kconfig
sed -i '/^menuconfig USB_SUPPORT/,/help/{/depends on HAS_IOMEM/d}' drivers/usb/Kconfig
sed -i '/local_mem = devm_memremap(/{N;s/.*/\t\tlocal_mem = NULL;/}' drivers/usb/core/hcd.c
{
  make -s ARCH=um allnoconfig KCONFIG_ALLCONFIG="$here/kernel.config"
  make -s -j"$(nproc)" ARCH=um vmlinux
} >"$cache/build.log" 2>&1 || fail "building the kernel failed: see $cache/build.log"
release=$(make -s ARCH=um kernelrelease)
strip -o "$cache/linux" vmlinux
boots "$cache/linux" || fail "User Mode Linux does not run on this machine (see $here/README.md)"
cd "$cache"
rm -rf build run
{
  echo "$recipe"
  echo "guest ready: Linux $release, prepared in $((SECONDS - started)) s"
} >ok
tail -1 ok
