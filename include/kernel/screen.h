// SPDX-License-Identifier: BSD-2-Clause
// The screen: the firmware's VGA text mode or the framebuffer that the boot loader left, whichever
// boot_info names; a sink of the kernel log. Nothing happens on a machine without one.
#pragma once

#include "kernel/base.h"

void screen_init(void);	 // boot, after pmm_init: a panic is to be seen from now on
void screen_start(void); // boot, with threads: what is said is to be seen from the next second on
void screen_show(void);	 // any context: from now on, painted by a thread 50 times a second
