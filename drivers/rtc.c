// SPDX-License-Identifier: BSD-2-Clause
// The CMOS clock: ports 0x70 (index) and 0x71 (data). It ticks by itself and tears while it does, so a
// reading counts only when no update is in progress and two readings agree (MC146818A datasheet,
// "Update Cycle"). UTC is assumed, as QEMU and servers set it.
#include "kernel/rtc.h"
#include "kernel/boot.h"
#include "kernel/io.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/thread.h"

#define CMOS_INDEX 0x70
#define CMOS_DATA  0x71

enum cmos_register {
	CMOS_SECOND = 0x00,
	CMOS_MINUTE = 0x02,
	CMOS_HOUR = 0x04,
	CMOS_DAY = 0x07,
	CMOS_MONTH = 0x08,
	CMOS_YEAR = 0x09,
	CMOS_STATUS_A = 0x0a, // bit 7: update in progress
	CMOS_STATUS_B = 0x0b,
};

#define STATUS_A_UPDATING 0x80
#define STATUS_B_24_HOUR  0x02
#define STATUS_B_BINARY	  0x04
#define HOUR_PM		  0x80 // in 12-hour format

#define FADT_CENTURY_OFFSET 108 // ACPI 6.4 table 5.9: CMOS index of the century, 0: none
#define FADT_LENGTH_OFFSET  4

// An update lasts under 2.3 ms. A clock that is still updating after this many polls is broken.
#define POLL_NS	       (100 * NS_PER_US)
#define UPDATE_POLLS   1000
#define READING_ROUNDS 10

static uint8_t cmos_read(uint8_t index)
{
	outb(CMOS_INDEX, index);
	return inb(CMOS_DATA);
}

// 0xff marks a number that is not BCD: no field of a date can be 255.
static unsigned from_bcd(uint8_t value, bool binary)
{
	if (binary)
		return value;
	if ((value & 0x0f) > 9 || value >> 4 > 9)
		return 0xff;
	return (value >> 4) * 10 + (value & 0x0f);
}

static unsigned hour_of(const struct rtc_registers *r, bool binary)
{
	if (r->status_b & STATUS_B_24_HOUR)
		return from_bcd(r->hour, binary);
	unsigned hour = from_bcd(r->hour & (uint8_t)~HOUR_PM, binary);
	if (hour < 1 || hour > 12)
		return 0xff;
	return hour % 12 + (r->hour & HOUR_PM ? 12 : 0);
}

bool rtc_decode(const struct rtc_registers *r, struct civil_time *out)
{
	static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool binary = r->status_b & STATUS_B_BINARY;
	unsigned year = from_bcd(r->year, binary);
	unsigned century = from_bcd(r->century, binary);
	struct civil_time t = {
	    .month = from_bcd(r->month, binary),
	    .day = from_bcd(r->day, binary),
	    .hour = hour_of(r, binary),
	    .minute = from_bcd(r->minute, binary),
	    .second = from_bcd(r->second, binary),
	};
	if (year > 99 || t.month < 1 || t.month > 12 || t.day < 1 || t.hour > 23 || t.minute > 59 ||
	    t.second > 59 || t.day > month_days[t.month - 1])
		return false;
	if (century >= 19 && century <= 21)
		t.year = (int)(century * 100 + year);
	else
		t.year = (int)(year < 70 ? 2000 + year : 1900 + year);
	*out = t;
	return true;
}

static bool read_once(uint8_t century_index, struct rtc_registers *r)
{
	unsigned polls = UPDATE_POLLS;
	while (cmos_read(CMOS_STATUS_A) & STATUS_A_UPDATING) {
		if (!--polls)
			return false;
		thread_sleep_ns(POLL_NS);
	}
	*r = (struct rtc_registers){
	    .second = cmos_read(CMOS_SECOND),
	    .minute = cmos_read(CMOS_MINUTE),
	    .hour = cmos_read(CMOS_HOUR),
	    .day = cmos_read(CMOS_DAY),
	    .month = cmos_read(CMOS_MONTH),
	    .year = cmos_read(CMOS_YEAR),
	    .century = century_index ? cmos_read(century_index) : 0,
	    .status_b = cmos_read(CMOS_STATUS_B),
	};
	return true;
}

static uint8_t century_register(void)
{
	const uint8_t *fadt = acpi_find("FACP");
	uint32_t length;
	if (!fadt)
		return 0;
	memcpy(&length, fadt + FADT_LENGTH_OFFSET, sizeof length);
	return length > FADT_CENTURY_OFFSET ? fadt[FADT_CENTURY_OFFSET] & 0x7f : 0;
}

void rtc_init(void)
{
	uint8_t century_index = century_register();
	struct rtc_registers first, second;
	struct civil_time t;
	bool same = false;
	for (int round = 0; round < READING_ROUNDS && !same; round++) {
		if (!read_once(century_index, &first) || !read_once(century_index, &second))
			break;
		same = memcmp(&first, &second, sizeof first) == 0;
	}
	if (!same || !rtc_decode(&first, &t)) {
		kprintf("rtc: the CMOS clock gives no date; time starts at 1970-01-01\n");
		return;
	}
	clock_set_realtime_ns((uint64_t)civil_to_unix(&t) * NS_PER_SEC);
}
