// SPDX-License-Identifier: BSD-2-Clause
// The terminal that programs see as /dev/console and /dev/tty: POSIX's line discipline (canonical and raw input, echo,
// signals from keys, job control) over the system console. While a program has the console (LOAD), the console's
// thread gives every key to tty_key; otherwise the keys are the kernel's own.
#pragma once

#include "kernel/stream.h"

struct stream *tty_open(unsigned flags); // null: no memory
void tty_key(uint8_t byte);		 // thread context
// Whose terminal it is now: a session's, with its group in the foreground. 0: nobody's; who reads gets the end.
void tty_give(int session, int group);
void tty_init(void); // boot
