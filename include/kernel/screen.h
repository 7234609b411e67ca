// SPDX-License-Identifier: BSD-2-Clause
// The screen: the firmware's VGA text mode or the framebuffer that the boot loader left, whichever
// boot_info names; a sink of the kernel log. Nothing happens on a machine without one.
#pragma once

#include "kernel/base.h"

void screen_init(void); // boot, after pmm_init: what was logged so far appears; painted as it comes
void screen_start(
    void); // boot, with threads running: from now on a thread paints, 50 times a second
