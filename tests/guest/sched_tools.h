// SPDX-License-Identifier: BSD-2-Clause
// What the scheduler's guest tests share: a log of what ran in which order, and waiting with a
// limit.
#pragma once

#include "kernel/base.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"

#define LOG_BYTES 128
extern char run_log[LOG_BYTES];
void log_clear(void);
void log_mark(char what); // any context
// Where the host lets the machine wait, a turn among equals may end between any two lines. What only holds within one
// turn is tried again when so much time has passed since the clock showed `start` that the turn may have ended; what is
// wrong in a try that was not disturbed is wrong.
#define DISTURBED_TRIES 1000
bool disturbed_since(uint64_t start);
// Gives others the processor until *flag is `value`; false when that never comes (PATIENCE_NS).
#define PATIENCE_NS (60 * NS_PER_SEC)
bool wait_for(volatile uint32_t *flag, uint32_t value);
void burn(uint64_t ns); // keeps the processor busy, interrupts on
// Frames that are free or some pool's: what pools take and give back meanwhile changes nothing.
uint64_t frames_but_used(void);
struct wtd_stats stats_of(enum wtd_class class);
