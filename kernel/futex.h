// SPDX-License-Identifier: BSD-2-Clause
// Futexes: sleeping until a word of the program's memory was changed by another thread. A word is known by its space
// and address (private) or, in memory that fork shares, by its frame.
#pragma once

#include "kernel/base.h"

struct task;

void futex_wake_one(uintptr_t address); // of the running task's space
void futex_robust_exit(
    struct task *t); // the running task ends: locks on its robust list are marked
