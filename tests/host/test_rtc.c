// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/rtc.c kernel/civil.c
// The CMOS clock: its formats, and a clock that ticks while it is read.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/io.h"
#include "kernel/kstring.h"
#include "kernel/rtc.h"
#include "shim.h"

static uint8_t cmos[128], index_register;
static unsigned busy_reads, torn_reads;
static uint64_t set_to, slept;
static uint8_t fadt[200];
static bool have_fadt;

void outb(uint16_t port, uint8_t value)
{
	index_register = value;
}
uint8_t inb(uint16_t port)
{
	if (index_register == 0x0a && busy_reads) {
		busy_reads--;
		return 0x80;
	}
	if (index_register == 0 && torn_reads) { // the second passes while it is read
		torn_reads--;
		cmos[0]++;
	}
	return cmos[index_register];
}
const void *acpi_find(const char signature[4])
{
	return have_fadt ? fadt : NULL;
}
void thread_sleep_ns(uint64_t ns)
{
	slept += ns;
}
void clock_set_realtime_ns(uint64_t unix_ns)
{
	set_to = unix_ns;
}

static int fresh(void **state)
{
	memset(cmos, 0, sizeof cmos);
	memcpy(cmos, (const uint8_t[]){0x56, 0, 0x34, 0, 0x12, 0, 0, 0x22, 0x07, 0x26}, 10);
	cmos[0x0b] = 0x02; // 24 hours, BCD
	busy_reads = torn_reads = 0;
	set_to = slept = 0;
	have_fadt = false;
	return 0;
}

#define TIME(y, mo, d, h, mi, s)                                                                   \
	((uint64_t)civil_to_unix(&(struct civil_time){                                             \
	     .year = y, .month = mo, .day = d, .hour = h, .minute = mi, .second = s}) *            \
	 NS_PER_SEC)

static void bcd_and_24_hours(void **state)
{
	rtc_init();
	assert_int_equal(set_to, TIME(2026, 7, 22, 12, 34, 56));
}

static void binary_and_12_hours(void **state)
{
	memcpy(cmos, (const uint8_t[]){59, 0, 58, 0, 0x80 | 12, 0, 0, 31, 12, 99}, 10);
	cmos[0x0b] = 0x04;
	rtc_init();
	assert_int_equal(set_to, TIME(1999, 12, 31, 12, 58, 59));
	cmos[4] = 12; // midnight
	rtc_init();
	assert_int_equal(set_to, TIME(1999, 12, 31, 0, 58, 59));
	cmos[4] = 0x80 | 11;
	rtc_init();
	assert_int_equal(set_to, TIME(1999, 12, 31, 23, 58, 59));
}

static void bcd_and_12_hours(void **state)
{
	cmos[0x0b] = 0;
	cmos[4] = 0x92;
	rtc_init();
	assert_int_equal(set_to, TIME(2026, 7, 22, 12, 34, 56));
}

static void the_century_is_where_acpi_says(void **state)
{
	have_fadt = true;
	fadt[4] = 116;
	fadt[108] = 0x32;
	cmos[0x32] = 0x21;
	rtc_init();
	assert_int_equal(set_to, TIME(2126, 7, 22, 12, 34, 56));
	cmos[0x32] = 0; // unset: the years decide
	rtc_init();
	assert_int_equal(set_to, TIME(2026, 7, 22, 12, 34, 56));
}

static void an_update_in_progress_is_waited_for(void **state)
{
	busy_reads = 23; // 2.3 ms, the longest there is, asleep
	rtc_init();
	assert_int_equal(slept, 23 * 100 * NS_PER_US);
	assert_int_equal(set_to, TIME(2026, 7, 22, 12, 34, 56));
}

static void an_update_that_never_ends_sets_no_clock(void **state)
{
	busy_reads = UINT32_MAX;
	rtc_init();
	assert_int_equal(set_to, 0);
}

static void two_readings_must_agree(void **state)
{
	memcpy(cmos, (const uint8_t[]){0x50}, 1);
	torn_reads = 3;
	rtc_init();
	assert_int_equal(set_to, TIME(2026, 7, 22, 12, 34, 53));
}

static void no_date_sets_no_clock(void **state)
{
	static const struct {
		uint8_t index, value;
	} wrong[] = {{0, 0x60}, {2, 0x7a}, {4, 0x24}, {7, 0},
		     {7, 0x32}, {8, 0x13}, {8, 0},    {9, 0xa0}};
	for (size_t n = 0; n < ARRAY_SIZE(wrong); n++) {
		fresh(NULL);
		cmos[wrong[n].index] = wrong[n].value;
		rtc_init();
		assert_int_equal(set_to, 0);
	}
	memset(cmos, 0xff, sizeof cmos); // no clock at all
	rtc_init();
	assert_int_equal(set_to, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(bcd_and_24_hours, fresh),
	    cmocka_unit_test_setup(binary_and_12_hours, fresh),
	    cmocka_unit_test_setup(bcd_and_12_hours, fresh),
	    cmocka_unit_test_setup(the_century_is_where_acpi_says, fresh),
	    cmocka_unit_test_setup(an_update_in_progress_is_waited_for, fresh),
	    cmocka_unit_test_setup(an_update_that_never_ends_sets_no_clock, fresh),
	    cmocka_unit_test_setup(two_readings_must_agree, fresh),
	    cmocka_unit_test_setup(no_date_sets_no_clock, fresh),
	};
	return cmocka_run_group_tests_name("rtc", tests, NULL, NULL);
}
