#!/bin/sh
# Start the guest in QEMU: boot-qemu.sh ACCELERATOR CACHE SHARE MEMORY [WORD...]
# ACCELERATOR is kvm or tcg; SHARE is the one folder that the guest can write to; a WORD goes on the kernel's command line.
accelerator=$1 cache=$2 share=$3 memory=$4
shift 4
here=$(cd "$(dirname "$0")" && pwd)
case $accelerator in
  kvm) processor="-accel kvm -cpu host" ;;
  *) processor="-accel tcg,thread=multi,tb-size=512 -cpu max" ;;
esac
files="security_model=none,multidevs=remap"
# Mitigations protect nobody here, and cost an emulated processor much.
words="console=ttyS0 quiet panic=-1 mitigations=off VM_KIND=qemu VM_HERE=$here VM_CACHE=$cache VM_SHARE=$share $*"
# shellcheck disable=SC2086  # the processor's options are words
exec qemu-system-x86_64 -M q35 $processor -smp 1 -m "$memory" -nodefaults -no-user-config -no-reboot \
  -display none -serial stdio -kernel "$cache/qemu/linux" -initrd "$cache/qemu/initramfs" -append "$words" \
  -virtfs "local,path=/,mount_tag=host,readonly=on,$files" -virtfs "local,path=$share,mount_tag=share,$files"
