// SPDX-License-Identifier: BSD-2-Clause
// The PS/2 keyboard: its characters go to console_input.
#pragma once

#include "kernel/base.h"

struct keyboard {
	bool shift, control, alt, caps_lock, extended;
	uint8_t pause; // bytes of the Pause key still to come
};

#define KEYBOARD_MAX_BYTES 8 // the most one key stands for

// Pure. One scan code (set 1, as the controller translates) on a US keyboard; writes what the key stands
// for into out (not terminated) and returns its length, 0 for most.
size_t keyboard_decode(struct keyboard *keyboard, uint8_t scan_code, char out[KEYBOARD_MAX_BYTES]);
void keyboard_init(void); // boot, thread context, after irq_init
