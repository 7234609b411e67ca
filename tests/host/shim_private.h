// SPDX-License-Identifier: BSD-2-Clause
// Between the shim's files.
#pragma once

#include "kernel/wtd.h"

// Prints the message and where, and aborts.
__attribute__((noreturn, format(printf, 1, 2))) void shim_fail(const char *format, ...);
void shim_sched_init(void);
void shim_sched_finish(void); // fails if anything is queued, sleeping or held

extern uint64_t shim_now; // the fake clock, nanoseconds
bool shim_run_fast(void); // the next fast WTD; false: none
struct wtd *shim_take_sleep_work(void);
uint64_t shim_first_due(void); // of the armed WTDs; UINT64_MAX: none
void shim_queue_due(void);     // armed WTDs that are due join their queues
void shim_wtd_init(void);
void shim_wtd_finish(void);
