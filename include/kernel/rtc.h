// SPDX-License-Identifier: BSD-2-Clause
// The CMOS clock (MC146818 and its successors), read once at boot.
#pragma once

#include "kernel/base.h"
#include "kernel/timer.h"

// The clock's registers as read, for rtc_decode.
struct rtc_registers {
	uint8_t second, minute, hour, day, month, year;
	uint8_t century;  // 0: no such register
	uint8_t status_b; // register B: 24-hour (bit 1) and binary (bit 2) formats
};

// Pure. False when the registers are no date (a dead battery, no clock).
bool rtc_decode(const struct rtc_registers *registers, struct civil_time *out);
// Thread context, boot, after ACPI can be read: sets the real-time clock (clock_set_realtime_ns), or says
// in the log why not.
void rtc_init(void);
