"""ShmSegment: memory shared with the X server, which it writes pictures into."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import weakref
from typing import Any, Final

import numpy as np
import xcffib
import xcffib.shm
import xcffib.xproto
from numpy.typing import NDArray
from xcffib.ffi import ffi

_ALL_PLANES: Final = 0xFFFFFFFF
_IPC_PRIVATE, _IPC_CREAT, _IPC_RMID = 0, 0o1000, 0  # Source: bits/ipc.h


class ShmUnavailable(Exception):  # noqa: N818  # says why another way is taken; nobody sees it as an error
    """MIT-SHM cannot be used on this connection; the text says why."""


class _VoidCookie(ctypes.Structure):
    _fields_ = (("sequence", ctypes.c_uint),)


class ShmSegment:
    """Memory that the X server writes pictures into.

    Args:
        connection: Its extension MIT-SHM is known to be present.
        size: In bytes.

    Raises:
        ShmUnavailable: The server can attach neither a SysV segment nor a memfd of ours.

    Attributes:
        kind: "sysv", or "memfd" where the server is another user or in another container.
        reason: Why it is not SysV memory, else "".
        pixels: (size,) uint8.
    """

    def __init__(self, connection: Any, size: int) -> None:
        self._connection = connection
        self._shm = connection(xcffib.shm.key)
        self.size = size
        self.id = int(connection.generate_id())
        self.kind, self.reason = "sysv", ""
        try:
            self.pixels = self._attach_sysv()
        except (OSError, xcffib.Error, ShmUnavailable) as refused:
            self.kind, self.reason = "memfd", f"SysV shared memory was refused ({_text(refused)})"
            try:
                self.pixels = self._attach_memfd()
            except (OSError, xcffib.XcffibException, ShmUnavailable) as also:
                raise ShmUnavailable(f"{self.reason}, and so was a memfd ({_text(also)})") from also

    def close(self) -> None:
        """Let the server forget the memory; ours is freed with the last array that looks at it."""
        with contextlib.suppress(xcffib.XcffibException):
            self._shm.Detach(self.id)
            self._connection.flush()

    def _attach_sysv(self) -> NDArray[np.uint8]:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        libc.shmdt.argtypes = (ctypes.c_void_p,)
        number = libc.shmget(_IPC_PRIVATE, ctypes.c_size_t(self.size), _IPC_CREAT | 0o600)
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            address = libc.shmat(number, None, 0)
            if address in (None, ctypes.c_void_p(-1).value):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            memory = (ctypes.c_uint8 * self.size).from_address(address)
            weakref.finalize(memory, libc.shmdt, address)
            self._shm.Attach(self.id, number, 0, is_checked=True).check()
        finally:
            # Both sides are attached or never will be: marked now, the kernel frees it even if we are killed.
            libc.shmctl(number, _IPC_RMID, None)
        return self._checked(np.ctypeslib.as_array(memory))

    def _attach_memfd(self) -> NDArray[np.uint8]:
        descriptor = os.memfd_create("rlai-frame", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, self.size)
            memory = mmap.mmap(descriptor, self.size)
            # xcffib cannot pass descriptors; libxcb itself can. It closes the one it is given.
            library = ctypes.CDLL("libxcb-shm.so.0")
            attach = library.xcb_shm_attach_fd_checked
            attach.restype = _VoidCookie
            attach.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32, ctypes.c_uint8)
            pointer = int(ffi.cast("uintptr_t", self._connection._conn))
            cookie = attach(pointer, self.id, os.dup(descriptor), 0)
            self._connection.request_check(cookie.sequence)
        finally:
            os.close(descriptor)
        return self._checked(np.frombuffer(memory, np.uint8))

    def _checked(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Make sure that it is this memory the server writes to: in another IPC namespace the number means another."""
        root = self._connection.setup.roots[self._connection.pref_screen].root
        # Two unlikely colours, of which the corner of the screen cannot show one after the other.
        for filler in ((90, 165, 60), (195, 30, 135)):
            pixels[:3] = filler
            self.fetch(root, 0, 0, 1, 1)
            if tuple(pixels[:3].tolist()) != filler:
                return pixels
        with contextlib.suppress(xcffib.Error):
            self._shm.Detach(self.id, is_checked=True).check()
        raise ShmUnavailable("the server attached something else")

    def fetch(self, drawable: int, x: int, y: int, width: int, height: int) -> int:
        """Let the server write a part of a drawable to the start of the memory, and return the colour depth.

        Raises:
            xcffib.Error: The drawable has died, or the part is not all there.
        """
        image = self._shm.GetImage(
            drawable, x, y, width, height, _ALL_PLANES, xcffib.xproto.ImageFormat.ZPixmap, self.id, 0
        )
        return int(image.reply().depth)


def _text(problem: BaseException) -> str:
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    return str(problem) or type(problem).__name__
