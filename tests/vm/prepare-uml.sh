# Part of prepare.sh: a User Mode Linux kernel, an ordinary program that needs no root, no KVM and no host module.
#
# It is built from Debian's source with kernel.config (4.5 minutes of CPU): Debian's own user-mode-linux has none of these
# drivers, cannot take hid-playstation or xpad as modules, and does not run on CPUs with AMX.
uml_recipe="recipe 2 $(sha256sum <"$here/kernel.config")" # raise the number when the cache must be made anew

may_trace() { # whether ptrace (system call 101 of x86-64; 0 is PTRACE_TRACEME) is allowed: User Mode Linux runs programs by it
  perl -e 'exit(syscall(101, 0, 0, 0, 0) != 0)' 2>/dev/null
}
boots() { # KERNEL: whether it runs a program; when that ends, so does the kernel, by a panic that names the exit code
  said=$( (ulimit -c 0; exec timeout 60 "$1" mem=128M rootfstype=hostfs rootflags=/ ro init=/bin/true con=null \
    con0=null,fd:1 panic=-1 "uml_dir=$cache/run" umid=probe </dev/null 2>&1) || true)
  case $said in *exitcode=0x00000000*) ;; *) return 1 ;; esac
}
source_package() { # 6.12 is what the fixes below were made for; others of the sixes are likely to do
  local all
  all=$(apt-cache search --names-only '^linux-source-6\.[0-9]+$' | cut -d' ' -f1 | sort -V)
  grep -x linux-source-6.12 <<<"$all" || tail -1 <<<"$all"
}

prepare_uml() { # where it does not run, $why_not_uml says why
  local machine started source release
  [ -f ok ] || [ ! -f set-aside ] || mv set-aside ok
  if [ "$(uname -m)" != x86_64 ]; then
    why_not_uml="it is made for x86-64, this is $(uname -m)"
  elif ! may_trace; then
    why_not_uml="ptrace is forbidden"
  elif [ -f ok ] && [ "$(head -1 ok)" = "$uml_recipe" ] && boots ./linux; then
    tail -1 ok
    return 0
  fi
  # Where it was built and did not boot, building it again changes nothing.
  machine="$uml_recipe on $(uname -r), $(grep -m 1 'model name' /proc/cpuinfo)"
  if [ -z "$why_not_uml" ] && [ -f refused ] && [ "$(head -1 refused)" = "$machine" ]; then
    why_not_uml=$(tail -1 refused)
  fi
  if [ -n "$why_not_uml" ]; then
    [ ! -f ok ] || mv ok set-aside # run.py goes by it
    return 0
  fi

  rm -rf ok linux mods uml build refused
  started=$SECONDS
  need_packages flex bison bc xz-utils make gcc libc6-dev
  source=$(source_package)
  [ -n "$source" ] || fail "this system's packages have no linux-source-6.12 (Debian has)"
  unpack busybox-static bb
  unpack evtest witness # somebody else's eyes for the tests
  mkdir build
  cd build
  apt-get download -q "$source" >../download.log 2>&1 || fail "download failed: $(tail -1 ../download.log)"
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
  cd "$cache"
  rm -rf build
  if ! boots ./linux; then
    why_not_uml=$(tail -1 <<<"$said")
    why_not_uml="it does not boot (${why_not_uml:-it says nothing})"
    printf '%s\n' "$machine" "$why_not_uml" >refused
    return 0
  fi
  rm -rf run
  {
    echo "$uml_recipe"
    echo "guest ready: Linux $release, prepared in $((SECONDS - started)) s"
  } >ok
  tail -1 ok
}
