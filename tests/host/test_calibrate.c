// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/calibrate.c
// The TSC's rate by a make-believe ACPI timer that follows the host's TSC as if that ran at 2 GHz: the first
// measurement, and the second, whenever it comes: the timer goes round every 4.7 seconds.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/boot.h"
#include "kernel/calibrate.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/kstring.h"
#include "kernel/lapic.h"

#define HZ	2000000000UL
#define PM_HZ	3579545UL
#define PM_PORT 0x608

static bool stands_still;
static uint8_t fadt[244];

static uint32_t ticks_at(uint64_t cycles)
{
	return (uint32_t)((unsigned __int128)cycles * PM_HZ / HZ) & 0xffffff;
}
uint32_t inl(uint16_t port)
{
	return stands_still ? 0x123456 : ticks_at(rdtsc());
}
uint8_t inb(uint16_t port)
{
	return 0;
}
void outb(uint16_t port, uint8_t value) {}
const void *acpi_find(const char signature[4])
{
	return fadt;
}
bool lapic_timer_has_deadline(void)
{
	return false;
}
void lapic_timer_oneshot(uint32_t ticks) {}
uint32_t lapic_timer_left(void)
{
	return UINT32_MAX / 2;
}
void lapic_timer_stop(void) {}

static bool near(uint64_t hz)
{
	return hz > HZ - HZ / 100 && hz < HZ + HZ / 100;
}
static struct reference_mark mark_of(double seconds_ago)
{
	uint64_t cycles = rdtsc() - (uint64_t)(seconds_ago * HZ);
	return (struct reference_mark){.cycles = cycles, .ticks = ticks_at(cycles), .valid = true};
}

static int with_timer(void **state)
{
	struct calibration c;
	struct reference_mark mark;
	uint32_t length = sizeof fadt, port = PM_PORT;
	memcpy(fadt + 4, &length, 4);
	memcpy(fadt + 76, &port, 4);
	calibrate(&c, &mark);
	assert_true(mark.valid);
	return 0;
}

static void the_rate_is_told_however_late_it_is_asked_for(void **state)
{
	static const double seconds[] = {0.5, 1, 3, 4.6, 4.8, 5.5, 8, 9.5, 17, 60};
	for (size_t n = 0; n < ARRAY_SIZE(seconds); n++) {
		struct reference_mark mark = mark_of(seconds[n]);
		assert_true(near(calibrate_again(&mark, HZ)));
		assert_true(near(calibrate_again(&mark, HZ - HZ / 60)));
	}
}

static void a_first_rate_that_was_wrong_does_not_spoil_the_second(void **state)
{
	struct reference_mark mark = mark_of(1);
	assert_true(near(calibrate_again(&mark, 5 * HZ)));
	assert_true(near(calibrate_again(&mark, HZ / 5)));
}

static void nonsense_gives_no_rate(void **state)
{
	struct reference_mark mark = mark_of(1), none = {0};
	assert_int_equal(calibrate_again(&none, HZ), 0);
	stands_still = true;
	mark.ticks = 0x123456;
	assert_int_equal(calibrate_again(&mark, HZ), 0);
	stands_still = false;
	mark = mark_of(0);
	mark.cycles -= 6000000000000; // the better part of an hour
	assert_int_equal(calibrate_again(&mark, HZ), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_rate_is_told_however_late_it_is_asked_for),
	    cmocka_unit_test(a_first_rate_that_was_wrong_does_not_spoil_the_second),
	    cmocka_unit_test(nonsense_gives_no_rate),
	};
	return cmocka_run_group_tests_name("calibrate", tests, with_timer, NULL);
}
