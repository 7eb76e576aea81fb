# Part of prepare.sh: Debian's own kernel, started by QEMU with KVM where that works, else emulated.
#
# Its drivers are modules: those that the tests need are put into an initramfs, in the order in which they can be loaded,
# which then mounts this machine's files (9p) and goes on as the other guest does (guest-init.sh).
qemu_modules="virtio_pci 9pnet_virtio 9p overlay evdev uinput joydev
  hid-generic hid-playstation hid-sony hid-nintendo uhid xpad vhci-hcd"
qemu_recipe="recipe 1 $(cat "$here/prepare-qemu.sh" "$here/boot-qemu.sh" "$here/initramfs-init.sh" | sha256sum)"

copy_module() { # NAME: into the initramfs, after what it depends on; nothing where it is built in or was copied already
  local name=${1//-/_} file needed
  [ ! -e "qemu/root/$name.ko" ] || return 0
  file=$(grep -E "/${1//[-_]/[-_]}\.ko(\.xz)?$" qemu/files) || {
    grep -qE "/${1//[-_]/[-_]}\.ko$" qemu/kernel/lib/modules/*/modules.builtin || fail "Debian's kernel has no $1"
    return 0
  }
  case $file in *.xz) xz -d -k "$file" && file=${file%.xz} ;; esac
  cp "$file" "qemu/root/$name.ko"
  for needed in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr , ' '); do
    copy_module "$needed"
  done
  echo "$name.ko" >>qemu/root/modules
}
qemu_boots() { # ACCELERATOR SECONDS: whether a guest gets as far as a program of this machine's
  rm -rf qemu/share
  mkdir qemu/share
  echo true >qemu/share/command.sh
  timeout "$2" sh "$here/boot-qemu.sh" "$1" "$cache" "$cache/qemu/share" 512M </dev/null >qemu/console 2>&1
  [ "$(cat qemu/share/exit 2>/dev/null)" = 0 ]
}

prepare_qemu() {
  local started=$SECONDS kernel accelerator=tcg
  [ "$(uname -m)" = x86_64 ] || fail "the guest in QEMU is made for x86-64, this is $(uname -m)"
  if [ -f qemu/ok ] && [ "$(head -1 qemu/ok)" = "$qemu_recipe" ]; then
    tail -1 qemu/ok
    return
  fi
  rm -rf qemu
  need_packages qemu-system-x86 xz-utils
  kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -1)
  [ -n "$kernel" ] || fail "this system's packages have no linux-image-amd64 (Debian has)"
  [ -x bb/bin/busybox ] || unpack busybox-static bb
  [ -x witness/usr/bin/evtest ] || unpack evtest witness # somebody else's eyes for the tests
  mkdir -p qemu/root
  unpack "$kernel" qemu/kernel
  find qemu/kernel -name '*.ko' -o -name '*.ko.xz' >qemu/files
  for module in $qemu_modules; do copy_module "$module"; done
  cp bb/bin/busybox qemu/root/busybox
  cp "$here/initramfs-init.sh" qemu/root/init
  chmod +x qemu/root/init
  (cd qemu/root && find . | ../../bb/bin/busybox cpio -o -H newc 2>/dev/null) >qemu/initramfs
  cp qemu/kernel/boot/vmlinuz-* qemu/linux
  rm -rf qemu/kernel qemu/root qemu/files
  # KVM may be there and start no guest, or one that hangs: inside another virtual machine, for instance.
  if [ -w /dev/kvm ] && qemu_boots kvm 20; then
    accelerator=kvm
  else
    qemu_boots tcg 180 || fail "Debian's kernel does not boot in QEMU: see $cache/qemu/console"
  fi
  {
    echo "$qemu_recipe"
    echo "$accelerator"
    echo "guest ready: $kernel in QEMU ($accelerator), prepared in $((SECONDS - started)) s"
  } >qemu/ok
  tail -1 qemu/ok
}
