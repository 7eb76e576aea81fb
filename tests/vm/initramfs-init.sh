#!/busybox sh
# First program of the guest in QEMU, in its initramfs: load the drivers, mount this machine's files, go on there.
for module in $(/busybox cat /modules); do
  /busybox insmod "/$module" || echo "guest: $module cannot be loaded"
done
/busybox mkdir /host
# Nobody changes them while the guest runs, or so it is taken to be: hence what was read once is kept in memory.
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host || /busybox poweroff -f
exec /busybox chroot /host "$VM_HERE/guest-init.sh"
