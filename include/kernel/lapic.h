// SPDX-License-Identifier: BSD-2-Clause
// The local APIC's timer, for kernel/timer.c. One-shot only: it counts down at an unknown rate (the
// caller calibrates it against the PIT or the TSC), or, where the processor can, fires at a TSC value.
#pragma once

#include "kernel/base.h"

// fn runs in interrupt context, interrupts off, at each expiry. Boot, after irq_init.
void lapic_timer_set_handler(void (*fn)(void));
// True: use lapic_timer_deadline. False: lapic_timer_oneshot.
bool lapic_timer_has_deadline(void);
// Any context. Fires once when the TSC reaches `tsc` (at once if it has passed); replaces what was armed.
void lapic_timer_deadline(uint64_t tsc);
// Any context. Fires once after `ticks` (not 0) of the timer's clock (the bus clock, undivided);
// replaces what was armed.
void lapic_timer_oneshot(uint32_t ticks);
uint32_t lapic_timer_left(void); // ticks until lapic_timer_oneshot's expiry; 0: expired
void lapic_timer_stop(void);	 // any context; an expiry already pending may still come
