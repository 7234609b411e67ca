// SPDX-License-Identifier: BSD-2-Clause
// How fast the TSC and the local APIC's timer run. Boot, for timer.c only.
#pragma once

#include "kernel/base.h"

// One moment on both clocks: the TSC and the reference.
struct reference_mark {
	uint64_t cycles;
	uint32_t ticks;
	bool valid;
};

struct calibration {
	uint64_t tsc_hz, lapic_hz; // lapic_hz 0: not measured (TSC deadline)
	const char *source;
	bool exact; // told by the processor or hypervisor rather than measured
};

// Interrupts may be on; takes about a millisecond. `mark`: where calibrate_again measures from.
void calibrate(struct calibration *out, struct reference_mark *mark);
// The TSC's rate over the time since `mark`, some seconds; `hz`: about what it is. 0 when it cannot be told.
uint64_t calibrate_again(const struct reference_mark *mark, uint64_t hz);
