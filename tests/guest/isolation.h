// SPDX-License-Identifier: BSD-2-Clause
// For the tests that let programs try what they may not (tests/guest/isolation*.c).
#pragma once

#include "kernel/base.h"

// Runs /bin/isolate (tests/programs/isolate.c) with these arguments, waits until it and all that it started are gone,
// and looks whether the kernel is what it was. Its status as wait4 tells it; -1: there is no such program, and the
// test is skipped.
int isolate_run(const char *what, const char *first, const char *second);
int isolate_run_number(const char *what, uint64_t number, uint64_t second);
// The same, and it must end by that signal.
bool isolate_ends_by(int signal, const char *what, const char *first, const char *second);
// Starts one that stays. Its pid, or -1 and the test is skipped. isolate_stop ends it.
int isolate_start(const char *what, uint64_t number);
void isolate_stop(int pid);
