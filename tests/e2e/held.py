# SPDX-License-Identifier: BSD-2-Clause
"""What programs have of the kernel, before and after: `Held(vm, pools, names)` looks, `back()` waits until no more of it
is held, `stop()` ends every program first."""
import time

from vm import PATIENCE

ALWAYS = ("pagewire_user_frames", "pagewire_cache_pinned_pages")


class Held:
    def __init__(self, vm, pools, names=()):
        self.vm = vm
        self.names = (*ALWAYS, *names, *(f'pagewire_pool_used{{pool="{pool}"}}' for pool in pools))
        self.before = self.now()

    def now(self):
        values = self.vm.metrics()
        return {name: values.get(name, 0) for name in self.names}

    def back(self):
        end = time.monotonic() + PATIENCE
        while any((now := self.now())[name] > self.before[name] for name in self.names):
            assert time.monotonic() < end, (self.before, now)
            time.sleep(0.25)
        self.vm.assert_alive()

    def stop(self):
        for line in self.vm.command("PS").splitlines():
            if line.split() and line.split()[0].isdigit():
                self.vm.command("UNLOAD " + line.split()[0])
        self.back()
