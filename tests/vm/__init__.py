"""A guest kernel with uinput for the tests of gamepads."""
